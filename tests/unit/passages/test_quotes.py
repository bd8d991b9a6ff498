"""What an answer quotes of a passage, and where."""

from hypothesis import given
from hypothesis import strategies as st

from serve_app.core import Passage
from serve_app.passages import Quote
from serve_app.passages import quotes as quotes_of

DOCUMENT = "A patent is valid for twenty years. It ends\nearlier where no fee is paid. Fees rise."
few_words = st.lists(st.sampled_from(["a", "b", "c", "D", ",", "\n", "ß"]), max_size=40).map(" ".join)


def passage(text, start=0):
    return Passage("p1", "d1", "default", "Patents", text, start, start + len(text), 10, 0.5)


def quotes(answer, one):
    """Of one passage."""
    return quotes_of(answer, [one])[0]


def spans(answer, text, start=0):
    found = quotes(answer, passage(text, start))
    return [(answer[q.answer_start : q.answer_end], text[q.start - start : q.end - start]) for q in found]


def test_a_run_of_words_is_found_whatever_its_case_and_blanks():
    answer = "As I read it [1]: it  ENDS earlier where no fee is paid, so pay."
    assert spans(answer, DOCUMENT) == [
        ("it  ENDS earlier where no fee is paid", "It ends\nearlier where no fee is paid")
    ]


def test_four_words_are_none():
    assert spans("valid for twenty years!", DOCUMENT) == []
    assert spans("is valid for twenty years!", DOCUMENT) == [("is valid for twenty years", "is valid for twenty years")]


def test_marks_count_in_a_run_and_not_as_words():
    assert spans("a, b, c", "a, b, c") == []
    assert spans("a, b c, d e", "a b c d e") == []


def test_offsets_are_the_documents():
    text = "one two three four five"
    assert quotes(f"So: {text}.", passage(text, start=100)) == (Quote(4, 4 + len(text), 100, 100 + len(text)),)


def test_several_quotes_come_in_the_answers_order():
    answer = "Where no fee is paid it ends; a patent is valid for twenty years."
    assert [said for said, _ in spans(answer, DOCUMENT)] == [
        "Where no fee is paid",
        "a patent is valid for twenty years",
    ]


def test_the_longest_place_counts():
    text = "one two three four five. one two three four five six"
    assert quotes("one two three four five six", passage(text)) == (Quote(0, 27, 25, 52),)


def words_of(text):
    return [word.casefold() for word in text.split()]


@given(few_words, few_words)
def test_every_quote_is_equal_in_both_long_enough_and_apart(answer, text):
    end = 0
    for quote in quotes(answer, passage(text, start=7)):
        said, known = answer[quote.answer_start : quote.answer_end], text[quote.start - 7 : quote.end - 7]
        assert words_of(said) == words_of(known)
        assert sum(word != "," for word in words_of(said)) >= 5
        assert quote.answer_start >= end
        end = quote.answer_end


@given(st.text(max_size=60), st.lists(st.sampled_from(["tree", "Is", "über", "9"]), min_size=5, max_size=9))
def test_what_is_put_in_is_found(around, run):
    put_in = " ".join(run)
    found = quotes(f"{around} {put_in} {around}", passage(put_in.upper().replace("Ü", "ü")))
    assert found
    assert (found[0].end - found[0].start) <= len(put_in)


def test_each_passage_has_its_own():
    fees = passage("Fees rise with each year of the patent.")
    answer = "A patent is valid for twenty years. Fees rise with each year."
    assert [len(found) for found in quotes_of(answer, [fees, passage(DOCUMENT), passage("Other.")])] == [1, 1, 0]


def test_texts_that_repeat_themselves_end():
    assert quotes("a " * 500, passage("a " * 500)) == (Quote(0, 999, 0, 999),)


def test_of_a_long_answer_the_beginning_is_looked_at():
    """Citations are made where other answers wait."""
    run = "fees rise every other year"
    answer = f"{run}. {'word ' * 4000}{run}"
    (found,) = quotes(answer, passage(run))
    assert (found.answer_start, found.answer_end) == (0, len(run))
