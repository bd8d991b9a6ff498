"""A runner that follows a script instead of a model, and a clock that is set by hand."""

from serve_app.engine.request import SampledToken


def token(token_id):
    return SampledToken(token_id, -0.1, 0.2, 1.0)


class ScriptedRunner:
    """Gives every sampled row the next token of the script, 1 after its end; an outcome may be an exception to raise,
    None for rows that are not finite, or a function of the plan. With a draft, what equals `truth` is accepted."""

    def __init__(self, script=(), truth=None):
        self.script, self.truth = list(script), truth
        self.plans, self.cleared = [], []

    def run(self, plan):
        self.plans.append(plan)
        if self.truth is not None:
            return [self._checked(segment) for segment in plan.sampled]
        outcome = self.script.pop(0) if self.script else 1
        if callable(outcome):
            outcome = outcome(plan)
        if isinstance(outcome, Exception):
            raise outcome
        return [None if outcome is None else (token(outcome),) for _ in plan.sampled]

    def clear(self, slot):
        self.cleared.append(slot)

    def _checked(self, segment):
        first = segment.end - segment.sampled + 1 - len(segment.row.request.prompt_ids)
        guesses = segment.token_ids[len(segment.token_ids) - segment.sampled + 1 :]
        tokens = [token(self.truth[first])]
        for place, guess in enumerate(guesses):
            if guess != self.truth[first + place]:
                break
            tokens.append(token(self.truth[first + place + 1]))
        return tuple(tokens)


class Clock:
    """Stands still until it is set."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s
