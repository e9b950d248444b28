"""What an audit's verdict needs."""

from __future__ import annotations

import pytest

from loadgen.audit_report import AuditResult, LetterTally, ViewTally


def audited(letters: LetterTally | None = None, /, **cells: int) -> AuditResult:
    """Of an audit that found nothing wrong in so many cells of each view, and these letters."""
    views = {name: ViewTally(cells=count) for name, count in cells.items()}
    return AuditResult(
        run="r", generated=1, received=1, applied=1, duplicate=0, late=0, dead=0, crossed=0, unaccounted=0, ledger="equal",
        views=views, differences=(), sources=(), dead_reasons={}, seconds=0.1,
        letters={"dead": letters or LetterTally(), "late": LetterTally(compared=5)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "exact"),
    [
        ({"accounting": 1, "concurrents": 1, "watch_time": 1}, True),
        ({"accounting": 1, "concurrents": 0, "watch_time": 1}, True),  # everybody has left, and no whole minute was seen
        ({"accounting": 1, "concurrents": 1, "sessions": 0}, True),  # and none is over
        ({"accounting": 1, "concurrents": 1, "watch_time": 0}, False),
        ({"accounting": 0, "concurrents": 1, "watch_time": 1}, False),
    ],
)
def test_a_view_of_which_nothing_was_compared_proves_nothing_unless_it_goes_by_the_clock(cells: dict[str, int], exact: bool) -> None:
    assert audited(**cells).exact is exact


@pytest.mark.parametrize(
    ("letters", "exact"),
    [
        (LetterTally(compared=3, deleted=1, undue=2), True),  # what could not be looked for, or need not stand yet, is not wrong
        (LetterTally(compared=3, missing=1), False),
        (LetterTally(compared=3, wrong=1), False),
        (LetterTally(spurious=1), False),
    ],
)
def test_a_letter_that_is_missing_wrong_or_too_many_is_not_exact(letters: LetterTally, exact: bool) -> None:
    assert audited(letters, accounting=1, concurrents=1, watch_time=1).exact is exact


def test_a_finished_run_is_not_proven_while_letters_need_not_stand_yet() -> None:
    """A run none of whose letters was taken would be."""
    assert audited(LetterTally(compared=3), accounting=1, concurrents=1, watch_time=1).proven
    assert not audited(LetterTally(undue=3), accounting=1, concurrents=1, watch_time=1).proven
