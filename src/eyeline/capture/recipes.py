"""Query, key and value once more, from what they were made of: a map that keeps only inputs.

An attention module makes three matrices out of one: a map that keeps `[length, width]` inputs and
makes the three again when somebody asks takes a third of the memory (SmolLM2: three fifths). The
same operations on the same numbers give the same bits; whether both are the same is checked.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

from eyeline.capture.keeping import OutlinedMap
from eyeline.impl._problem import Problem
from eyeline.maps import AttentionMap

__all__ = ["AtHand", "Recipe", "RecomputedMap"]

Vectors: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Query, key and value, as in a `Problem`."""

_SLACK = 1e-2
"""By how much of a matrix's length its sum may differ: rounding to bfloat16 gives less, a random
number or a position that is off by one gives more."""

_Marks: TypeAlias = list[tuple[int, int, int | None]]


class Recipe:
    """How a module made its query, key and value, and makes them again.

    Args:
        name: What errors call the module.
        module: The module; it must still have the same parameters.
        inputs: The tensors that it was given, which must not have changed either.
        run: Makes the three. It runs without gradients, under the autocast and inference mode that
            the recipe was written under.
        made: What it made the first time.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        inputs: Sequence[Tensor],
        run: Callable[[], Vectors],
        made: Vectors,
    ) -> None:
        self._name, self._module, self._run = name, module, run
        self._inputs = tuple({id(t): t for t in inputs}.values())
        self._input_marks = _marks(self._inputs)
        self._weights = _weights(module)  # held, so that no other tensor gets their addresses
        self._weight_marks = _marks(self._weights)
        self._print = _fingerprint(made)
        self._shapes = [t.shape for t in made]
        device = made[0].device.type
        self._inference = torch.is_inference_mode_enabled()
        self._autocast = (
            device,
            torch.is_autocast_enabled(device),
            torch.get_autocast_dtype(device),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs; masks, which are of no use to the three, are not among them."""
        return sum(t.numel() * t.element_size() for t in self._inputs)

    def check(self) -> None:
        """Raise if the three cannot be made again.

        Raises:
            RuntimeError: A parameter or an input of the module was changed or replaced.
        """
        for what, now, before in (
            ("a parameter", _weights(self._module), self._weight_marks),
            ("an input", self._inputs, self._input_marks),
        ):
            if _marks(now) != before:
                raise RuntimeError(
                    f"{what} of {self._name} was changed after the map was made: its query and key "
                    'cannot be made again; ask the map before, or watch with keep="vectors"'
                )

    def make(self) -> Vectors:
        """Query, key and value, bit for bit as they were.

        Raises:
            RuntimeError: Something was changed, or the module does not do the same thing twice.
        """
        self.check()
        device, enabled, dtype = self._autocast
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(self._inference))
            stack.enter_context(torch.no_grad())
            stack.enter_context(torch.autocast(device, dtype=dtype, enabled=enabled))
            made = self._run()
        if [t.shape for t in made] != self._shapes or not _alike(_fingerprint(made), self._print):
            raise RuntimeError(
                f"{self._name} made another query, key or value of the same inputs: a hook, a "
                'buffer or a random number has a say in it; watch with keep="vectors"'
            )
        return made


class AtHand:
    """The vectors of the one map that was asked last: asking it again costs nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: object = None
        self._problem: Problem | None = None
        self._marks: _Marks = []

    def of(self, owner: object, make: Callable[[], Problem]) -> Problem:
        """The owner's problem, made if another was asked meanwhile, or if it was written to."""
        with self._lock:
            held = self._problem
            if held is None or self._owner is not owner or _marks(_vectors(held)) != self._marks:
                held = self._problem = None  # two at a time would be one too many
                held = self._problem = make()
                self._owner, self._marks = owner, _marks(_vectors(held))
            return held


class RecomputedMap(OutlinedMap):
    """An `AttentionMap` without query, key and value: it makes them again when it is asked.

    Args:
        seen: The map with everything, as the forward pass gave it.
        recipe: How its query, key and value are made again.
        at_hand: Shared by the maps of a pass.
    """

    def __init__(self, seen: AttentionMap, recipe: Recipe, at_hand: AtHand) -> None:
        super().__init__(seen)
        self._recipe, self._at_hand = recipe, at_hand
        self._owner = object()  # the map itself would make a cycle, which frees memory late

    @property
    def problem(self) -> Problem:  # pyright: ignore[reportIncompatibleVariableOverride]
        """With query, key and value; they are gone again when nobody refers to them."""
        self._recipe.check()
        return self._at_hand.of(self._owner, self._remake)

    @property
    def nbytes(self) -> int:
        """Bytes that the map keeps alive; what maps share (an encoder's output) counts in each."""
        return self._recipe.nbytes + sum(t.numel() * t.element_size() for t in self.normalizer)

    def __repr__(self) -> str:
        return self._described("made again from")

    def _remake(self) -> Problem:
        query, key, value = self._recipe.make()
        return replace(self._outline, query=query, key=key, value=value)

    def _check_unchanged(self) -> None:
        self._recipe.check()


def _weights(module: nn.Module) -> tuple[Tensor, ...]:
    return (*module.parameters(), *module.buffers())


def _marks(tensors: Sequence[Tensor]) -> _Marks:
    """Which tensors these are, where their numbers stand, and how often they were written."""
    return [(id(t), t.data_ptr(), None if t.is_inference() else t._version) for t in tensors]


def _vectors(problem: Problem) -> Vectors:
    return problem.query, problem.key, problem.value


def _fingerprint(made: Vectors) -> Tensor:
    """Sum and length of each: two numbers that another matrix will hardly have."""
    exact = torch.float64 if made[0].dtype == torch.float64 else torch.float32
    numbers = [(t.sum(dtype=exact), torch.linalg.vector_norm(t, dtype=exact)) for t in made]
    return torch.stack([n for pair in numbers for n in pair]).view(3, 2)


def _alike(now: Tensor, before: Tensor) -> bool:
    """The same but for rounding: another number of threads may add in another order."""
    slack = _SLACK * before[:, 1:].nan_to_num(posinf=0.0)
    same = (now == before) | (now.isnan() & before.isnan())
    return bool((same | ((now - before).abs() <= slack)).all())
