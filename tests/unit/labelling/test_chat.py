import logging

import httpx
import pytest

from serve_app.core import ConfigError, EngineError, RequestError
from serve_app.labelling.chat import ChatEndpoint, reply_text

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
GOOD = {"choices": [{"message": {"role": "assistant", "content": "hello"}}]}


class Script:
    """Answers in turn; an exception is raised instead. Remembers requests and waits."""

    def __init__(self, *answers):
        self._answers, self.requests, self.waits = list(answers), [], []

    def handle(self, request):
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds):
        self.waits.append(seconds)

    def endpoint(self, url="http://host", **options):
        return ChatEndpoint(url, transport=httpx.MockTransport(self.handle), sleep=self.sleep, **options)


def refusal(status, message="no", **headers):
    return httpx.Response(status, json={"error": {"message": message}}, headers=headers)


async def ask(script, **options):
    async with script.endpoint(**options) as endpoint:
        return await endpoint.complete(BODY)


async def test_the_request_goes_out_as_it_is_and_the_answer_comes_back():
    script = Script(httpx.Response(200, json=GOOD))
    assert reply_text(await ask(script)) == "hello"
    assert str(script.requests[0].url) == "http://host/v1/chat/completions"
    assert "authorization" not in script.requests[0].headers


async def test_what_may_pass_is_asked_again_after_growing_waits_that_vary():
    script = Script(refusal(429), httpx.ReadTimeout("slow"), refusal(503), httpx.Response(200, json=GOOD))
    assert reply_text(await ask(script)) == "hello"
    first, second, third = script.waits
    assert 0.5 <= first <= 1 <= second <= 2 <= third <= 4


async def test_the_server_may_ask_for_a_longer_wait_within_bounds():
    script = Script(
        refusal(429, **{"retry-after": "7"}),
        refusal(429, **{"retry-after": "86400"}),
        refusal(429, **{"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        httpx.Response(200, json=GOOD),
    )
    await ask(script)
    assert 7 <= script.waits[0] <= 8
    assert script.waits[1] <= 62
    assert script.waits[2] <= 4


async def test_the_last_failure_is_told_and_there_is_an_end():
    script = Script(*(refusal(500, "out of memory") for _ in range(3)))
    with pytest.raises(EngineError, match=r"status 500 \(out of memory\), 3 times in a row"):
        await ask(script, max_retries=2)
    assert len(script.waits) == 2


@pytest.mark.parametrize(
    ("status", "error"), [(400, RequestError), (422, RequestError), (401, ConfigError), (404, ConfigError)]
)
async def test_a_refusal_is_not_asked_again(status, error):
    with pytest.raises(error, match=f"status {status} .the reason."):
        await ask(Script(refusal(status, "the reason")))


async def test_an_answer_that_is_none_is_told():
    with pytest.raises(EngineError, match="JSON object"):
        await ask(Script(httpx.Response(200, text="<html>")))
    with pytest.raises(EngineError, match=r"choices\.0\.message\.content"):
        reply_text({"choices": []})


async def test_the_key_comes_from_the_environment_and_is_shown_nowhere(monkeypatch, caplog):
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    caplog.set_level(logging.DEBUG)
    script = Script(refusal(401, "bad key"))
    endpoint = script.endpoint(key_env="JUDGE_KEY")
    with pytest.raises(ConfigError) as caught:
        async with endpoint:
            await endpoint.complete(BODY)
    assert script.requests[0].headers["authorization"] == "Bearer sk-very-secret"
    assert "sk-very-secret" not in caplog.text + str(caught.value) + repr(endpoint)


@pytest.mark.parametrize("value", [None, " ", "two\nlines", "schlüssel"])
async def test_a_key_that_cannot_be_sent_names_its_variable(monkeypatch, value):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("JUDGE_KEY", value)
    with pytest.raises(ConfigError, match="JUDGE_KEY"):
        async with Script().endpoint(key_env="JUDGE_KEY"):
            pass


@pytest.mark.parametrize(
    "url", ["host", "ftp://host", "http://", "http://user:pw@host", "http://host?key=1", "http://user:pw@host:port"]
)
async def test_an_address_that_cannot_be_used_is_refused_without_repeating_a_password(url):
    with pytest.raises(ConfigError) as caught:
        async with Script().endpoint(url):
            pass
    assert "pw" not in str(caught.value)
