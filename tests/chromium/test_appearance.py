"""It can be read, in light and dark, on a phone, and brings everything along."""

import httpx
import pytest
from browser import opened
from playwright.sync_api import Browser, Page, expect

LEAST_CONTRAST = 4.5

LOW_CONTRAST = """(least) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = (color) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = [...rgba(color)].map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (rgba(color)[3] === 255) return color;
    }
    return "white";
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.matches(".unseen, .skip, script, noscript *")) continue;
    const style = getComputedStyle(node);
    const ink = node.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const pair = [light(ink), light(ground(node))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < least) found.push([node.outerHTML.slice(0, 80), contrast]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(browser: Browser, busy, scheme) -> None:
    with browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme) as context:
        page = context.new_page()
        opened(page, busy.url)
        page.locator(".queries .opener").first.click()
        assert page.evaluate(LOW_CONTRAST, LEAST_CONTRAST) == []


def test_the_theme_can_be_set_and_is_kept(page: Page, busy) -> None:
    opened(page, busy.url)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    button = page.get_by_role("button", name="Theme")
    button.click()
    button.click()
    expect(button).to_have_text("Theme: dark")
    assert page.evaluate(ground) != light
    page.reload()
    expect(button).to_have_text("Theme: dark")
    assert page.evaluate(ground) != light


@pytest.mark.parametrize("width", [320, 360, 768, 1024, 1920])
def test_nothing_is_wider_than_the_window(browser: Browser, busy, width) -> None:
    with browser.new_context(viewport={"width": width, "height": 740}) as context:
        page = context.new_page()
        opened(page, busy.url)
        page.locator(".queries .opener").first.click()
        page.get_by_text("As a table").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_control_is_reached_by_tab_and_has_a_name(page: Page, busy) -> None:
    opened(page, busy.url)
    page.get_by_role("button", name="Older queries").wait_for()
    named = page.evaluate(
        """[...document.querySelectorAll("main button, header button")].filter((one) => one.checkVisibility())
        .every((one) => (one.getAttribute("aria-label") ?? one.textContent).trim())"""
    )
    assert named
    reached = []
    while "opener" not in reached and len(reached) < 20:
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className || document.activeElement.type"
            )
        )
    assert reached[:4] == ["skip", "radio", "theme", "plot"]
    assert reached[-1] == "opener"


def test_the_page_asks_nobody_but_its_gateway(page: Page, busy) -> None:
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    opened(page, busy.url)
    assert addresses
    assert [address for address in addresses if not address.startswith(busy.url)] == []


def test_scripts_that_are_not_its_own_do_not_run(browser: Browser, busy) -> None:
    policy = httpx.get(f"{busy.url}/dashboard").headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    inject = """() => [
      () => document.body.setAttribute("onclick", "window.ran = true"),
      () => { document.createElement("script").textContent = "window.ran = true"; },
      () => { document.body.innerHTML = "<b>markup</b>"; },
    ].filter((attempt) => { try { attempt(); return true; } catch { return false; } }).length"""
    with browser.new_context() as context:
        page = context.new_page()
        opened(page, busy.url)
        assert page.evaluate(inject) == 0
