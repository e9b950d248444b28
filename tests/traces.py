"""The recorded traces, which stand beside the repository and not in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from topologies.settings import Settings


def recorded(settings: Settings, name: str) -> Path:
    """The trace of that name. Where the traces are not (a user's clone), the test is skipped: the one reason for which a test may be."""
    file = Path(settings.local.traces) / name
    if not file.exists():
        pytest.skip(f"no trace {file}; the setting local.traces says where they are")
    return file
