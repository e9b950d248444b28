"""The way in by HTTP: `POST /v1/events`, answered when Kafka has acknowledged.
A body is read into values (bodies, cmcd), judged by the project's decoder (judging), its times are set right by the player's own word
(clock), and what is good is appended to the live topic, keyed by account (connectors.appending).
What a valid event is stands in topologies and nowhere here; nothing is remembered between requests but what each client may send (limits).
docs/collector.md has the contract."""
