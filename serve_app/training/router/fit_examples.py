"""Fits a bank: keeps the examples and solves the kernel machine over them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import get_lapack_funcs
from scipy.sparse import csr_array

from serve_app.core import DataError
from serve_app.router.classifier import FloatArray
from serve_app.router.examples import Bank, Shape, kernel_softmax, mixed, neighbour_shares
from serve_app.router.term_rows import TermRows
from serve_app.training.router.data import IntArray, TrainingSet
from serve_app.training.router.fit_linear import fit_vocabulary

MAX_ROWS = 20_000
"""The kernel takes 4 bytes x rows squared: 1.6 GB at this many."""
_DOUBLE_ROWS = 8_000
"""Up to this many rows the solution is found in 64 bits."""
_DOUBLE_INVERSE_ROWS = 2_000
"""The same for the inverse, where someone waits."""

_ROWS_A_BLOCK = 256
"""Similarities of so many rows are held at a time."""

Matrix = npt.NDArray[np.floating[Any]]


def fit_bank(data: TrainingSet, shape: Shape, ridge: float) -> Bank:
    """Kernel ridge regression onto one +1/-1 target per label; deterministic.

    Time grows with the cube of the rows, memory with the square: 2 s and 300 MB at 6,000. A part of no share is left
    out: without a kernel machine the duals are 0. Raises DataError above MAX_ROWS.
    """
    bank = bare_bank(data, shape)
    if shape.neighbour_share == 1:
        return bank
    factor = cho_factor(
        _regularised(bank, shape, ridge, _DOUBLE_ROWS), lower=True, overwrite_a=True, check_finite=False
    )
    duals = cho_solve(factor, targets(data.labels, len(data.names), factor[0].dtype), check_finite=False)
    return replace(bank, duals=duals.astype(np.float32))


def bare_bank(data: TrainingSet, shape: Shape) -> Bank:
    """The examples before the kernel machine is solved: duals of 0."""
    terms = TermRows.of(data.texts, fit_vocabulary(data.texts)[0]) if shape.term_share else None
    duals = np.zeros((len(data), len(data.names)), dtype=np.float32)
    directions = principal_directions(data.vectors, shape.num_directions) if shape.num_directions else None
    return Bank(data.vectors, data.labels, data.weights, duals, terms, directions)


def principal_directions(vectors: FloatArray, num_directions: int) -> FloatArray:
    """Where vectors, (num_rows, dimension), are longest: (dimension, num_directions), all where there are not more."""
    _, found = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    directions: FloatArray = np.ascontiguousarray(found[:, ::-1][:, :num_directions], dtype=np.float32)
    return directions


def inverse(bank: Bank, shape: Shape, ridge: float) -> Matrix:
    """Of the regularised kernel, (num_rows, num_rows): with it each row's own influence can be taken out again.

    Three times the work of `fit_bank`: 6 s at 6,700 rows on one core.
    """
    regularised = _regularised(bank, shape, ridge, _DOUBLE_INVERSE_ROWS)
    factor, _ = cho_factor(regularised, lower=True, overwrite_a=True, check_finite=False)
    (potri,) = get_lapack_funcs(("potri",), (factor,))
    lower, status = potri(factor, lower=True, overwrite_c=True)
    if status != 0:
        raise DataError("The examples' kernel matrix cannot be inverted: give rows a smaller weight.")
    full: Matrix = np.tril(lower)
    return full + np.tril(full, -1).T


def without(inverted: Matrix, gone: npt.NDArray[np.bool_]) -> Matrix:
    """The inverse over the rows not in `gone`, (num_rows,), from the inverse over all: a Schur complement."""
    kept = ~gone
    across = inverted[np.ix_(kept, gone)]
    found: Matrix = inverted[np.ix_(kept, kept)] - across @ np.linalg.solve(inverted[np.ix_(gone, gone)], across.T)
    return found


def leave_one_out(bank: Bank, shape: Shape, inverted: Matrix) -> FloatArray:
    """Uncalibrated probabilities of every row from a fit without it, (num_rows, num_labels), exactly and with no refit.

    For kernel ridge regression the prediction without row i is target_i - dual_i / inverse_ii (Rifkin and Lippert 2007,
    "Notes on regularized least squares", MIT-CSAIL-TR-2007-025). `bank.duals` is only looked at for its shape.
    """
    wanted = targets(bank.labels, bank.duals.shape[1], inverted.dtype)
    outputs = wanted - (inverted @ wanted) / inverted.diagonal()[:, None]
    smooth = kernel_softmax(outputs.astype(np.float32))
    if shape.neighbour_share == 0:
        return smooth
    near = np.empty_like(smooth)
    for start in range(0, len(near), _ROWS_A_BLOCK):
        similarities = bank.vectors[start : start + _ROWS_A_BLOCK] @ bank.vectors.T
        for row, found in enumerate(similarities, start):
            found[row] = -np.inf
            near[row] = neighbour_shares(bank, shape, found)
    return mixed(near, smooth, shape.neighbour_share)


def targets(labels: IntArray, num_labels: int, dtype: Any) -> Matrix:
    """+1 at each row's label, -1 elsewhere, (num_rows, num_labels)."""
    return np.where(labels[:, None] == np.arange(num_labels), 1, -1).astype(dtype)


def _regularised(bank: Bank, shape: Shape, ridge: float, double_rows: int) -> Matrix:
    """Kernel plus ridge / weight on the diagonal; in 64 bits up to `double_rows` rows."""
    num_rows = len(bank.labels)
    if num_rows > MAX_ROWS:
        raise DataError(
            f"{num_rows} rows are too many for the kernel machine: give a sample of at most {MAX_ROWS}, "
            "or train with --classifier linear."
        )
    vectors: Matrix = bank.compared.astype(np.float64) if num_rows <= double_rows else bank.compared
    matrix: Matrix = vectors @ vectors.T
    matrix -= 1
    matrix *= 2 * shape.kernel_width
    np.exp(matrix, out=matrix)
    if bank.terms is not None:
        rows = csr_array(
            (bank.terms.values, bank.terms.places, bank.terms.starts), (num_rows, len(bank.terms.vocabulary.terms))
        )
        matrix += shape.term_share * (rows @ rows.T).toarray()
    matrix[np.diag_indices_from(matrix)] += ridge / bank.weights
    return matrix
