"""What keeps it up: local servers and the supervisor of worker processes.
It starts and stops processes of its own and never touches one that it did not start."""
