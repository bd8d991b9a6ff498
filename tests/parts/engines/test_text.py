import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from serve_app.engines import text as text_module
from serve_app.engines.text import StopStrings, TextStream


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(text_module).failed == 0


letters = st.text("ab", max_size=12)


@given(pieces=st.lists(letters, max_size=8), stop=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_text_let_through_is_the_text_before_the_first_stop_string_however_it_is_cut(pieces, stop):
    stops = StopStrings(stop)
    seen = ""
    for piece in pieces:
        seen += stops.push(piece)
        assert not any(one in seen for one in stop)
    seen += stops.flush()
    whole = "".join(pieces)
    if stops.reached:
        assert whole.startswith(seen) and any(whole[len(seen) :].startswith(one) for one in stop)
    else:
        assert seen == whole and not any(one in whole for one in stop)


@pytest.fixture(scope="module")
def tokenizer(model_folder):
    return Tokenizer.from_file(str(model_folder / "tokenizer.json"))


def test_multi_byte_characters_come_out_whole(tokenizer):
    text = "née 水 🌊!"
    stream = TextStream(tokenizer, [])
    pieces = [stream.push(token_id) for token_id in tokenizer.encode(text).ids]
    assert "".join(pieces) + stream.flush() == text
    assert "�" not in "".join(pieces) and len(pieces) == len(text.encode())


def test_character_that_is_never_completed_is_dropped(tokenizer):
    stream = TextStream(tokenizer, [])
    pieces = [stream.push(token_id) for token_id in tokenizer.encode("ok 🌊").ids[:-1]]
    assert "".join(pieces) + stream.flush() == "ok "


@given(ids=st.lists(st.integers(0, 255), max_size=40))  # one token for each byte
def test_any_bytes_come_out_as_their_decoded_text_less_an_incomplete_end(tokenizer, ids):
    stream = TextStream(tokenizer, [])
    text = "".join(stream.push(token_id) for token_id in ids) + stream.flush()
    assert text == tokenizer.decode(ids).rstrip("\ufffd")


def test_stop_string_across_tokens_is_held_back_and_found(tokenizer):
    stream = TextStream(tokenizer, ["END", "水"])
    seen = [stream.push(token_id) for token_id in tokenizer.encode("an EN EN").ids]
    assert "".join(seen) == "an EN " and not stream.stopped
    seen = [stream.push(token_id) for token_id in tokenizer.encode("D tail").ids]
    assert "".join(seen) == "" and stream.stopped


def test_special_tokens_are_not_text(tokenizer):
    stream = TextStream(tokenizer, [])
    assert "".join(stream.push(token_id) for token_id in tokenizer.encode("a<|im_start|>b").ids) == "ab"
