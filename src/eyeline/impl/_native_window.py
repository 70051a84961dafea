"""Rectangles of the weights by the kernels: a later question to a map."""

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from eyeline._types import Tile
from eyeline.impl import _windows
from eyeline.impl._hazards import find_hazards
from eyeline.impl._native_library import Library, Window, library
from eyeline.impl._native_operands import Operands
from eyeline.impl._native_run import describe
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import Normalizer, Reduce


def weights(problem: Problem, normalizer: Normalizer, tile: Tile) -> Tensor:
    """Weights of a tile, `[batch, heads, rows, cols]`."""

    def careful(tile: Tile) -> Tensor:
        result = normalizer.total.new_empty(tile.shape)
        for part, found in _windows.stream(problem, normalizer, tile):
            result[part.within(tile)] = found
        return result

    return _ask(problem, normalizer, tile, tile.shape, careful)


def pixels(
    problem: Problem, normalizer: Normalizer, tile: Tile, pixel: int, reduce: Reduce
) -> Tensor:
    """Sums or maxima of squares of a tile's weights.

    Args:
        problem: The attention call.
        normalizer: Of its rows.
        tile: The rectangle.
        pixel: Side of a square, in weights.
        reduce: "sum" or "max".
    """
    batch, heads, rows, cols = tile.shape
    shape = (batch, heads, -(-rows // pixel), -(-cols // pixel))

    def careful(tile: Tile) -> Tensor:
        return _windows.pixels(problem, normalizer, tile, pixel, reduce)

    return _ask(problem, normalizer, tile, shape, careful, pixel, reduce)


def _ask(
    problem: Problem,
    normalizer: Normalizer,
    tile: Tile,
    shape: tuple[int, ...],
    careful: Callable[[Tile], Tensor],
    pixel: int = 0,
    reduce: Reduce = "sum",
) -> Tensor:
    """The kernels' answer; as in `run`, NaN where the careful panels find it."""
    if (wide := _whole_groups(problem, tile)) != tile:
        shape = (shape[0], wide.shape[1], *shape[2:])
        found = _ask(problem, normalizer, wide, shape, careful, pixel, reduce)
        return found[:, tile.heads.start - wide.heads.start :][:, : tile.shape[1]]
    result = torch.zeros(shape)
    if _look(problem, normalizer, tile, result, pixel, reduce):
        return result
    found = careful(tile)
    clean, hazards = find_hazards(problem, use_value=False)
    if hazards is None:
        return found
    # rows that see something bad count as rows that see nothing, the others keep their bits (N2)
    known = Normalizer(*(t.nan_to_num(0, 0, 0) for t in normalizer))
    if not _look(clean, known, tile, result.zero_(), pixel, reduce):
        return found
    return result.masked_fill_(found.isnan(), torch.nan)


def _whole_groups(problem: Problem, tile: Tile) -> Tile:
    """The tile with all heads of each group that it has some of; one head can be alone."""
    group, heads = problem.group, tile.heads
    if tile.shape[1] == 1:
        return tile
    return tile._replace(heads=slice(heads.start // group * group, -(-heads.stop // group) * group))


def _look(
    problem: Problem,
    normalizer: Normalizer,
    tile: Tile,
    result: Tensor,
    pixel: int,
    reduce: Reduce,
) -> bool:
    """Fill `result` with weights, or with pixels if these have a size; False: special values."""
    part = _windows.select(problem, tile.batch, tile.heads)
    rows = normalizer.part(tile.batch, tile.heads)
    if min(tile.shape) == 0:
        return True
    kernels = library()
    assert isinstance(kernels, Library), "unsupported() was not asked"
    window = Window(size=ctypes.sizeof(Window))
    operands = Operands.of(part.without_values())
    alive = describe(window.call, operands)  # the call holds addresses only
    known = [t.to(torch.float32).contiguous() for t in rows]
    window.call.row_max, window.call.row_sum = (t.data_ptr() for t in known)
    window.row_begin, window.row_end = tile.rows.start, tile.rows.stop
    window.key_begin, window.key_end = tile.cols.start, tile.cols.stop
    if pixel:
        window.pixels, window.pixel = result.data_ptr(), pixel
        window.call.pool_reduce = int(reduce == "max")
    else:
        window.weights = result.data_ptr()
    fine = kernels.look(window)
    del alive, operands
    return fine
