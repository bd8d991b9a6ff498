"""What "right" means for one kind of question.

| name | right is | needs |
|---|---|---|
| exact | the reference's text | reference |
| normalised, contains | a line of the reference, without case, punctuation, articles | reference |
| numeric | the reference's last number | reference |
| choice | the choice that the answer states | reference, choices |
| verdict | yes, no or maybe, as stated | reference |
| shell_template | same utilities and flags | reference |
| code | all tests pass in a sandbox | tests |
| agreement | what the large model said | large_answer |
| judge | what a judge model says | reference or large_answer |
"""

from serve_app.labelling.item import Item, PureScorer, Scorer
from serve_app.labelling.scorers.registry import GROUP, SCORERS, names, scorer

__all__ = ["GROUP", "SCORERS", "Item", "PureScorer", "Scorer", "names", "scorer"]
