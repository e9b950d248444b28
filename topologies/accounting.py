"""accounting: what became of every record of a source. received = applied + duplicate + late + dead, always.

Its cells are the sources' own statuses, so it is declared here for its name and its words only.
"""

from typing import Final

from topologies.sources import SourceStatus

NAME: Final = "accounting"
SUMMARY: Final = "received, applied, duplicate, late and dead events of each source"
MEASURES: Final = ("received", "applied", "duplicate", "late", "dead")


def balanced(status: SourceStatus) -> bool:
    """Whether every received event of the source has exactly one class."""
    return status.received == status.applied + status.duplicate + status.late + status.dead
