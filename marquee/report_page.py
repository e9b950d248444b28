"""A report as one file that loads nothing: the dashboard's charts, tables and style, uPlot, and the numbers, all within the page."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from typing import Any, Final

import serving

ASSETS: Final = Path(serving.__path__[0]) / "assets"
STYLES: Final = ("vendor/uplot/uPlot.min.css", "dashboard/style.css", "report/report.css")
SCRIPTS: Final = ("vendor/uplot/uPlot.iife.min.js", "dashboard/theme.js")
MODULE: Final = "report.js"
_IMPORT: Final = re.compile(r'(\bfrom )"\./([\w-]+\.js)"')
_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")


def report_page(document: dict[str, Any]) -> str:
    """The page of that document, whose form serving/assets/report/report.js tells."""
    parts = {
        "title": html.escape(f"{document['title']} · Marquee"),
        "style": "\n".join((ASSETS / name).read_text() for name in STYLES),
        "scripts": "\n".join((ASSETS / name).read_text() for name in SCRIPTS),
        "modules": json.dumps({"imports": {f"marquee/{name}": _address(text) for name, text in _modules().items()}}),
        "report": json.dumps(document, ensure_ascii=False).replace("<", "\\u003c"),
    }
    return _PLACE.sub(lambda found: parts[found[1]], (ASSETS / "report" / "page.html").read_text())


def _modules() -> dict[str, str]:
    """The report's module and all that it imports, by name. Modules in one page find each other by bare names, not by places."""
    found: dict[str, str] = {}
    wanted = [MODULE]
    while wanted:
        name = wanted.pop()
        folder = "report" if name == MODULE else "dashboard"
        text = (ASSETS / folder / name).read_text()
        found[name] = _IMPORT.sub(r'\1"marquee/\2"', text)
        wanted += [other for _, other in _IMPORT.findall(text) if other not in found]
    return found


def _address(module: str) -> str:
    return f"data:text/javascript;base64,{base64.b64encode(module.encode()).decode()}"


def write_report(file: Path, document: dict[str, Any]) -> None:
    """Writes the page so that a reader sees the old one or the new one, never a part."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(report_page(document), encoding="utf-8")
    fresh.replace(file)
