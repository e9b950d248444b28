"""Where Marquee reads and writes: Kafka, Redis, Cassandra. Vendors' errors become ours here.
Each store's module opens with a drawing of its keys or tables. No view is computed here, and no
wall clock decides what is written."""
