"""The simulator's chart: of each day the load, in capacities of one worker, and how many workers each contender had; an SVG by hand, since
four panels of lines are not worth a plotting library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from xml.sax.saxutils import escape

from cluster.scaling.days import MINUTES, Day
from cluster.scaling.simulator import FIXED, HPA, KEDA, OURS, Judged, Outcome

WIDTH: Final = 560
HEIGHT: Final = 230
LEFT: Final = 40
TOP: Final = 34
BETWEEN: Final = 24
FOOT: Final = 52
COLOURS: Final = {FIXED: "#8a8f98", HPA: "#c98500", KEDA: "#2f6fde", OURS: "#0a8f5b"}
"""Who is drawn, and in what; the later ones on top."""
MARKS: Final = 5
"""Height of a row of marks for minutes with violations, under the panel."""


def drawn_days(judged: Judged, days: Sequence[Day]) -> str:
    """The SVG: two panels a row."""
    rows = -(-len(days) // 2)
    width, height = 2 * (WIDTH + LEFT + BETWEEN), TOP + rows * (HEIGHT + FOOT + BETWEEN)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape('Workers on four days of load, by who scales')}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_legend(),
    ]
    for place, day in enumerate(days):
        left = LEFT + (place % 2) * (WIDTH + LEFT + BETWEEN)
        lines += _panel(judged, day, left, TOP + (place // 2) * (HEIGHT + FOOT + BETWEEN))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _legend() -> Iterable[str]:
    at = LEFT
    yield f'<rect x="{at}" y="8" width="14" height="10" fill="#e3e6ea"/><text x="{at + 18}" y="17">load ÷ capacity of a worker</text>'
    at += 200
    for name, colour in COLOURS.items():
        yield f'<rect x="{at}" y="11" width="14" height="4" fill="{colour}"/><text x="{at + 18}" y="17">{escape(name)}</text>'
        at += 40 + 7 * len(name)
    yield f'<text x="{at}" y="17" fill="#5b6168">under a day, in these colours: minutes with lag over the bound</text>'


def _panel(judged: Judged, day: Day, left: int, top: int) -> Iterable[str]:
    loads = day.by_minute / judged.ground.measured.capacity_per_s
    outcomes = [judged.of(name, day.name) for name in COLOURS]
    most = max(float(loads.max()), *(float(one.workers.max()) for one in outcomes)) * 1.05

    def height(value: float) -> float:
        return round(top + 20 + HEIGHT * (1 - value / most), 1)

    def place(minute: float) -> float:
        return round(left + WIDTH * minute / MINUTES, 1)

    yield f'<text x="{left}" y="{top + 12}" font-weight="600">{escape(day.name)}</text>'
    for workers in range(int(most) + 1):
        yield f'<line x1="{left}" x2="{left + WIDTH}" y1="{height(workers)}" y2="{height(workers)}" stroke="#eef0f2"/>'
        yield f'<text x="{left - 6}" y="{height(workers) + 4}" text-anchor="end" fill="#5b6168">{workers}</text>'
    area = " ".join(f"{place(minute)},{height(float(load))}" for minute, load in enumerate(loads))
    yield f'<polygon points="{left},{height(0)} {area} {left + WIDTH},{height(0)}" fill="#e3e6ea"/>'
    for one in outcomes:
        points = " ".join(f"{place(minute)},{height(workers)}" for minute, workers in _steps(one))
        yield f'<polyline points="{points}" fill="none" stroke="{COLOURS[one.contender]}" stroke-width="1.6"/>'
    for row, one in enumerate(outcomes):
        yield from _violations(one, left, height(0) + 3 + row * (MARKS + 1))
    for hour in range(0, 25, 4):
        yield f'<text x="{place(hour * 60)}" y="{height(0) + 42}" text-anchor="middle" fill="#5b6168">{hour:02}:00</text>'


def _steps(outcome: Outcome) -> Iterable[tuple[int, int]]:
    before = None
    for minute, workers in enumerate(outcome.workers.tolist()):
        if workers != before:
            if before is not None:
                yield minute, before
            yield minute, workers
        before = workers
    yield MINUTES, int(outcome.workers[-1])


def _violations(outcome: Outcome, left: int, y: float) -> Iterable[str]:
    for minute in (outcome.lag_s > 0).nonzero()[0].tolist():
        x = round(left + WIDTH * minute / MINUTES, 1)
        yield f'<rect x="{x}" y="{round(y, 1)}" width="1.2" height="{MARKS}" fill="{COLOURS[outcome.contender]}"/>'
