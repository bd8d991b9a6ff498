"""What counts as right, case by case: each row is an answer as models really write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core import DataError
from serve_app.labelling.scorers import Item, scorer
from serve_app.labelling.scorers.choice import stated_choice
from serve_app.labelling.scorers.numeric import last_number

METALS = ("iron", "iron oxide", "copper", "zinc")


def judge(name, answer, reference, choices=(), **options):
    return scorer(name, **options).judge(Item("?", answer, reference, choices))


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("**B**", "B"),
        ("b", "B"),
        ("b) copper is not", "B"),
        ("B) iron oxide", "B"),
        ("The answer is B", "B"),
        ("The correct answer is (B).", "B"),
        ("The answer is: **B. iron oxide**", "B"),
        ("Answer: B", "B"),
        ("Option B is right because of rust.", "B"),
        ("$\\boxed{B}$", "B"),
        ("I first thought the answer is A, but the answer is B.", "B"),
        ("B is correct.", "B"),
        ("Rust is iron oxide.", "B"),
        ("Iron oxide", "B"),
        ("copper", "C"),
        ("It may be copper or zinc.", None),
        ("A metal rusts when it is wet.", None),
        ("I do not know.", None),
        ("", None),
        ("The answer is E", None),
        ("The answer is a metal.", None),
    ],
)
def test_the_letter_is_found_however_it_is_stated(answer, letter):
    assert stated_choice(answer, METALS) == letter


def test_no_stated_choice_is_wrong_unless_asked_for():
    assert judge("choice", "Hard to say.", "B", METALS) == 0
    assert judge("choice", "Hard to say.", "B", METALS, unstated="unknown") is None


def test_a_reference_may_be_a_letter_or_a_choices_text():
    assert judge("choice", "The answer is C.", "Copper", METALS) == 1
    assert judge("choice", "The answer is C.", "(C)", METALS) == 1
    assert judge("choice", "The answer is C.", "It must be C, because of its colour: C. copper", METALS) == 1
    with pytest.raises(DataError, match="reference"):
        judge("choice", "C", "gold", METALS)


@given(st.sampled_from("ABCD"), st.sampled_from(["{}", "({})", "{}.", "**{}**", "The answer is {}.", "Answer: ({})"]))
def test_every_form_of_a_letter_gives_that_letter(letter, form):
    assert stated_choice(form.format(letter)) == letter


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("She has 3 + 15 = 18 eggs.", "#### 18", 1),
        ("#### 1,250", "1250", 1),
        ("It costs $1,250.50.", "1250.5", 1),
        ("€ 12", "12", 1),
        ("-5", "5", 0),
        ("−5", "-5", 1),
        ("$-5", "-5", 1),
        ("half, that is 1/2", "0.5", 1),
        ("1 1/2 cups", "1.5", 1),
        ("\\frac{3}{4}", "0.75", 1),
        ("\\boxed{42} is what 7 times 6 gives", "42", 1),
        ("50%", "0.5", 1),
        ("50 percent", "50", 1),
        ("2 million people", "2000000", 1),
        ("1e3", "1000", 1),
        ("18.", "18", 1),
        ("$20.00", "20", 1),
        ("17.9", "18", 0),
        ("none", "18", 0),
        ("5/0", "18", 0),
        ("1e999", "18", 0),
        ("the H2O molecule", "2", 0),
    ],
)
def test_numbers_are_compared_as_numbers(answer, reference, right):
    assert judge("numeric", answer, reference) == right


def test_the_tolerance_is_relative_and_can_be_set():
    assert judge("numeric", "3.14", "3.14159") == 0
    assert judge("numeric", "3.14", "3.14159", tolerance="0.01") == 1


@given(st.integers(-(10**9), 10**9))
def test_a_number_with_thousands_separators_is_the_number(value):
    found = last_number(f"In all ${value:,}.")
    assert found is not None
    assert found.value == value


def test_a_reference_without_a_number_is_the_users_mistake():
    with pytest.raises(DataError, match="reference"):
        judge("numeric", "5", "five")


def test_normalised_takes_any_line_of_the_reference_and_contains_takes_whole_words():
    assert judge("normalised", "The Beatles!", "beatles\nThe Fab Four") == 1
    assert judge("normalised", "the fab four", "beatles\nThe Fab Four") == 1
    assert judge("normalised", "The Beatles, of course", "beatles") == 0
    assert judge("contains", "The Beatles, of course", "beatles") == 1
    assert judge("contains", "Notation", "not") == 0
    assert judge("normalised", "!", "the") is None


def test_exact_keeps_case_and_drops_only_white_space():
    assert judge("exact", "```\nls  -l\n```", "ls -l") == 1
    assert judge("exact", "LS -l", "ls -l") == 0


def test_shell_templates_take_any_line_of_the_reference():
    assert judge("shell_template", "find /a -name x", "find . -iname y\nfind . -name y") == 1
    assert judge("shell_template", "rm -rf /", "find . -name y") == 0


@pytest.mark.parametrize(("answer", "right"), [("Yes.", 0), ("Maybe.", 1), ("It is unclear, so maybe", 1), ("", 0)])
def test_a_verdict_is_compared_as_stated(answer, right):
    assert judge("verdict", answer, "maybe") == right


@pytest.mark.parametrize("name", ["exact", "normalised", "contains", "numeric", "choice", "verdict", "shell_template"])
@pytest.mark.parametrize("reference", [None, "", " \n"])
def test_a_missing_reference_is_named(name, reference):
    with pytest.raises(DataError, match="`reference` is missing"):
        judge(name, "5", reference)


@given(st.text(max_size=40))
def test_no_answer_breaks_a_scorer(answer):
    for name, reference in (("exact", "x"), ("contains", "x"), ("numeric", "3"), ("choice", "B"), ("verdict", "no")):
        assert judge(name, answer, reference, ("p", "q")) in (0, 1)


async def test_pure_scorers_also_score():
    assert await scorer("verdict").score(Item("?", "No.", "no")) == 1
