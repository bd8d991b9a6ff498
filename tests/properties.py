"""How many examples a property test tries."""

from hypothesis import settings


def examples(full: int) -> int:
    """`full` in an ordinary run; under a profile of fewer than Hypothesis' hundred its share of that, five at least."""
    return max(5, full * settings().max_examples // 100)
