"""How the pipeline runs: the Faust app, the batch transport, the agent, flush and checkpoint, dead letters.
What is computed is topologies' business, how a store is spoken to connectors'."""
