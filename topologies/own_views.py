"""Views of others: an installed distribution names them under the entry-point group `marquee.views`, each by the place of its View.

    [project.entry-points."marquee.views"]
    stall_length = "acme_views:STALL_LENGTH"

docs/own-view.md has a worked example.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from topologies import accounting
from topologies.errors import DeclarationError
from topologies.view import LIVE, View

GROUP: Final = "marquee.views"
_TAKEN: Final = (accounting.NAME, "continue_watching")
"""Names of what can be asked and is no View."""


def with_own(built_in: Mapping[str, View]) -> dict[str, View]:
    """These views and, behind them, those of installed distributions by name, so that every process has the same ones in the same order.

    One of a built-in view's name and a greater logic_version stands in its place. Raises DeclarationError, naming the entry point and what
    to change, for what is no View, fails at import, or is called like another.
    """
    placed: dict[str, EntryPoint] = {}
    views: dict[str, View] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        view = _loaded(point)
        if view.name in views:
            raise DeclarationError(f"{_told(point)} is called {view.name}, as {_told(placed[view.name])} is; rename one of the two")
        _check_beside(view, point, built_in)
        placed[view.name], views[view.name] = point, view
    others = {name: views[name] for name in sorted(views) if name not in built_in}
    return {**built_in, **{name: view for name, view in views.items() if name in built_in}, **others}


def _loaded(point: EntryPoint) -> View:
    try:
        view = point.load()
    except Exception as error:  # it is someone else's code, and whatever it raises is told
        cause = str(error) if isinstance(error, DeclarationError) else f"{type(error).__name__}: {error}"
        raise DeclarationError(f"{_told(point)} cannot be loaded ({cause}); correct it, or uninstall the distribution") from error
    if not isinstance(view, View) or view.is_part:
        raise DeclarationError(f"{_told(point)} is no View but {type(view).__name__}; name the place of a View, as in acme_views:STALLS")
    return view


def _check_beside(view: View, point: EntryPoint, built_in: Mapping[str, View]) -> None:
    """Raise DeclarationError if it cannot stand beside, or in the place of, the built-in ones."""
    if view.name in _TAKEN:
        raise DeclarationError(f"{_told(point)} is called {view.name}, which is built in and no View; rename it")
    replaced = built_in.get(view.name)
    if replaced is not None and view.logic_version <= replaced.logic_version:
        raise DeclarationError(
            f"{_told(point)} is called {view.name}, as a built-in view is; rename it, or give it a logic_version above "
            f"{replaced.logic_version} to stand in that one's place"
        )
    if LIVE in view.windows and (replaced is None or LIVE not in replaced.windows):
        live = ", ".join(other.name for other in built_in.values() if LIVE in other.windows)
        raise DeclarationError(f"{_told(point)}: view {view.name} has the live window, which only {live} may have; leave it out")


def _told(point: EntryPoint) -> str:
    """The entry point and its distribution, for messages."""
    of = f" of {point.dist.name} {point.dist.version}" if point.dist is not None else ""
    return f"entry point {point.name} = {point.value}{of}"
