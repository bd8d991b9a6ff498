"""Does the program pass its tests?"""

from __future__ import annotations

import ast
import asyncio
from dataclasses import dataclass
from typing import ClassVar

from serve_app.core import DataError
from serve_app.labelling.item import Item
from serve_app.labelling.sandbox.run import Outcome, SandboxLimits, run_tests
from serve_app.labelling.texts import bare_code


@dataclass(frozen=True, slots=True)
class Code:
    """1 when all tests of the item pass in the sandbox (see `labelling.sandbox`), else 0. Runs the first fenced block.

    None where the tests cannot be put to the program at all.
    """

    name: ClassVar[str] = "code"
    timeout_s: float = 10.0
    """For all tests of one answer."""
    memory_mb: int = 512
    partial: bool = False
    """Score the share of tests that pass."""
    without_namespaces: bool = False
    """Run programs also where no kernel namespaces keep them in: on a machine to throw away."""

    async def score(self, item: Item) -> float | None:
        """See `Scorer`."""
        return await asyncio.to_thread(self.judge, item)

    def judge(self, item: Item) -> float | None:
        """As `score`, and blocks until the tests have run."""
        outcome = self.run(item)
        if outcome.untestable:
            return None
        return outcome.passed / outcome.total if self.partial else float(outcome.passed == outcome.total)

    def run(self, item: Item) -> Outcome:
        """What became of the program, with the first failure in words."""
        if not item.tests:
            raise DataError("`tests` is missing or empty, and scorer 'code' runs them; add statements that assert.")
        for number, test in enumerate(item.tests, start=1):
            try:
                ast.parse(test)
            except SyntaxError as error:
                raise DataError(
                    f"`tests` {number} is no Python of this interpreter: {error.msg}; correct it."
                ) from error
        limits = SandboxLimits(self.timeout_s, self.memory_mb << 20)
        return run_tests(bare_code(item.answer), item.tests, item.setup, limits, self.partial, self.without_namespaces)
