"""The training settings of the models over examples, with what each was chosen by."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.router.examples import Shape


@dataclass(frozen=True)
class Recipe:
    """The mixture's, chosen on out-of-fold predictions of the shipped router's training rows.

    Five random folds, and each source left out in turn. Tried and lost: logistic regression on vectors, with and
    without TF-IDF terms; a small neural network; support vectors; whitened vectors; texts stripped of punctuation.
    Figures: serve_app/router/shipped/README.md.
    """

    num_neighbours: int = 15
    softness: float = 0.1
    kernel_width: float = 1.5
    neighbour_share: float = 0.6
    ridge: float = 0.3
    """Regularisation of the kernel machine; a row of weight w gets ridge / w."""
    term_share: float = 0.0
    num_directions: int = 96
    """Of 64, 96, 128 and 192 the fewest that cost nothing on held-out rows of a label and of a source."""

    @property
    def shape(self) -> Shape:
        """The part that inference needs."""
        return Shape(
            num_neighbours=self.num_neighbours,
            softness=self.softness,
            kernel_width=self.kernel_width,
            neighbour_share=self.neighbour_share,
            term_share=self.term_share,
            num_directions=self.num_directions,
        )
