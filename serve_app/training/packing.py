"""Rows of a batch laid flat, without padding, every shared beginning once.

A token's state under causal attention depends on the tokens before it alone. So rows that begin alike (one system
prompt, one question with several answers) share the nodes of a tree of prefixes, and each node is processed once: the
same numbers and gradients as row by row, from fewer tokens. Only attention sees rows, padded, through two indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from serve_app.training.plan import Example


@dataclass(frozen=True, slots=True)
class Packed:
    """One batch. A node is a token with all that stands before it; rows are those of the examples, in order."""

    token_ids: torch.Tensor
    """(nodes,)"""
    positions: torch.Tensor
    """(nodes,): place in the row, from 0."""
    node_of: torch.Tensor
    """(rows, longest): the node at each place of each row; padding names node 0, which no token of the row sees."""
    place_of: torch.Tensor
    """(nodes,): one place of each node, as an index into `node_of.flatten()`."""
    again_places: torch.Tensor
    """Places, likewise, that hold a node whose `place_of` is another place; padding is not among them."""
    again_nodes: torch.Tensor
    """The node of each of `again_places`."""
    predicting: torch.Tensor
    """(targets,): the node whose next token is each target, in row order."""
    targets: torch.Tensor
    """(targets,): the completions' tokens."""

    @property
    def num_nodes(self) -> int:
        """Tokens that are processed."""
        return len(self.token_ids)


def pack(batch: Sequence[Example], device: torch.device) -> Packed:
    """The tree of a batch of rows, its tensors on `device`."""
    longest = max(len(example.token_ids) for example in batch)
    nodes: dict[tuple[int, int], int] = {}  # (parent node, token) -> node
    token_ids: list[int] = []
    positions: list[int] = []
    place_of: list[int] = []
    again_places: list[int] = []
    again_nodes: list[int] = []
    predicting: list[int] = []
    node_of = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, example in enumerate(batch):
        path: list[int] = []
        for position, token in enumerate(example.token_ids):
            key, place = (path[-1] if path else -1, token), row * longest + position
            node = nodes.setdefault(key, len(token_ids))
            if node == len(token_ids):
                token_ids.append(token)
                positions.append(position)
                place_of.append(place)
            else:
                again_places.append(place)
                again_nodes.append(node)
            path.append(node)
        node_of[row, : len(path)] = torch.tensor(path)
        predicting.extend(path[example.num_prompt_tokens - 1 : -1])
    targets = [token for example in batch for token in example.token_ids[example.num_prompt_tokens :]]
    lists = (place_of, again_places, again_nodes, predicting, targets)
    indices = [torch.tensor(values, dtype=torch.long, device=device) for values in (token_ids, positions, *lists)]
    return Packed(indices[0], indices[1], node_of.to(device), *indices[2:])
