"""The pre-router's estimate stands in the route's score, of the text that the vector is of."""

import numpy as np

from serve_app.core import Message, RouteScore
from serve_app.patterns.prerouter import PreRouter

SCORE = RouteScore("legal", 0.9, {"legal": 0.9, "code": 0.1})


class Routed:
    async def score_with_vector(self, conversation):
        return SCORE, np.full(3, len(conversation), dtype=np.float32)


class Length:
    """Longer texts gain more."""

    def __init__(self):
        self.seen = []

    def probability(self, vector, text):
        self.seen.append((vector.tolist(), text))
        return len(text) / 100


async def test_the_gain_is_of_the_last_text_and_its_vector():
    gain = Length()
    router = PreRouter(Routed(), gain, lambda conversation: conversation[-1].content)
    found = await router.score((Message("user", "hello"), Message("user", "who are you")))
    assert (found.label, found.probability, found.gain) == ("legal", 0.9, 0.11)
    assert gain.seen == [([2.0, 2.0, 2.0], "who are you")]
