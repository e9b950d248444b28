"""A distribution as an installer leaves it: one module, and the .dist-info that says what it is and which entry points it has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(directory: Path, name: str, source: str, points: Mapping[str, str]) -> None:
    """Put the distribution `name` 1.0 there: module `name` of this source, entry points `points` (name → place) of group marquee.views."""
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.py").write_text(source)
    told = directory / f"{name}-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("\n".join(["[marquee.views]", *(f"{point} = {place}" for point, place in points.items()), ""]))
