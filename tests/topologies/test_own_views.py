"""Views of installed distributions: found by their entry points, and each mistake told with the entry point and what to change."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.distributions import install
from topologies.concurrents import CONCURRENTS
from topologies.errors import DeclarationError
from topologies.own_views import with_own
from topologies.view import LIVE
from topologies.views import BUILT_IN
from topologies.watch_time import WATCH_TIME

IMPORTS = """
from dataclasses import replace
from topologies.concurrents import CONCURRENTS
from topologies.view import *
from topologies.watch_time import WATCH_TIME
"""
STALLS = 'STALLS = View("stalls", "how often it stalled", (("app",),), (HOUR,), (Measure("stalls", "stalls", sum_of="stalls"),))\n'


def installed(monkeypatch: pytest.MonkeyPatch, directory: Path, name: str, source: str, **points: str) -> None:
    install(directory, name, IMPORTS + source, points)
    monkeypatch.syspath_prepend(str(directory))
    monkeypatch.delitem(sys.modules, name, raising=False)


def test_an_installed_view_stands_behind_the_built_in_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert with_own(BUILT_IN) == BUILT_IN
    source = STALLS + 'AGAIN = replace(STALLS, name="again")\n'
    installed(monkeypatch, tmp_path, "acme_views", source, a="acme_views:STALLS", b="acme_views:AGAIN")
    found = with_own(BUILT_IN)
    assert list(found) == [*BUILT_IN, "again", "stalls"]
    assert found["stalls"].groupings == (("app",),)


def test_a_greater_logic_version_stands_in_a_built_in_views_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    corrected = "V2 = replace(WATCH_TIME, logic_version=2)\nLIVE2 = replace(CONCURRENTS, logic_version=2)\n"
    installed(monkeypatch, tmp_path, "acme_right", corrected, a="acme_right:V2", b="acme_right:LIVE2")
    found = with_own(BUILT_IN)
    assert list(found) == list(BUILT_IN)
    assert found["watch_time"].table == "cells_watch_time_2"
    assert LIVE in found["concurrents"].windows
    assert (BUILT_IN["watch_time"], BUILT_IN["concurrents"]) == (WATCH_TIME, CONCURRENTS)


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("", "NOTHING", r"cannot be loaded \(AttributeError: .*NOTHING.*\); correct it, or uninstall the distribution"),
        ("import no_such_module", "STALLS", r"cannot be loaded \(ModuleNotFoundError: No module named 'no_such_module'\)"),
        ("raise KeyError('x')", "STALLS", r"cannot be loaded \(KeyError: 'x'\)"),
        ("STALLS = View('stalls', '', (), (HOUR,), ())", "STALLS", r"cannot be loaded \(view stalls: declare at least one measure"),
        ("STALLS = 'stalls'", "STALLS", "is no View but str; name the place of a View"),
        ("def stalls(): return 1", "stalls", "is no View but function; name the place of a View"),
        (STALLS + "V = replace(STALLS, name='watch_time')", "V", "is called watch_time, as a built-in view is; rename it, or give it"),
        (STALLS + "V = replace(STALLS, name='accounting')", "V", "is called accounting, which is built in and no View; rename it"),
        ("V = replace(CONCURRENTS, name='viewers')", "V", "view viewers has the live window, which only concurrents may have"),
        ("V = replace(CONCURRENTS, name='quality', logic_version=9)", "V", "which only concurrents may have"),
    ],
)  # fmt: skip
def test_a_mistaken_entry_point_gets_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, place: str, words: str
) -> None:
    installed(monkeypatch, tmp_path, "acme_wrong", source, wrong=f"acme_wrong:{place}")
    with pytest.raises(DeclarationError, match=f"^entry point wrong = acme_wrong:{place} of acme_wrong 1.0.*{words}"):
        with_own(BUILT_IN)


def test_two_of_one_name_are_told_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("acme_views", "other_views"):
        installed(monkeypatch, tmp_path, name, STALLS, stalls=f"{name}:STALLS")
    said = "entry point stalls = other_views:STALLS of other_views 1.0 is called stalls, as entry point stalls = acme_views:STALLS of acme"
    with pytest.raises(DeclarationError, match=re.escape(said)):
        with_own(BUILT_IN)
