"""How many workers there should be: the policy, which is pure, and the simulator that judges it beside others on whole days.
No clock, no random source, no connection lives here; who measures and who starts workers are in cluster/ above it."""
