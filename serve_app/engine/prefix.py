"""An index of what the cache slots hold: which of them begin with the same tokens as a prompt. Pure Python.

Tokens are hashed block by block, each hash over the one before it and the adapter, so that one look-up per block finds
the slots that agree with a prompt up to there. A hash only proposes: the caller compares the tokens themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence


class PrefixIndex:
    """Chain hash -> slots. Knows only full blocks of `block_tokens` tokens."""

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._holders: dict[int, set[int]] = {}
        """No hash without a slot is kept."""
        self._chains: dict[int, list[int]] = {}
        """Slot -> the chain hashes of its full blocks, in order."""

    def extend(self, slot: int, adapter: str | None, token_ids: Sequence[int]) -> None:
        """Take in the blocks that became full. `token_ids`: all that the slot holds; its beginning never changes."""
        chain = self._chains.setdefault(slot, [])
        for chain_hash in self._hashes(adapter, token_ids, chain):
            chain.append(chain_hash)
            self._holders.setdefault(chain_hash, set()).add(slot)

    def drop(self, slot: int) -> None:
        """Forget a slot; unknown ones are ignored."""
        for chain_hash in self._chains.pop(slot, ()):
            holders = self._holders[chain_hash]
            holders.discard(slot)
            if not holders:
                del self._holders[chain_hash]

    def holders(self, adapter: str | None, token_ids: Sequence[int]) -> tuple[int, Collection[int]]:
        """The greatest number of tokens, in full blocks, that a slot has in common with these, and all such slots."""
        num_tokens = 0
        found: Collection[int] = ()
        for chain_hash in self._hashes(adapter, token_ids, ()):
            holders = self._holders.get(chain_hash)
            if holders is None:
                break
            num_tokens += self._block_tokens
            found = holders
        return num_tokens, found

    def kin(self, slot: int) -> Collection[int]:
        """The slots that have their first block in common with this one, itself included; none if it has no block."""
        chain = self._chains.get(slot)
        return tuple(self._holders[chain[0]]) if chain else ()

    def _hashes(self, adapter: str | None, token_ids: Sequence[int], known: Sequence[int]) -> Iterator[int]:
        """The chain hashes of the full blocks after the first len(known)."""
        previous = known[-1] if known else hash(adapter)
        start = len(known) * self._block_tokens
        for end in range(start + self._block_tokens, len(token_ids) + 1, self._block_tokens):
            previous = hash((previous, *token_ids[end - self._block_tokens : end]))
            yield previous
