"""Who asks: the merged answer to a question about a view.
It reads the stores through connectors and never writes, but for a shelf that Redis lost (serving/shelves.py)."""
