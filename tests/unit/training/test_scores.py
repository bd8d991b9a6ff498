import doctest

from hypothesis import given
from hypothesis import strategies as st

from serve_app.labelling.texts import command_template
from serve_app.training import scores
from serve_app.training.scores import GENERATED, exact, rouge_l, template, verdict


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(scores).failed == 0


def test_template_ignores_arguments_but_not_flags_utilities_or_their_order():
    assert template("find /etc -name '*.conf'", 'find . -name "*.log"') == 1
    assert template("find . -iname x", "find . -name x") == 0
    assert template("sort a | uniq", "uniq a | sort") == 0
    assert template("ls -a -l", "ls -l -a") == 1


def test_an_unclosed_quote_is_compared_by_white_space():
    assert command_template("echo 'a -n") == (("echo", ("-n",)),)


def test_code_inside_a_fence_is_what_is_scored():
    assert exact("Sure:\n```bash\nls -l\n```\nThat lists files.", "ls -l") == 1
    assert template("```\nls -l", "ls -l") == 1


def test_a_verdict_is_read_from_the_first_word_or_the_end():
    assert verdict("This clause is about insurance, so no.", "No") == 1
    assert verdict("Yes, although there is no cap.", "Yes") == 1
    assert verdict("Nobody knows.", "No") == 0


@given(st.text(max_size=60), st.text(max_size=60))
def test_every_score_lies_between_0_and_1(answer, reference):
    for score in GENERATED.values():
        assert 0 <= score(answer, reference) <= 1


@given(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=8), st.lists(st.sampled_from("abcd"), min_size=1, max_size=8)
)
def test_rouge_l_is_symmetric_and_1_only_for_the_same_words(left, right):
    value = rouge_l(" ".join(left), " ".join(right))
    assert value == rouge_l(" ".join(right), " ".join(left))
    assert (value == 1) == (left == right)
