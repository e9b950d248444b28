"""What keeps it up: local servers, the supervisor of worker processes, who is there and who leads.
It starts and stops processes of its own and never touches one that it did not start."""
