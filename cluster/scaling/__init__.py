"""How many workers there should be: the policy, which is pure, and the simulator that judges it beside others on whole days; and what
makes it so: the meter, the autoscaler that leads, and actuators for the supervisor's workers and for Kubernetes.
Policy and simulator have no clock, no random source and no connection, and import nothing of the others."""
