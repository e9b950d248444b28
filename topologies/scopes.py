"""What a token of the HTTP API may be for, and what that is."""

from typing import Final

SCOPES: Final = {
    "read": "what is counted: every view, by cell, list and stream",
    "profile": "what one profile has watched",
    "write": "events into the log",
    "operate": "how servers, workers and partitions stand, with their addresses",
}
