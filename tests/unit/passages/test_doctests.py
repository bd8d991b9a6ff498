"""The examples in the docstrings hold."""

import doctest

import pytest

from serve_app.passages import harmless, question


@pytest.mark.parametrize("module", [harmless, question])
def test_examples_hold(module):
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
