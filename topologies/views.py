"""The registry of views. A new view is one file beside this one and one line here."""

from typing import Final

from topologies.concurrents import CONCURRENTS
from topologies.errors import UsageError
from topologies.view import View
from topologies.watch_time import WATCH_TIME

VIEWS: Final[dict[str, View]] = {view.name: view for view in (CONCURRENTS, WATCH_TIME)}


def view_named(name: str) -> View:
    """The view of that name; UsageError, listing what there is, if there is none."""
    try:
        return VIEWS[name]
    except KeyError:
        raise UsageError(f"there is no view {name!r}; there are {', '.join(sorted(VIEWS))} and accounting") from None


def selected(names: tuple[str, ...]) -> tuple[View, ...]:
    """The views of these names, all when none is named."""
    return tuple(view_named(name) for name in names) if names else tuple(VIEWS.values())
