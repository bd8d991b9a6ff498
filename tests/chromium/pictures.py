"""Takes the pictures of docs/pictures: `python tests/chromium/pictures.py`."""

import tempfile
from pathlib import Path

import httpx
from browser import chromium, opened
from playwright.sync_api import Browser, ViewportSize
from showcase import Running, Showcase

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
DESK: ViewportSize = {"width": 1440, "height": 1180}
PHONE: ViewportSize = {"width": 360, "height": 780}


def take(browser: Browser, url: str, name: str, size: ViewportSize, scheme: str, scroll_to: str | None = None) -> None:
    """One picture of what is to be seen without scrolling, after the bars have come to rest."""
    with browser.new_context(
        viewport=size,
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        device_scale_factor=1,
    ) as context:
        page = context.new_page()
        opened(page, url)
        page.wait_for_selector("#plot svg")
        if scroll_to is not None:
            page.locator(".queries .opener").nth(3).click()
            page.locator(scroll_to).evaluate("node => node.scrollIntoView()")
        page.screenshot(path=FOLDER / name)


def ask(url: str) -> None:
    """One query, so that the gateway has asked what is spent of the budgets."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "code list files"}]}
    httpx.post(f"{url}/v1/chat/completions", json=body).raise_for_status()


def main() -> None:
    """Light, dark, the attempts of a query, and a phone."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        running = Running(Showcase(Path(folder), num_queries=9000))
        try:
            ask(running.url)
            with chromium() as browser:
                take(browser, running.url, "dashboard-light.png", DESK, "light")
                take(browser, running.url, "dashboard-dark.png", DESK, "dark")
                take(browser, running.url, "dashboard-attempts.png", {"width": 1440, "height": 700}, "light", ".recent")
                take(browser, running.url, "dashboard-phone.png", PHONE, "light")
        finally:
            running.stop()
    for path in sorted(FOLDER.glob("dashboard-*.png")):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
