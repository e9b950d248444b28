"""The API's fixtures, for tests that look at it through a browser. `scripts/test-browser` runs them: `make test` does not, which would take
Chromium and half as long again."""

from __future__ import annotations

from tests.serving.api.conftest import api, world

__all__ = ("api", "world")
