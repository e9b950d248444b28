"""A chart of bars as SVG: a few columns, each with its bar and what was tried for it. Light and dark by what the viewer prefers, no script.

Written by hand: pages draw by uPlot, which needs a canvas, and a library that draws files would be the largest of all that are installed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

WIDTH: Final = 760
HEIGHT: Final = 380
LEFT: Final = 80
RIGHT: Final = 20
TOP: Final = 76
BOTTOM: Final = 60
BAR: Final = 64
STYLE: Final = """
svg { --card: #ffffff; --ink: #1a1e25; --soft: #535c69; --rule: #d5dae1; --bar: #0072b2; --no: #c44e00; }
@media (prefers-color-scheme: dark) {
  svg { --card: #1b1f26; --ink: #e9ebef; --soft: #a7b0bd; --rule: #343b46; --bar: #56b4e9; --no: #f0a030; }
}
text { font: 13px system-ui, sans-serif; fill: var(--soft); }
.title { font-size: 16px; font-weight: 650; fill: var(--ink); }
.value { font-size: 14px; font-weight: 650; fill: var(--ink); }
.card { fill: var(--card); }
.rule { stroke: var(--rule); }
.bar { fill: var(--bar); fill-opacity: 0.75; }
.yes { fill: var(--bar); stroke: var(--card); }
.no { stroke: var(--no); stroke-width: 2.5; }
"""


@dataclass(frozen=True)
class Column:
    """One column: under it its label; its bar, None for none; what stands above it; what was tried and passed, and what failed."""

    label: str
    value: float | None
    said: str
    passed: Sequence[float] = ()
    failed: Sequence[float] = ()


def bar_chart(title: str, lead: str, x_label: str, y_label: str, columns: Sequence[Column]) -> str:
    """The chart as a document. Values are not negative."""
    svg = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", width=str(WIDTH), role="img")
    _put(svg, "title", text=f"{title}: " + ", ".join(f"{column.label} {x_label} {column.said}" for column in columns))
    _put(svg, "style", text=STYLE)
    _put(svg, "rect", width=WIDTH, height=HEIGHT, rx=10, **{"class": "card"})
    _say(svg, LEFT, 30, title, "title")
    _say(svg, LEFT, 50, lead)
    values = [value for column in columns for value in (column.value or 0.0, *column.passed, *column.failed)]
    step = _step(max([*values, 1.0]))
    top = step * math.ceil(max([*values, 1.0]) * 1.08 / step)
    _scale(svg, step, top, y_label)
    room = (WIDTH - LEFT - RIGHT) / max(len(columns), 1)
    for number, column in enumerate(columns):
        _column(svg, column, LEFT + room * (number + 0.5), top)
    _say(svg, LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 14, x_label, anchor="middle")
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _scale(svg: ET.Element, step: float, top: float, label: str) -> None:
    for number in range(round(top / step) + 1):
        at = _height(number * step, top)
        _put(svg, "line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, **{"class": "rule"})
        _say(svg, LEFT - 8, at + 4, f"{number * step:,.0f}", anchor="end")
    _say(svg, LEFT - 8, TOP - 12, label, anchor="end")


def _column(svg: ET.Element, column: Column, middle: float, top: float) -> None:
    if column.value:
        at = _height(column.value, top)
        _put(svg, "rect", x=middle - BAR / 2, y=at, width=BAR, height=HEIGHT - BOTTOM - at, **{"class": "bar"})
    _say(svg, middle, _height(column.value or 0.0, top) - 8, column.said, "value", "middle")
    beside = middle + BAR / 2 + 14
    for value in column.passed:
        _put(svg, "circle", cx=beside, cy=_height(value, top), r=5, **{"class": "yes"})
    for value in column.failed:
        x, y = beside, _height(value, top)
        _put(svg, "path", d=f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8", **{"class": "no"})
    _say(svg, middle, HEIGHT - BOTTOM + 20, column.label, anchor="middle")


def _height(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _step(most: float) -> float:
    """Between lines: 1, 2 or 5 times a power of ten, never less than 1; about six of them."""
    ten = 10.0 ** math.floor(math.log10(most / 6))
    return max(1.0, next(ten * times for times in (1, 2, 5, 10) if ten * times >= most / 6))


def _say(svg: ET.Element, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
    _put(svg, "text", text=text, x=x, y=y, **{"text-anchor": anchor, **({"class": kind} if kind else {})})


def _put(parent: ET.Element, name: str, text: str = "", **attributes: float | str) -> None:
    written = {key: f"{value:.1f}".removesuffix(".0") if isinstance(value, int | float) else value for key, value in attributes.items()}
    ET.SubElement(parent, name, written).text = text or None
