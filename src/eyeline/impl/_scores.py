"""What stands between `scale * q·k` and softmax, shared by implementations."""

import torch
from torch import Tensor

from eyeline._types import Tile, TileBool, TileKind
from eyeline.impl._hazards import Hazards
from eyeline.impl._problem import Problem


def tile_kind(problem: Problem, tile: Tile) -> TileKind:
    """What the mask does to a tile (biases that mask count as ordinary numbers here)."""
    return TileKind.FULL if problem.mask is None else problem.mask.kind(tile)


def allowed(problem: Problem, tile: Tile, kind: TileKind) -> TileBool | None:
    """The mask of a tile; None where it is known to be full."""
    if problem.mask is None or kind is TileKind.FULL:
        return None
    return problem.mask.tile(tile, problem.query.device)


def bias_tile(problem: Problem, tile: Tile) -> Tensor:
    """The sum of all biases of a tile, in the computing dtype."""
    first, *more = (bias.tile(tile).to(problem.compute_dtype) for bias in problem.biases)
    return sum(more, start=first)


def modify_(scores: Tensor, problem: Problem, tile: Tile, mask: TileBool | None) -> Tensor:
    """Turn `scale * q·k` of a tile into what softmax sees, in place: -inf where masked."""
    if problem.softcap is not None:
        scores.div_(problem.softcap).tanh_().mul_(problem.softcap)
    if problem.biases:
        scores.add_(bias_tile(problem, tile))
    return scores if mask is None else scores.masked_fill_(~mask, -torch.inf)


def live_cells(problem: Problem, tile: Tile, mask: TileBool | None) -> Tensor:
    """Cells that neither the mask nor a bias of minus infinity removes, `[batch, heads, …]`."""
    live = torch.ones(tile.shape, dtype=torch.bool, device=problem.query.device)
    if mask is not None:
        live &= mask
    if problem.biases:
        live &= bias_tile(problem, tile) != -torch.inf
    return live


def careful_modify_(
    scores: Tensor, problem: Problem, tile: Tile, mask: TileBool | None, hazards: Hazards
) -> tuple[Tensor, Tensor, Tensor]:
    """`modify_` when special values are about.

    Returns:
        The scores with every bad cell masked as well, the live cells, and the bad ones among them.
    """
    live = live_cells(problem, tile, mask)
    bad = hazards.bad_cells(tile, live, scores)
    scores.masked_fill_(bad | ~live, 0)  # an inf here would survive as inf - inf = NaN below
    modify_(scores, problem, tile, mask)
    bad |= live & ~torch.isfinite(scores)
    return scores.masked_fill_(bad | ~live, -torch.inf), live, bad
