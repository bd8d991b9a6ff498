"""The report in a real browser: readable on a desk and on a phone, light and dark, with nothing to complain of."""

from pathlib import Path

import pytest
from browser import complaints_of
from playwright.sync_api import Browser, expect


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (400, "light")])
def test_the_report_is_readable(browser: Browser, repo: Path, width: int, scheme: str) -> None:
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        page = context.new_page()
        complaints = complaints_of(page)
        page.goto((repo / "bench" / "results" / "report.html").as_uri())
        expect(page.get_by_role("heading", name="Headrace: numbers to reach")).to_be_visible()
        expect(page.get_by_role("heading", name="Gateway")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("link", name="Runs", exact=True).click()
        expect(page.locator("#runs")).to_be_in_viewport()
        assert complaints == []
