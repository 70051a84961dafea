"""What is learnt: copying, recalling, pronouncing. Each gives batches, and held-out questions."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from eyeline.train.recipes.g2p import G2P, VOCABULARY, encode, padded

__all__ = ["TASKS", "Asked", "Copy", "Pronounce", "Recall"]


class Asked(NamedTuple):
    """Sources `[batch, length]` with their lengths, and what is to be written (-100: nothing).

    Of a source `[batch, length, 2]` two tokens stand at each place. The writer is given what it
    should have written before, or else what `given` says.
    """

    source: Tensor
    lengths: Tensor
    target: Tensor
    given: Tensor | None = None


@dataclass
class Copy:
    """Write what was read. Lengths 1 to `longest` are trained; what grows is the length."""

    symbols: int = 32
    longest: int = 32
    name = "copy"
    grows = "length"
    steps = 2000
    batch_size = 64

    @property
    def vocabulary(self) -> int:
        return self.symbols + 1

    def batch(self, draw: torch.Generator) -> Asked:
        return self.of(int(torch.randint(1, self.longest + 1, (1,), generator=draw)), draw)

    def of(self, length: int, draw: torch.Generator, size: int | None = None) -> Asked:
        shape = (size or self.batch_size, length)
        source = torch.randint(1, self.symbols + 1, shape, generator=draw)
        return Asked(source, torch.full((len(source),), length), source)

    def questions(self) -> Iterator[tuple[int, Asked]]:
        draw = torch.Generator().manual_seed(7)
        for length in (1, 2, 4, 8, 16, 24, 32):
            yield length, self.of(length, draw, 256)


@dataclass
class Recall:
    """Read pairs of a key and its value; then, given a key, write its value. The load grows.

    Each pair stands at one place, as two tokens whose embeddings are added, so that to read it is
    one step. No key stands twice; keys and values are different symbols. Up to eight keys are
    given, each followed by a blank at which its value is asked for: the writer of Bahdanau et al.
    looks around before it hears the next token.
    """

    keys: int = 64
    values: int = 64
    asked: int = 8
    name = "recall"
    grows = "pairs"
    steps = 6000
    batch_size = 64

    @property
    def vocabulary(self) -> int:
        return self.keys + self.values + 1

    def batch(self, draw: torch.Generator) -> Asked:
        loads = (1, 2, 4, 8, 16, 32)
        return self.of(loads[int(torch.randint(len(loads), (1,), generator=draw))], draw)

    def of(self, pairs: int, draw: torch.Generator, size: int | None = None) -> Asked:
        size = size or self.batch_size
        keys = torch.rand(size, self.keys, generator=draw).argsort(1)[:, :pairs] + 1
        first = self.keys + 1
        values = torch.randint(first, first + self.values, (size, pairs), generator=draw)
        chosen = torch.rand(size, pairs, generator=draw).argsort(1)[:, : self.asked]
        given = torch.stack([keys.gather(1, chosen), torch.zeros_like(chosen)], -1).flatten(1)
        target = values.gather(1, chosen).repeat_interleave(2, 1)
        target[:, ::2] = -100
        lengths = torch.full((size,), pairs)
        return Asked(torch.stack([keys, values], -1), lengths, target, given)

    def questions(self) -> Iterator[tuple[int, Asked]]:
        draw = torch.Generator().manual_seed(7)
        for pairs in (1, 2, 4, 8, 16, 32):
            yield pairs, self.of(pairs, draw, 512)


class Pronounce:
    """The built-in model's task: letters to sounds, words held out."""

    name = "g2p"
    grows = "letters"
    steps = 2500
    batch_size = 96
    vocabulary = len(VOCABULARY)

    @cached_property
    def recipe(self) -> G2P:
        return G2P(words=self.batch_size)

    def batch(self, draw: torch.Generator) -> Asked:
        # batches of one shuffling, in any order: to shuffle takes longer than a step
        return Asked(*self.recipe.batch(int(torch.randint(1000, (1,), generator=draw))).tensors)

    def questions(self) -> Iterator[tuple[int, Asked]]:
        words = self.recipe.split.check
        for letters in (4, 6, 8, 10, 12):
            chosen = [w for w in words if len(w.letters) == letters][:256]
            source = torch.tensor([encode(w.letters) for w in chosen])
            target = padded([[*encode(w.sounds[0]), 1] for w in chosen], -100)
            yield letters, Asked(source, torch.full((len(source),), letters), target)


TASKS = {task.name: task for task in (Copy, Recall, Pronounce)}
