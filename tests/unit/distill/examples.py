"""Questions about two topics, and the rows made from them."""

import random

from serve_app.core import Message
from serve_app.distill.rows import ExampleRow

TOPICS = {"sky": "blue", "grass": "green"}


def question(index):
    rng = random.Random(index)
    letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=24))
    return f"what colour is the {list(TOPICS)[index % 2]} {letters}"


def right(text):
    return TOPICS[text.split()[4]]


def example(index, **more):
    return ExampleRow(id=f"q{index}", messages=(Message("user", question(index)),), **more)
