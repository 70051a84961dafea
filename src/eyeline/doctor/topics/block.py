"""Blocks: only their wiring is checked, with stand-ins for attention, feed-forward and norms.

A hook puts the stand-in's result in the place of the real one's, so that a block may call its parts
however it likes.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from eyeline._errors import EyelineError
from eyeline.doctor._arrays import to_library
from eyeline.doctor._cases import Case, normal
from eyeline.doctor._convention import Convention, Hypothesis, pick
from eyeline.doctor._signature import cannot_map, read_signature
from eyeline.doctor.options import Options
from eyeline.doctor.recipe import Recipe
from eyeline.doctor.topics.modules import Twins, find_number

__all__ = ["conventions", "is_block"]

STATES = {"norm_first"}
PARTS = ("attention", "feed_forward", "norm1", "norm2")


def is_block(module: nn.Module) -> bool:
    """Whether a module holds two norms and an attention."""
    return not isinstance(_parts(module), str)


def conventions(
    name: str, candidate: Callable[..., Any], options: Options, recipe: Recipe
) -> Iterator[Convention]:
    """The one way to call it, with the norms before or behind.

    Raises:
        EyelineError: Its parts are not found.
    """
    if not isinstance(candidate, nn.Module):
        raise EyelineError(f"{name} is no module: a block is an nn.Module with its parts in it")
    twins = Twins(candidate)
    parts = _parts(twins.double)
    if isinstance(parts, str):
        raise EyelineError(
            f"{name}: {parts}; expected two norms, an attention and a feed-forward network among "
            f"its children, found {', '.join(n for n, _ in candidate.named_children())}"
        )
    asked = candidate if options.adapter is None else partial(options.adapter, candidate)
    signature = read_signature(asked, ("x",))
    if signature.strangers or signature.required - {"x"}:
        missing = [*signature.strangers, *(signature.required - {"x"})]
        raise cannot_map(name, signature, recipe.signature, "lambda block, x: block(x, …)", missing)
    width = _width(candidate, parts)
    stand_ins = _stand_ins(width)
    if "linear1" in parts:  # torch's own layer: the feed-forward network is not one module
        stand_ins["feed_forward"] = _two_layers(parts, twins.double)
    for part in PARTS:
        if part in parts:
            parts[part].register_forward_hook(partial(_replace, stand_ins[part]))
    orders = [True, False] if options.norm_first is None else [options.norm_first]
    hypotheses = []
    for order in orders:
        inputs = {
            **stand_ins,
            "x": normal(2, 5, width, seed=180),
            "norm_first": order,
            "norms_first": 2 if order else 0,
            "norms_last": 0 if order else 2,
            "stated": 0 if options.norm_first is None else 2,
        }
        notes = {"norms": "before the sublayers" if order else "behind the sums"}
        hypotheses.append(Hypothesis(notes, (Case("stand-ins for its parts", inputs),)))
    call = twins.double if options.adapter is None else partial(options.adapter, twins.double)

    def run(s: Mapping[str, Any]) -> Any:
        x = s["x"] if s["x"].requires_grad else to_library(s["x"].double(), "torch")
        places, named = signature.arguments({"x": x})
        return call(*places, **named)

    def read(returned: Any, s: Mapping[str, Any]) -> Tensor:
        axes = [("batch", 2), ("length", 5), ("width", width)]
        return pick(returned, [axes], {})[0]

    yield Convention(recipe, {}, hypotheses, run, read, _native)


def _parts(module: nn.Module) -> dict[str, nn.Module] | str:
    """The parts by what they are, or why they are not found."""
    children = dict(module.named_children())
    norms = [n for n, c in children.items() if "norm" in type(c).__name__.lower() or _is_norm(n)]
    attentions = [
        n
        for n, c in children.items()
        if n not in norms and ("att" in n.lower() or "att" in type(c).__name__.lower())
    ]
    plain = (nn.Dropout, nn.Identity, nn.ReLU, nn.GELU, nn.SiLU)
    rest = [
        n
        for n, c in children.items()
        if n not in norms and n not in attentions and not isinstance(c, plain)
    ]
    if len(norms) != 2:
        return f"{len(norms)} norms found"
    if len(attentions) != 1:
        return f"{len(attentions)} attentions found"
    found = {"attention": children[attentions[0]]}
    found |= {f"norm{i + 1}": children[n] for i, n in enumerate(_in_order(norms, attentions[0]))}
    if set(rest) == {"linear1", "linear2"}:
        return {**found, "linear1": children["linear1"], "linear2": children["linear2"]}
    if len(rest) != 1:
        return f"{len(rest)} feed-forward networks found"
    return {**found, "feed_forward": children[rest[0]]}


def _is_norm(name: str) -> bool:
    return name.lower().rstrip("_0123456789").removesuffix("f") in ("ln", "norm")


def _in_order(norms: list[str], attention: str) -> list[str]:
    """The attention's norm first: by its name, else as they were made."""
    first, second = norms
    stem = attention.lower()[:4]
    if stem in second.lower() and stem not in first.lower():
        return [second, first]
    return norms


def _width(module: nn.Module, parts: Mapping[str, nn.Module]) -> int:
    for part in (parts["norm1"], parts["norm2"]):
        for parameter in part.parameters():
            return parameter.shape[-1]
    width = find_number(module, "embed_dim")
    if width is None:
        raise EyelineError("the block does not say how wide its tokens are: keep it as embed_dim")
    return width


def _stand_ins(width: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Four functions that nobody can mistake for each other; attention mixes tokens."""
    matrices = [normal(width, width, seed=170 + i, deviation=width**-0.5) for i in range(4)]
    mixing = torch.softmax(normal(5, 5, seed=174), -1)

    def part(matrix: Tensor, shift: float, x: Tensor) -> Tensor:
        return torch.tanh(x @ matrix.to(x.dtype) + shift)

    def attention(x: Tensor) -> Tensor:
        return mixing.to(x.dtype) @ part(matrices[0], 0.1, x)

    rest = [partial(part, m, 0.1 * i + 0.2) for i, m in enumerate(matrices[1:])]
    return dict(zip(PARTS, (attention, *rest), strict=True))


def _two_layers(parts: Mapping[str, nn.Module], layer: nn.Module) -> Callable[[Tensor], Tensor]:
    activation = getattr(layer, "activation", torch.relu)
    return lambda x: parts["linear2"](activation(parts["linear1"](x)))


def _replace(stand_in: Callable[[Tensor], Tensor], _: Any, given: Any, returned: Any) -> Any:
    """What a part returns, with the stand-in's numbers in it."""
    made = stand_in(given[0])
    if isinstance(returned, tuple):
        return (made, *returned[1:])
    return made


def _native(answer: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    return answer, ("batch", "length", "width")
