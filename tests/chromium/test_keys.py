"""Where keys are set the page asks for one, once; a user key shows its own queries only."""

from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

ADMIN, USER = "hr-admin-secret", "hr-user-secret"


@pytest.fixture(scope="module")
def locked(serve) -> Any:
    """A gateway with keys; `search-team` is one of those that the accounts are under."""
    gateway = {"admin_keys": {"ops": ADMIN}, "api_keys": {"search-team": USER}}
    return serve(num_queries=200, overrides={"gateway": gateway})


def give(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")


def test_the_key_is_asked_for_once_and_kept_in_the_tab(page: Page, locked) -> None:
    page.goto(f"{locked.url}/dashboard")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_label("API key")).to_be_focused()
    give(page, ADMIN)
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    expect(page.locator("#scope")).to_be_hidden()
    assert page.evaluate("sessionStorage.getItem('headrace-key')") == ADMIN
    assert ADMIN not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
    page.reload()
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_wrong_key_is_refused_and_asked_for_again(page: Page, locked) -> None:
    page.goto(f"{locked.url}/dashboard")
    give(page, "hr-wrong")
    expect(page.get_by_role("alert")).to_contain_text("not one of this server's keys")
    assert page.evaluate("sessionStorage.getItem('headrace-key')") is None
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_visible()
    give(page, ADMIN)
    expect(page.locator("#live")).to_have_attribute("data-state", "live")


def test_a_user_key_shows_its_own_queries_only(page: Page, locked) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "legal advice"}]}
    own_key = {"authorization": f"Bearer {USER}"}
    assert httpx.post(f"{locked.url}/v1/chat/completions", json=body, headers=own_key).status_code == 200
    page.goto(f"{locked.url}/dashboard")
    give(page, USER)
    expect(page.locator("#scope")).to_have_text("Queries of key search-team only")
    own = httpx.get(f"{locked.url}/v1/ledger/stats?since=24h", headers=own_key).json()
    everything = httpx.get(f"{locked.url}/v1/ledger/stats?since=24h", headers={"authorization": f"Bearer {ADMIN}"})
    assert 0 < own["totals"]["queries"] < everything.json()["totals"]["queries"]
    tile = page.locator("#tiles > div", has_text="Queries")
    expect(tile.locator("dd").first).to_have_text(str(own["totals"]["queries"]))
    expect(page.locator("#budgets li")).to_have_count(1)
    expect(page.locator("#budgets")).to_contain_text("key search-team")


def test_another_key_can_be_given(page: Page, locked) -> None:
    page.goto(f"{locked.url}/dashboard")
    give(page, USER)
    expect(page.locator("#scope")).to_be_visible()
    page.get_by_role("button", name="Change key").click()
    give(page, ADMIN)
    expect(page.locator("#scope")).to_be_hidden()
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
