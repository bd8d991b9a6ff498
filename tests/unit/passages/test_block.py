"""Passages before a question: numbered, whole, within their budget, and shut in."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core import Message, Passage
from serve_app.passages import block, fitting, prompt_with_passages, question_of, tokens_of, with_passages
from serve_app.passages.harmless import harmless

TEMPLATE_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|start_header_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "</s>",
    "<s>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "[gMASK]",
    "<tool_call>",
    "</tool_call>",
    "<｜begin▁of▁sentence｜>",
    "<repo_name>",
    "<jupyter_start>",
)
# Anything, with what could do harm much likelier than by chance.
hostile = st.lists(
    st.one_of(
        st.sampled_from([*TEMPLATE_TOKENS, "[1]", "[2] ", "\n", "\n\n", "\r", "\x00", "\u2028", "Question: "]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    ),
    max_size=12,
).map("".join)


def passage(text="Ten years.", title="Patents", num_tokens=10, **fields):
    return Passage("p1", "d1", "default", title, text, 0, len(text), num_tokens, 0.5, **fields)


def passages_of(**fields):
    return st.builds(passage, hostile, hostile, st.integers(0, 400), **fields)


def test_passages_stand_numbered_with_their_titles_before_the_last_question():
    turns = (Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello"))
    found = [passage("Ten\n\n  years."), passage("Twenty.", title="")]
    *before, last = with_passages((*turns, Message("user", "How long?")), found)
    assert tuple(before) == turns
    documents = "[1] Patents\n Ten\n   years.\n\n[2]\n Twenty."
    head = "Answer with the help of these passages:"
    assert last == Message("user", f"{head}\n\n{documents}\n\nQuestion: How long?")


def test_without_passages_nothing_changes():
    turns = (Message("user", "Hi"),)
    assert with_passages(turns, ()) == turns
    assert prompt_with_passages("Once", ()) == "Once"


def test_a_turn_after_the_last_question_stays_the_last():
    turns = (Message("user", "How long?"), Message("assistant", "It is"))
    asked, begun = with_passages(turns, [passage()])
    assert asked.content.endswith("Question: How long?")
    assert begun == turns[1]


def test_a_conversation_without_a_question_gets_a_turn_of_passages():
    turns = with_passages((Message("system", "Be brief."),), [passage()])
    assert [turn.role for turn in turns] == ["system", "user"]
    assert turns[1].content == block([passage()])


def test_a_raw_prompt_comes_last():
    assert prompt_with_passages("Once upon", [passage()]) == f"{block([passage()])}\n\nOnce upon"


@given(st.lists(passages_of(), min_size=1, max_size=4))
def test_no_document_writes_a_line_that_is_the_blocks_own(found):
    lines = block(found).splitlines()
    ours = [line for line in lines if line and not line.startswith(" ")]
    assert ours[0] == "Answer with the help of these passages:"
    assert [re.match(r"\[(\d+)\]( |$)", line)[1] for line in ours[1:]] == [str(one + 1) for one in range(len(found))]


@given(passages_of())
def test_no_chat_templates_token_comes_through(found):
    text = block([found])
    assert not [token for token in TEMPLATE_TOKENS if token in text]
    assert re.findall(r"\[\d+\]", text) == ["[1]"]


def _bare(text):
    return [char for char in text if not char.isspace() and unicodedata.category(char) != "Cc"]


@given(hostile)
def test_harmless_text_differs_in_blanks_and_control_characters_only(text):
    assert _bare(harmless(text)) == _bare(text)
    assert harmless(harmless(text)) == harmless(text)


@pytest.mark.parametrize("text", ["a < b and b > c", "x <= 3", "i <- 4", "list[index + 1]", "[a, b]", "see (2)"])
def test_what_is_no_mark_stays_as_it_is(text):
    assert harmless(text) == text


@given(st.lists(passages_of()), st.integers(-10, 2000))
def test_fitting_passages_are_whole_in_order_and_within_the_budget(found, budget_tokens):
    kept = fitting(found, budget_tokens)
    rest = iter(found)
    assert all(any(one is other for other in rest) for one in kept), "the order stays"
    assert not kept or sum(tokens_of(one) for one in kept) < budget_tokens
    left_tokens = budget_tokens - sum(tokens_of(one) for one in kept)
    assert all(tokens_of(one) > left_tokens - 16 for one in found if one not in kept), "no room is left unused"


def test_the_best_passage_that_is_too_long_gives_its_place_to_a_shorter_one():
    long, short = passage(num_tokens=500), passage(num_tokens=20)
    assert fitting([long, short], 100) == (short,)


@pytest.mark.parametrize(
    ("turns", "question"),
    [
        ([], ""),
        ([Message("system", "Be brief.")], ""),
        ([Message("user", "And then?")], "And then?"),
        ([Message("user", "First"), Message("user", "one two three four five")], "one two three four five"),
        ([Message("user", "First"), Message("assistant", "x"), Message("user", " And then? ")], "First\nAnd then?"),
    ],
)
def test_a_very_short_question_is_searched_with_the_one_before(turns, question):
    assert question_of(turns) == question


def test_of_a_long_question_its_end_is_searched():
    assert question_of([Message("user", "x" * 5000 + " why?")]).endswith("x why?")
    assert len(question_of([Message("user", "x" * 5000)])) == 2000
