"""The registry of views. A new view is one file: in this package with a line here, or in any other with an entry point (own_views.py)."""

from collections.abc import Iterable
from typing import Final

from topologies import continue_watching
from topologies.audience import AUDIENCE
from topologies.concurrents import CONCURRENTS
from topologies.errors import UsageError
from topologies.own_views import with_own
from topologies.playbacks import SESSIONS
from topologies.quality import QUALITY
from topologies.trending import TRENDING
from topologies.view import View, parts_of
from topologies.watch_time import WATCH_TIME

BUILT_IN: Final[dict[str, View]] = {view.name: view for view in (CONCURRENTS, WATCH_TIME, TRENDING, QUALITY, SESSIONS, AUDIENCE)}
VIEWS: Final[dict[str, View]] = with_own(BUILT_IN)

OTHERS: Final[dict[str, str]] = {continue_watching.NAME: continue_watching.SUMMARY}
"""What is computed besides and is no View: it has no cells. Chosen by its name as the views are; what it tells."""


def view_named(name: str) -> View:
    """The view of that name; UsageError, listing what there is, if there is none."""
    try:
        return VIEWS[name]
    except KeyError:
        raise UsageError(f"there is no view {name!r}; there are {', '.join(sorted({*VIEWS, *OTHERS}))} and accounting") from None


def selected(names: Iterable[str]) -> tuple[View, ...]:
    """The views of these names, all when none is named. Names of OTHERS name none."""
    named = tuple(names)
    return tuple(view_named(name) for name in named if name not in OTHERS) if named else tuple(VIEWS.values())


def keeps_bookmarks(names: Iterable[str]) -> bool:
    """Whether continue_watching is among what is chosen by these names."""
    named = tuple(names)
    return not named or continue_watching.NAME in named


def every_part() -> tuple[View, ...]:
    """What all views together are folded and stored as."""
    return parts_of(VIEWS.values())
