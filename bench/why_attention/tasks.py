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
    """Sources `[batch, length]` with their lengths, and what is to be written (-100: nothing)."""

    source: Tensor
    lengths: Tensor
    target: Tensor


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
    """Pairs of a key and its value in a row, then a key: write its value. What grows is the load.

    No key stands twice; keys and values are different symbols.
    """

    keys: int = 64
    values: int = 64
    most: int = 32
    name = "recall"
    grows = "pairs"
    steps = 2500
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
        asked = torch.randint(pairs, (size, 1), generator=draw)
        row = torch.stack([keys, values], -1).flatten(1)
        source = torch.cat([row, keys.gather(1, asked)], 1)
        return Asked(source, torch.full((size,), source.shape[1]), values.gather(1, asked))

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
