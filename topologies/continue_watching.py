"""continue_watching: where each profile stopped in each title; by account and profile. Kept by topologies.bookmarks, not in cells.

Of an account's profile a title has one bookmark: that of the applied event of the greatest (ts, seq) which has a position or is `finish`,
whenever it arrived. Of equal ones (two sessions of one profile) the greater by finished, position and runtime stands. docs/decisions/0031.
"""

from typing import Final

NAME: Final = "continue_watching"
SUMMARY: Final = "where a profile stopped in each title that it has not finished"
DIMENSIONS: Final = ("account", "profile")
COLUMNS: Final = ("title", "position_s", "runtime_s", "at")
MOST_TITLES: Final = 50
"""A profile's shelf shows so many, the ones last watched."""
EVERY_MS: Final = 60_000
"""A change is written so long after it by the partition's clock, with all that has changed of the profile by then; at once when the viewer
stops."""
STOPS: Final = ("pause", "finish", "stop")
"""Types of events at which a viewer stops; a fatal error is one too."""
KEPT_S: Final = 90 * 86_400
"""A bookmark that is not moved is kept so long in Cassandra."""
CACHED_S: Final = 30 * 86_400
"""A shelf on which nothing moves is kept so long in Redis; then it comes from Cassandra again."""
