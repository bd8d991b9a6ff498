"""A whole gateway whose large model is behind another gateway: what its clients and its accounts see."""

from serve_app.engines.fake import FakeEngine
from tests.parts.engines.openai_server import OpenAIServer, refusal


async def test_an_escalated_query_is_answered_and_billed_as_by_a_model_of_ours(gateway, elsewhere):
    behind = gateway(large=FakeEngine(default="the far model says this"))
    front = gateway(large=await elsewhere(behind.app, server={"model": "large"}))
    answer = (await front.chat("hard", model="cascade", logprobs=True, top_logprobs=2)).json()
    assert answer["choices"][0]["message"]["content"] == "the far model says this"
    assert answer["headrace"]["escalated"] and answer["headrace"]["model"] == "large-model"
    assert answer["usage"]["completion_tokens"] == 5 and answer["usage"]["prompt_tokens"] == 1
    first = answer["choices"][0]["logprobs"]["content"][0]
    assert first["token"] == "the" and [one["token"] for one in first["top_logprobs"]] == ["the", "the~0"]
    (account,) = await front.accounts()
    assert [(one.node, one.outcome) for one in account.attempts] == [
        ("specialists", "escalated"),
        ("fallback", "accepted"),
    ]
    assert account.attempts[1].cost_nusd == 1 * 10_000 + 5 * 20_000
    (far,) = await behind.accounts()
    assert far.attempts[0].usage.completion_tokens == 5


async def test_no_server_is_503_and_no_room_is_429_with_the_time_to_come_back(gateway, elsewhere):
    front = gateway(large=await elsewhere("http://127.0.0.1:9", remote={"max_retries": 0}))
    dead = await front.chat(model="large")
    assert dead.status_code == 503 and "cannot be reached" in dead.json()["error"]["message"]
    busy = OpenAIServer(always=refusal(429, headers={"retry-after": "20"}))
    front = gateway(large=await elsewhere(busy.app()))
    full = await front.chat(model="large")
    assert (full.status_code, full.headers["retry-after"]) == (429, "20")
    assert full.json()["error"]["code"] == "overloaded"


async def test_a_trace_goes_on_at_the_server(gateway, elsewhere):
    server = OpenAIServer()
    front = gateway(large=await elsewhere(server.app()))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await front.chat(model="large", headers={"traceparent": parent})
    assert server.requests[0][2]["traceparent"].split("-")[1] == parent.split("-")[1]
