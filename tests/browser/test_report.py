"""A run's report in a real browser: one file, opened from the disk, by day and by night."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from marquee.report import Recorded, report
from marquee.report_page import write_report
from tests.browser.browser import grave_findings, too_wide_px, visiting
from tests.marquee.test_report import MOMENTS, RUN


@pytest.mark.parametrize("dark", [False, True])
async def test_a_report_is_drawn_from_the_disk_and_asks_nobody_for_anything(tmp_path: Path, dark: bool) -> None:
    file = tmp_path / "report.html"
    document = report(Recorded(RUN, MOMENTS))
    write_report(file, document)
    async with visiting(file.as_uri()) as visitor:
        page = await visitor.open(file.as_uri(), dark=dark)
        await expect(page.get_by_role("heading", level=1)).to_have_text("load first")
        await expect(page.locator("figure .uplot")).to_have_count(len(document["charts"]))
        await expect(page.get_by_role("table", name="What became of the events")).to_contain_text("not all is applied yet")
        assert await grave_findings(page) == []
        assert await too_wide_px(page) == 0
        assert (visitor.strangers, visitor.complaints) == ([], [])
