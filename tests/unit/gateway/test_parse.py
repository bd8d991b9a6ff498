"""Whatever bytes come in, parsing gives a query or one RequestError; nothing else escapes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core import RequestError
from serve_app.gateway.parameters import CHAT_UNSUPPORTED, MESSAGE_UNSUPPORTED, TEXT_UNSUPPORTED
from serve_app.gateway.parse import chat_ask, text_ask
from serve_app.gateway.requests import ChatBody, ChatMessage, TextBody
from tests.properties import examples

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "tool"]) | VALUES, "content": st.text() | VALUES}
    ),
    max_size=3,
)


def bodies(known: list[str], required: dict[str, st.SearchStrategy]):
    extra = st.dictionaries(st.sampled_from(known) | st.text(max_size=8), VALUES, max_size=3)
    return st.builds(lambda base, more: {**base, **more}, st.fixed_dictionaries(required), extra)


@settings(max_examples=examples(80), deadline=None)
@given(bodies([*ChatBody.model_fields, *CHAT_UNSUPPORTED], {"model": st.just("auto"), "messages": MESSAGES}))
def test_any_chat_body_is_a_query_or_one_request_error(body):
    try:
        ask = chat_ask(json.dumps(body).encode(), "q1", None, 8)
    except RequestError as error:
        assert str(error).endswith(".")
        assert "\n" not in str(error)
        return
    assert ask.query.messages
    assert 1 <= ask.num_choices <= 8


@settings(max_examples=examples(50), deadline=None)
@given(bodies([*TextBody.model_fields, *TEXT_UNSUPPORTED], {"model": st.just("auto"), "prompt": st.text() | VALUES}))
def test_any_text_body_is_a_query_or_one_request_error(body):
    try:
        ask = text_ask(json.dumps(body).encode(), "q1", None, 8)
    except RequestError as error:
        assert str(error).endswith(".")
        return
    assert ask.query.prompt


@settings(max_examples=examples(60), deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_a_query_or_one_request_error(body):
    with pytest.raises(RequestError):
        chat_ask(body, "q1", None, 8)


def test_no_parameter_is_both_honoured_and_refused():
    assert not set(ChatBody.model_fields) & set(CHAT_UNSUPPORTED)
    assert not set(TextBody.model_fields) & set(TEXT_UNSUPPORTED)
    assert not set(ChatMessage.model_fields) & set(MESSAGE_UNSUPPORTED)


def test_every_parameter_of_the_official_client_is_known():
    from openai.types import completion_create_params as text
    from openai.types.chat import completion_create_params as chat

    from serve_app.gateway.parameters import CHANGES_NOTHING

    for params, fields, unsupported in (
        (chat.CompletionCreateParamsBase, ChatBody.model_fields, CHAT_UNSUPPORTED),
        (text.CompletionCreateParamsBase, TextBody.model_fields, TEXT_UNSUPPORTED),
    ):
        assert set(params.__annotations__) <= {*fields, *unsupported, *CHANGES_NOTHING}
