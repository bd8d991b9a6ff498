"""The dashboard shows the ledger's figures, lives with new ones, and says so when there are none."""

import re

import httpx
import pytest
from browser import opened
from playwright.sync_api import Page, Route, expect

from serve_app.core import Answer


def ask(url: str, text: str = "code list files", **headers: str) -> dict[str, object]:
    """One query through the gateway; its account."""
    body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    response = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()["headrace"]


def dollars(text: str) -> float:
    return float(text.replace("−", "-").replace("$", "").replace(",", ""))


def test_figures_are_those_of_the_ledger(page: Page, busy) -> None:
    opened(page, busy.url)
    totals = httpx.get(f"{busy.url}/v1/ledger/stats", params={"since": "24h"}).json()["totals"]
    assert float(page.text_content("#saved-share").partition("\u202f")[0]) == pytest.approx(
        100 * totals["saved_share"], abs=0.05
    )
    for name in ("saved", "cost"):
        assert dollars(page.text_content(f"#{name}-usd")) == pytest.approx(totals[f"{name}_usd"], abs=0.005)
    levers = page.locator("#levers li .sum").all_text_contents()
    assert len(levers) == 5
    parts = [dollars(text.split(" ")[0]) for text in levers]
    assert sum(parts) == pytest.approx(totals["always_large_usd"], abs=0.03)
    tile = page.locator("#tiles > div", has_text="Queries")
    expect(tile.locator("dd").first).to_have_text(f"{totals['queries']:,}")


def test_the_bar_is_drawn_to_scale(page: Page, busy) -> None:
    opened(page, busy.url)
    totals = httpx.get(f"{busy.url}/v1/ledger/stats", params={"since": "24h"}).json()["totals"]
    page.emulate_media(reduced_motion="reduce")
    width = page.locator("#flow").bounding_box()["width"]
    paid = page.locator('#flow [data-part="paid"]').bounding_box()["width"]
    assert paid / width == pytest.approx(totals["cost_usd"] / totals["always_large_usd"], abs=0.02)


def test_routes_show_their_target_and_what_the_audits_found(page: Page, busy) -> None:
    opened(page, busy.url)
    states = {"code": "drifting", "medical": "within target", "legal": "target broken", "general": "no target"}
    for route, state in states.items():
        card = page.locator(".route", has=page.get_by_role("heading", name=route, exact=True))
        expect(card.locator(".chip")).to_have_text(state)
    legal = page.locator(".route", has=page.get_by_role("heading", name="legal", exact=True))
    expect(legal).to_contain_text("214 audits, 24 wrong")
    expect(legal.get_by_role("img")).to_have_attribute("aria-label", re.compile("target 5.0"))


def test_adapters_budgets_and_service_are_shown(page: Page, busy) -> None:
    opened(page, busy.url)
    expect(page.locator("#adapters tr", has_text="legal")).to_contain_text("a01bc237")
    expect(page.get_by_role("meter", name="Budget of all queries")).to_be_attached()
    expect(page.locator("#gateways")).to_contain_text("Gateway gateway-1")
    expect(page.locator("#gateways .chip")).to_have_text("accounts saved")
    expect(page.locator("#service")).to_contain_text("2026-11")


def test_a_query_opens_to_every_attempt_by_keyboard(page: Page, busy) -> None:
    opened(page, busy.url)
    accounts = httpx.get(f"{busy.url}/v1/ledger/queries", params={"limit": 25}).json()["data"]
    index = next(place for place, account in enumerate(accounts) if account["escalated"])
    opener = page.locator(".queries .opener").nth(index)
    opener.focus()
    page.keyboard.press("Enter")
    expect(opener).to_have_attribute("aria-expanded", "true")
    detail = page.locator(f"#detail-{accounts[index]['query_id']}")
    expect(detail).to_be_visible()
    expect(detail.locator(".attempts > li")).to_have_count(len(accounts[index]["attempts"]))
    expect(detail).to_contain_text(accounts[index]["reason"])
    expect(detail).to_contain_text("dropped for the large model")
    page.keyboard.press("Enter")
    expect(detail).to_be_hidden()


def test_older_queries_follow_without_a_gap_or_a_repeat(page: Page, busy) -> None:
    opened(page, busy.url)
    page.get_by_role("button", name="Older queries").click()
    expect(page.locator(".queries .row")).to_have_count(50)
    ids = page.locator(".queries .detail").evaluate_all("rows => rows.map((row) => row.id)")
    accounts = httpx.get(f"{busy.url}/v1/ledger/queries", params={"limit": 50}).json()["data"]
    assert ids == [f"detail-{account['query_id']}" for account in accounts]


