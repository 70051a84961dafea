"""Functions of a few named inputs: softmax, masks, positions, norms, heads, losses."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from eyeline.doctor._arrays import library_of, to_library
from eyeline.doctor._convention import Axes, Convention, Hypothesis, pick
from eyeline.doctor._signature import Signature, cannot_map, read_signature
from eyeline.doctor.options import Options
from eyeline.doctor.recipe import Recipe
from eyeline.doctor.topics.modules import Twins

__all__ = ["Plain", "Way", "with_ones"]


@dataclass(frozen=True)
class Way:
    """One way to read a candidate, before it is called.

    Attributes:
        notes: In words.
        hypotheses: What it may be meant to compute; all put the same questions.
        form: What `offer`, `axes` and `canonical` are told.
        tier: It is tried only if no way of a lower tier could be called.
    """

    notes: dict[str, str]
    hypotheses: list[Hypothesis]
    form: str = ""
    tier: int = 0


def _as_it_is(answer: Tensor, s: Mapping[str, Any], form: str) -> Tensor:
    return answer


@dataclass(frozen=True)
class Plain:
    """How candidates of such a kind are called.

    Attributes:
        places: Roles of parameters whose names say nothing, in order.
        ways: Every way to read a candidate, the likeliest first.
        offer: What there is to give, by role, in a case.
        axes: The shapes that an answer may have, the likeliest first.
        canonical: The answer as the recipe writes it.
        always: Roles that are given even where a candidate has a default.
        names: Names of the axes of the recipe's result.
    """

    places: tuple[str, ...]
    ways: Callable[[Signature, Options, Twins | None], list[Way]]
    offer: Callable[[Mapping[str, Any], str], dict[str, Any]]
    axes: Callable[[Mapping[str, Any], str], list[Axes]]
    names: tuple[str, ...]
    canonical: Callable[[Tensor, Mapping[str, Any], str], Tensor] = _as_it_is
    always: frozenset[str] = field(default_factory=frozenset)

    def conventions(
        self, name: str, candidate: Callable[..., Any], options: Options, recipe: Recipe
    ) -> Iterator[Convention]:
        """Every way to call it.

        Raises:
            EyelineError: The signature cannot be mapped.
        """
        twins = Twins(candidate) if isinstance(candidate, nn.Module) else None
        asked = candidate if options.adapter is None else partial(options.adapter, candidate)
        signature = read_signature(asked, self.places)
        ways = self.ways(signature, options, twins)
        offered = self.offer(ways[0].hypotheses[0].cases[0].inputs, ways[0].form) if ways else {}
        missing = [r for r in signature.required if r not in offered]
        if (
            signature.strangers
            or missing
            or not ways
            or not set(signature.parameters) & set(offered)
        ):
            arguments = ", ".join(self.places)
            adapter = f"lambda candidate, {arguments}: candidate(…)"
            raise cannot_map(name, signature, recipe.signature, adapter, missing)
        library = options.arrays or ("torch" if twins else library_of(candidate))
        for way in ways:
            call = partial(self._call, asked, twins, options, signature, library, way.form)
            read = partial(self._read, way.form)
            notes = dict(way.notes)
            yield Convention(recipe, notes, way.hypotheses, call, read, self._native, way.tier)

    def _call(
        self,
        call: Callable[..., Any],
        twins: Twins | None,
        options: Options,
        signature: Signature,
        library: str,
        form: str,
        s: Mapping[str, Any],
    ) -> Any:
        if twins is not None:
            dtype = next((v.dtype for v in s.values() if _floats(v)), torch.float64)
            twin = twins.of(dtype)
            call = twin if options.adapter is None else partial(options.adapter, twin)
        given = {
            role: to_library(thing, library)
            if isinstance(thing, Tensor) and not thing.requires_grad
            else thing
            for role, thing in self.offer(s, form).items()
            if role in signature.required or (role in signature and role in self.always)
        }
        places, named = signature.arguments(given)
        return call(*places, **named)

    def _read(self, form: str, returned: Any, s: Mapping[str, Any]) -> Tensor:
        answer, _ = pick(returned, self.axes(s, form), {})
        return self.canonical(answer, s, form)

    def _native(self, answer: Tensor) -> tuple[Tensor, tuple[str, ...]]:
        return answer, self.names[-answer.dim() :] if answer.dim() else ()


def with_ones(axes: Axes, most: int = 2) -> list[Axes]:
    """The shape itself, and with axes of length 1 before it."""
    return [[("one", 1)] * count + list(axes) for count in range(most + 1)]


def _floats(thing: Any) -> bool:
    return isinstance(thing, Tensor) and thing.is_floating_point()
