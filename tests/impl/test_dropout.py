"""Which weights are kept is a matter of their place alone."""

import torch

from eyeline._types import Tile
from eyeline.impl._dropout import drop_, keep_tile
from eyeline.impl._problem import Problem

CPU = torch.device("cpu")


def test_a_tile_is_a_cut_of_the_whole():
    whole = keep_tile(7, 0.3, Tile.whole(2, 3, 20, 30), CPU)
    tile = Tile(slice(1, 2), slice(0, 2), slice(5, 17), slice(11, 30))
    assert torch.equal(keep_tile(7, 0.3, tile, CPU), whole[tile])


def test_the_rate_is_the_rate_along_every_axis():
    for rate in (0.05, 0.5, 0.95):
        keep = keep_tile(1, rate, Tile.whole(3, 4, 200, 200), CPU).float()
        assert abs(float(keep.mean()) - (1 - rate)) < 0.003
        for dim in range(4):
            others = [d for d in range(4) if d != dim]
            assert (keep.mean(others) - (1 - rate)).abs().max() < 0.05


def test_no_rate_keeps_all_and_full_rate_none():
    tile = Tile.whole(1, 1, 50, 50)
    assert keep_tile(1, 0.0, tile, CPU).all() and not keep_tile(1, 1.0, tile, CPU).any()


def test_seeds_batch_items_heads_rows_and_columns_are_independent():
    tile = Tile.whole(2, 2, 100, 100)
    keep, other = (keep_tile(seed, 0.5, tile, CPU) for seed in (1, 2))
    pairs = [(keep, other), (keep[0], keep[1]), (keep[:, 0], keep[:, 1])]
    pairs += [(keep[..., 1:], keep[..., :-1]), (keep[:, :, 1:], keep[:, :, :-1])]
    pairs.append((keep, keep.transpose(-2, -1)))
    for one, two in pairs:
        assert abs(float((one == two).float().mean()) - 0.5) < 0.02


def test_what_is_kept_is_divided_by_its_share():
    q = torch.zeros(1, 1, 4, 2)
    problem = Problem(q, q, q, scale=1.0, dropout_p=0.75, dropout_seed=3)
    dropped = drop_(torch.ones(1, 1, 4, 4), problem, problem.whole())
    keep = keep_tile(3, 0.75, problem.whole(), CPU)
    assert torch.equal(dropped, keep * 4.0)
