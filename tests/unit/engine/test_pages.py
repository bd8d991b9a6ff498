"""Asking for large pages: what is there stays, and what is not there does not matter."""

import mmap

import pytest
import torch

from serve_app.engine.pages import use_large_pages

MIB = 1 << 20


def test_contents_stay() -> None:
    numbers = torch.arange(2 * MIB, dtype=torch.int64)
    use_large_pages(numbers.data_ptr(), numbers.nbytes)
    assert torch.equal(numbers, torch.arange(2 * MIB, dtype=torch.int64))


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no advice on large pages")
@pytest.mark.parametrize(("address", "num_bytes"), [(0, 0), (0, 4 * MIB), (1 << 46, 3 * MIB + 5)])
def test_memory_that_is_not_mapped_is_passed_over(address: int, num_bytes: int) -> None:
    use_large_pages(address, num_bytes)
