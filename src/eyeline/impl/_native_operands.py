"""A problem in nothing but tensors and numbers: what crosses into operators and kernels.

`Operands.of` goes there, `Operands.problem` comes back. The gradient of a bias's own parameter (a
T5 table, ALiBi's slopes) follows by autograd from that of the tensors here.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from eyeline.biases import Bias, Diagonals, TensorBias
from eyeline.impl._native_rules import Rules, lower
from eyeline.impl._problem import Problem
from eyeline.masks import Mask
from eyeline.masks.rules import Band, Dense, Rows

SCHEMA = (
    "Tensor query, Tensor key, Tensor value, Tensor? bias, Tensor? diagonals, Tensor? sinks, "
    "Tensor? row_first, Tensor? row_last, Tensor? written, float scale, float softcap, "
    "int? first_offset, int? last_offset, float dropout_p, SymInt dropout_seed"
)


class Operands(NamedTuple):
    """The arguments of `SCHEMA`; see `Rules` for those that stand for masks and biases."""

    query: Tensor
    key: Tensor
    value: Tensor
    bias: Tensor | None
    diagonals: Tensor | None
    sinks: Tensor | None
    row_first: Tensor | None
    row_last: Tensor | None
    written: Tensor | None
    scale: float
    softcap: float
    first_offset: int | None
    last_offset: int | None
    dropout_p: float
    dropout_seed: int

    @staticmethod
    def of(problem: Problem) -> "Operands":
        """Lower the masks and biases of a problem; differentiable."""
        rules = lower(problem)
        row_first, row_last = rules.limits or (None, None)
        return Operands(
            *(problem.query, problem.key, problem.value),
            *(rules.bias, rules.diagonals),
            None if problem.sinks is None else problem.sinks.to(torch.float32),
            *(row_first, row_last, rules.written),
            *(problem.scale, problem.softcap or 0.0),
            *(rules.first_offset, rules.last_offset),
            *(problem.dropout_p, problem.dropout_seed),
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(batch, num_heads, q_len, kv_len)`."""
        batch, heads, q_len, _ = self.query.shape
        return batch, heads, q_len, self.key.shape[2]

    @property
    def dtype(self) -> torch.dtype:
        """Of query, key, value and output."""
        return self.query.dtype

    @property
    def rules(self) -> Rules:
        """What stands between scores and softmax."""
        limits = None
        if self.row_first is not None and self.row_last is not None:
            limits = self.row_first, self.row_last
        offsets = (self.first_offset, self.last_offset)
        return Rules(*offsets, limits, self.written, self.bias, self.diagonals)

    @property
    def differentiable(self) -> tuple[Tensor, ...]:
        """Every tensor that may take a gradient, as in `problem().differentiable`."""
        tensors = (self.query, self.key, self.value, self.bias, self.diagonals, self.sinks)
        return tuple(t for t in tensors if t is not None)

    def gradients(self, added: bool) -> list[str]:
        """Names of the tensors that get a gradient, in the order of `differentiable`.

        Args:
            added: Whether what is added to the scores gets one: a bias has as many numbers as there
                are scores.
        """
        names = ["query", "key", "value", *(["bias", "diagonals"] if added else []), "sinks"]
        return [name for name in names if getattr(self, name) is not None]

    def with_tensors(self, tensors: tuple[Tensor, ...]) -> "Operands":
        """The same with the `differentiable` tensors replaced."""
        left = iter(tensors)
        fresh = [None if t is None else next(left) for t in self[:6]]
        return Operands(*fresh, *self[6:])  # type: ignore[arg-type]

    def problem(self) -> Problem:
        """The problem that has these operands, for the implementations in plain torch."""
        biases: list[Bias] = []
        if self.bias is not None:
            biases.append(TensorBias(self.bias))
        if self.diagonals is not None:
            biases.append(Diagonals(self.diagonals, self.query.shape[2]))
        return Problem(
            *self[:3],
            scale=self.scale,
            mask=self._mask(),
            biases=tuple(biases),
            softcap=self.softcap or None,
            sinks=self.sinks,
            dropout_p=self.dropout_p,
            dropout_seed=self.dropout_seed,
        )

    def _mask(self) -> Mask | None:
        parts: list[Mask] = []
        if self.first_offset is not None:
            parts.append(Band(-self.first_offset, None, 0))
        if self.last_offset is not None:
            parts.append(Band(None, self.last_offset, 0))
        if self.row_first is not None and self.row_last is not None:
            parts.append(Rows(self.row_first[:, 0], self.row_last[:, 0]))
        if self.written is not None:
            parts.append(Dense(self.written))
        mask: Mask | None = None
        for part in parts:
            mask = part if mask is None else mask & part
        return mask