def test_a_new_query_comes_in_and_nothing_else_is_redrawn(page: Page, serve) -> None:
    running = serve(num_queries=60)
    opened(page, running.url)
    first = page.locator(".queries .opener").first
    first.click()
    page.evaluate("document.querySelectorAll('.queries tbody')[0].seenBefore = true")
    page.evaluate("document.querySelector('.route').seenBefore = true")
    account = ask(running.url)
    expect(page.locator(".queries tbody").first.locator(".detail")).to_have_id(f"detail-{account['query_id']}")
    assert page.evaluate("document.querySelectorAll('.queries tbody')[1].seenBefore")
    assert page.evaluate("[...document.querySelectorAll('.route')].some((route) => route.seenBefore)")
    expect(page.locator(".queries .detail").nth(1)).to_be_visible()
    assert page.evaluate("document.activeElement.className") == "opener"


def test_an_empty_ledger_says_what_to_do(page: Page, serve) -> None:
    opened(page, serve(fitted=False).url)
    expect(page.locator("#money-note")).to_contain_text("No queries in the last 24 hours")
    expect(page.locator("#recent-empty")).to_be_visible()
    expect(page.locator("#saved-share")).to_have_text("–")
    expect(page.locator("#routes-note")).to_contain_text("no quality target is promised")
    assert "NaN" not in page.text_content("body")


def test_a_ledger_that_is_away_is_told_and_the_figures_stay(page: Page, serve) -> None:
    running = serve(num_queries=60)
    opened(page, running.url)
    share = page.text_content("#saved-share")
    running.showcase.books.away = True
    expect(page.get_by_role("status")).to_contain_text("The ledger's database does not answer.")
    expect(page.locator("#live")).to_have_attribute("data-state", "stale")
    assert page.text_content("#saved-share") == share
    running.showcase.books.away = False
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    expect(page.locator("#banner")).to_be_hidden()


def test_what_the_page_cannot_show_is_told_and_asked_for_again(page: Page, busy) -> None:
    opened(page, busy.url)

    def of_another_version(route: Route) -> None:
        status = route.fetch().json()
        route.fulfill(json={**status, "ledger": {**status["ledger"], "state": "unheard of"}})

    page.route("**/v1/status", of_another_version)
    expect(page.get_by_role("status")).to_contain_text("This page cannot show what came")
    expect(page.locator("#live")).to_have_attribute("data-state", "stale")
    page.unroute("**/v1/status")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")


def test_a_gateway_that_is_gone_is_told_with_the_time_of_the_figures(page: Page, busy) -> None:
    opened(page, busy.url)
    page.context.set_offline(True)
    expect(page.get_by_role("status")).to_contain_text("The gateway does not answer. The figures are of")
    page.context.set_offline(False)
    expect(page.locator("#live")).to_have_attribute("data-state", "live")


def test_the_time_range_is_chosen_by_arrow_keys(page: Page, busy) -> None:
    opened(page, busy.url)
    page.get_by_role("radio", name="24 h").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#money-note")).to_contain_text("in the last 7 days")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#money-note")).to_contain_text("in the last 30 days")


def test_arrow_keys_read_the_chart_aloud(page: Page, busy) -> None:
    opened(page, busy.url)
    page.locator("#plot").focus()
    page.keyboard.press("End")
    expect(page.locator("#chart-said")).to_contain_text("queries, paid $")
    last = page.text_content("#chart-said")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#chart-said")).not_to_have_text(last)
    page.get_by_text("As a table").click()
    expect(page.locator("#chart-rows tr")).to_have_count(24)


def test_markup_in_an_account_is_shown_as_text(page: Page, serve) -> None:
    running = serve(fitted=False)
    httpx.get(f"{running.url}/v1/status")
    markup = '<img src="x" onerror="document.title=1">'
    account = Answer("q1", 1.0, markup, "accepted", (), route=markup, reason=markup, key_id=markup)
    running.run(running.showcase.books.record([account]))
    opened(page, running.url)
    page.locator(".queries .opener").click()
    expect(page.locator(".story")).to_contain_text(markup)
    assert page.locator("img").count() == 1  # the page's own mark
    assert page.title() == "Headrace"


def test_the_checklist_is_run_when_asked_for(page: Page, busy) -> None:
    opened(page, busy.url)
    page.get_by_role("button", name="Run the checklist").click()
    expect(page.locator("#checklist-note")).to_contain_text("not applicable", timeout=60_000)
    body = httpx.get(f"{busy.url}/v1/checklist", timeout=60).json()
    shown = page.locator("#checklist li").count()
    assert shown == body["counts"]["fail"] + body["counts"]["warn"] > 0
    expect(page.locator('#checklist li[data-id="security.keys"]')).to_contain_text("headrace keys create")
