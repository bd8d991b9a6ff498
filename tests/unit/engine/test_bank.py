"""What lies in an adapter slot, and that nothing of an earlier adapter is left in it."""

import pytest
import torch

from serve_app.engine.bank import TILE, AdapterBank, LoraPair, SiteShape

CPU = torch.device("cpu")
QKV = SiteShape(("q", "k", "v"), 32, (TILE + 16, 16, 2 * TILE))
DOWN = SiteShape(("down",), 48, (32,))
WIDTHS = {
    path: (shape.in_features, width)
    for shape in (QKV, DOWN)
    for path, width in zip(shape.paths, shape.widths, strict=True)
}
MAX_RANK = 8


def make_bank(tiled=False, dtype=torch.float32):
    return AdapterBank([QKV, DOWN], 3, MAX_RANK, dtype, CPU, tiled)


def make_pairs(rank, paths, scaling=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        path: LoraPair(
            torch.randn(rank, WIDTHS[path][0], generator=generator),
            torch.randn(WIDTHS[path][1], rank, generator=generator),
            scaling,
        )
        for path in paths
    }


def held_up(site, slot, member, tiled):
    """B of a member as [rank, width], scaling folded in."""
    rank, width = site.ranks[slot][member], site.widths[member]
    start = site.max_rank * site.columns[member]
    flat = site.up[slot, start : start + rank * width]
    if not tiled:
        return flat.view(rank, width)
    tiles = [min(TILE, width - first) for first in range(0, width, TILE)]
    pieces = flat.split([rank * columns for columns in tiles])
    return torch.cat([piece.view(rank, columns) for piece, columns in zip(pieces, tiles, strict=True)], dim=1)


@pytest.mark.parametrize("tiled", [False, True])
def test_members_lie_at_their_own_places_with_scaling_folded_in(tiled):
    bank = make_bank(tiled)
    pairs = make_pairs(5, ["q", "v", "down"], scaling=0.5)
    bank.write(1, pairs)
    site = bank.sites["k"]
    assert site is bank.sites["q"] is bank.sites["v"] is not bank.sites["down"]
    for member, path in ((0, "q"), (2, "v")):
        assert torch.equal(site.down[1, member * MAX_RANK : member * MAX_RANK + 5], pairs[path].down)
        assert torch.equal(held_up(site, 1, member, tiled), pairs[path].up.t() * 0.5)
    assert torch.equal(held_up(bank.sites["down"], 1, 0, tiled), pairs["down"].up.t() * 0.5)


def test_tiles_hold_the_same_numbers_as_whole_rows():
    plain, tiled = make_bank(), make_bank(tiled=True)
    pairs = make_pairs(MAX_RANK, WIDTHS)
    plain.write(0, pairs)
    tiled.write(0, pairs)
    for path in WIDTHS:
        site = plain.sites[path]
        member = site.paths.index(path)
        assert torch.equal(held_up(site, 0, member, False), held_up(tiled.sites[path], 0, member, True))


def test_first_tile_comes_whole_before_the_second():
    bank = make_bank(tiled=True)
    pairs = make_pairs(2, ["v"])
    bank.write(0, pairs)
    site = bank.sites["v"]
    start = MAX_RANK * site.columns[2]
    assert torch.equal(site.up[0, start : start + 2 * TILE].view(2, TILE), pairs["v"].up[:TILE].t())


def test_member_that_is_not_targeted_has_rank_zero_and_zeros():
    bank = make_bank()
    bank.write(2, make_pairs(4, ["v"]))
    site = bank.sites["v"]
    assert site.ranks == [[0, 0, 0], [0, 0, 0], [0, 0, 4]]
    assert site.users == {2} and bank.sites["down"].users == set()
    assert not site.down[2, : 2 * MAX_RANK].any() and not site.up[2, : MAX_RANK * site.columns[2]].any()
    assert not site.down[:2].any() and not site.up[:2].any()


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("paths", [["q", "k", "v", "down"], ["k"], ["q", "down"], []])
def test_slot_rewritten_by_a_narrower_adapter_is_as_if_it_had_never_held_the_wider(tiled, paths):
    used, fresh = make_bank(tiled), make_bank(tiled)
    used.write(0, make_pairs(MAX_RANK, WIDTHS, seed=1))
    for bank in (used, fresh):
        bank.write(0, make_pairs(3, paths))
    for path, site in used.sites.items():
        other = fresh.sites[path]
        assert torch.equal(site.down, other.down) and torch.equal(site.up, other.up)
        assert site.ranks == other.ranks and site.users == other.users


def test_narrow_then_wide_leaves_the_other_slots_alone():
    bank = make_bank()
    bank.write(1, make_pairs(2, WIDTHS))
    before = [(site.down[1].clone(), site.up[1].clone()) for site in bank.sites.values()]
    bank.write(0, make_pairs(1, WIDTHS, seed=1))
    bank.write(0, make_pairs(MAX_RANK, WIDTHS, seed=2))
    bank.write(2, make_pairs(MAX_RANK, WIDTHS, seed=3))
    for site, (down, up) in zip(bank.sites.values(), before, strict=True):
        assert torch.equal(site.down[1], down) and torch.equal(site.up[1], up)


def test_scaling_is_folded_in_before_rounding_to_the_served_type():
    bank = make_bank(dtype=torch.bfloat16)
    pairs = make_pairs(4, ["down"], scaling=1 / 3)
    bank.write(0, pairs)
    site = bank.sites["down"]
    assert torch.equal(held_up(site, 0, 0, False), (pairs["down"].up.t() / 3).bfloat16())
    assert torch.equal(site.down[0, :4], pairs["down"].down.bfloat16())


def test_bank_counts_each_site_once():
    floats = 3 * (3 * MAX_RANK * 32 + MAX_RANK * sum(QKV.widths) + MAX_RANK * 48 + MAX_RANK * 32)
    assert make_bank().num_bytes() == 4 * floats
    assert make_bank().scratch_ranks == 3 * MAX_RANK
