"""Where a module keeps W_Q, W_K, W_V and W_O: separate or packed, submodules or parameters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eyeline._errors import EyelineError

__all__ = ["Projections", "find_projections"]

_STEMS = {
    "query": ("q", "query", "queries"),
    "key": ("k", "key", "keys"),
    "value": ("v", "value", "values"),
}
_PATTERNS = (
    "{}", "w{}", "{}w", "{}proj", "to{}", "linear{}", "{}linear", "{}projection", "l{}", "fc{}",
    "{}layer", "proj{}", "{}net", "lin{}", "{}lin", "{}s", "w{}s", "weight{}", "{}weight",
    "{}projweight", "{}mat", "{}transform", "{}fc",
)  # fmt: skip
_OUTPUT = (
    "o", "wo", "out", "outproj", "oproj", "output", "toout", "fcout", "proj", "cproj", "dense",
    "unifyheads", "linearout", "outlinear", "wout", "outputprojection", "finalprojection", "fc",
    "projection", "projo", "outputlinear", "combineheads", "outprojection", "linear", "outputproj",
    "oweight", "outweight", "linearo", "lo", "outputlayer", "finallinear", "weighto", "mixer",
)  # fmt: skip
_PACKED = {
    "qkv": "qkv", "wqkv": "qkv", "qkvproj": "qkv", "toqkv": "qkv", "qkvlinear": "qkv",
    "qkvlayer": "qkv", "projqkv": "qkv", "qkvprojection": "qkv", "cattn": "qkv", "attn": "qkv",
    "inproj": "qkv", "inprojweight": "qkv", "querykeyvalue": "qkv", "kqv": "kqv", "tokqv": "kqv",
    "keyqueryvalue": "kqv", "kqvproj": "kqv", "wkqv": "kqv", "qkvweight": "qkv", "attnproj": "qkv",
}  # fmt: skip
_PACKED_KV = ("kv", "tokv", "wkv", "kvproj", "kvlinear", "ckv", "kvprojection")
_BIASES = {"query": "bq", "key": "bk", "value": "bv"}
_SIDES = {"q": "query", "k": "key", "v": "value"}


@dataclass(frozen=True)
class Projections:
    """Weights `[out, in]` and biases, by side ("query", "key", "value", "output").

    Attributes:
        weights: By side; "output" is missing where a module has none.
        biases: By side, where there are any.
        how: How they were read where that is not the only way; "" otherwise.
    """

    weights: Mapping[str, Tensor]
    biases: Mapping[str, Tensor | None]
    how: str = ""

    def inputs(self) -> dict[str, Any]:
        """As the recipe of multi-head attention names them."""
        sides = ("query", "key", "value", "output")
        return {f"w_{side}": self.weights.get(side) for side in sides} | {
            f"b_{side}": self.biases.get(side) for side in sides
        }


def find_projections(module: nn.Module, num_heads: int) -> list[Projections]:
    """Every way in which the module's weights may be meant; in float64.

    Raises:
        EyelineError: None was found.
    """
    parts = {_plain(name): part for name, part in _parts(module)}
    found = (
        list(_separate(parts)) or list(_packed(module, parts, num_heads)) or list(_lists(module))
    )
    if not found:
        names = ", ".join(name for name, _ in _parts(module)) or "nothing"
        raise EyelineError(
            f"I do not find the projections of {type(module).__name__}: it holds {names}; expected "
            "q_proj, k_proj, v_proj and out_proj, or qkv. Pass the weights, [out, in] each: "
            "check(module, weights={'query': …, 'key': …, 'value': …, 'output': …})"
        )
    return found


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _parts(module: nn.Module) -> list[tuple[str, nn.Module | Tensor]]:
    own = [(name, p) for name, p in module.named_parameters(recurse=False)]
    return [*module.named_children(), *own]


def _separate(parts: Mapping[str, Any]) -> Iterator[Projections]:
    sides: dict[str, str] = {}
    for side, stems in _STEMS.items():
        known = [pattern.format(stem) for stem in stems for pattern in _PATTERNS]
        for name in known:
            if name in parts:
                sides[side] = name
                break
    if len(sides) == 2 and "query" in sides and not sides.keys() >= {"key", "value"}:
        return
    if set(sides) != {"query", "key", "value"}:
        yield from _shared_kv(parts, sides)
        return
    used = {side: parts[name] for side, name in sides.items()}
    as_torch = all(name.endswith("weight") for name in sides.values())
    for found in _affine_ways(used, _output(parts, [*used.values()]), as_torch):
        biases = {side: parts.get(f"{stem}bias") for side, stem in _BIASES.items()}
        packed = parts.get("inprojbias")
        if packed is not None:  # torch.nn.MultiheadAttention with keys of another width
            biases = dict(zip(_BIASES, packed.detach().chunk(3), strict=True))
        given = {s: b.detach().double() for s, b in biases.items() if isinstance(b, Tensor)}
        yield Projections(found.weights, {**found.biases, **given}, found.how)


def _shared_kv(parts: Mapping[str, Any], sides: Mapping[str, str]) -> Iterator[Projections]:
    """A projection for queries, and one for keys and values together."""
    packed = next((parts[name] for name in _PACKED_KV if name in parts), None)
    if packed is None or "query" not in sides:
        return
    query = _affine(parts[sides["query"]])
    both = _affine(packed)
    output = _output(parts)
    last = {} if output is None else {"output": _affine(output)}
    key, value = (_rows(both, rows) for rows in torch.arange(both[0].shape[0]).chunk(2))
    yield _projections({"query": query, "key": key, "value": value, **last})


def _packed(module: nn.Module, parts: Mapping[str, Any], num_heads: int) -> Iterator[Projections]:
    for name, order in _PACKED.items():
        if name not in parts:
            continue
        part = parts[name]
        if isinstance(part, Tensor):
            bias = getattr(module, "in_proj_bias", None)
            packed = (part.detach().double(), None if bias is None else bias.detach().double())
        else:
            packed = _affine(part)
        output = _output(parts, [part])
        last = {} if output is None else {"output": _affine(output)}
        rows = packed[0].shape[0]
        for how, places in _places(rows, packed[0].shape[1], num_heads):
            made = {_SIDES[s]: _rows(packed, p) for s, p in zip(order, places, strict=True)}
            yield _projections({**made, **last}, how)
        return


def _places(rows: int, width: int, num_heads: int) -> Iterator[tuple[str, tuple[Tensor, ...]]]:
    """Which rows of a packed projection are the first, second and third."""
    every = torch.arange(rows)
    if rows % 3 == 0:
        yield "", every.chunk(3)
        if (rows // 3) % num_heads == 0:
            by_head = every.view(num_heads, 3, -1)
            yield "packed head by head", tuple(by_head[:, i].flatten() for i in range(3))
            inner = every.view(-1, 3)
            yield "packed number by number", tuple(inner[:, i] for i in range(3))
    rest = rows - width  # grouped queries: as many query rows as x is wide
    if 0 < rest < 2 * width and rest % 2 == 0:
        yield "", (every[:width], *every[width:].chunk(2))


def _lists(module: nn.Module) -> Iterator[Projections]:
    """Four linear layers in a list (the Annotated Transformer), or a list of one-head modules."""
    children = dict(module.named_children())
    for child in children.values():
        if not isinstance(child, nn.ModuleList) or not len(child):
            continue
        if len(child) in (3, 4) and all(isinstance(one, nn.Linear) for one in child):
            sides = dict(zip(("query", "key", "value", "output"), child, strict=False))
            if "output" not in sides:
                output = _output({_plain(n): c for n, c in children.items()})
                sides |= {} if output is None else {"output": output}
            yield _projections({side: _affine(layer) for side, layer in sides.items()})
            return
        heads = [list(_separate({_plain(n): p for n, p in _parts(one)})) for one in child]
        if all(heads):
            joined: dict[str, Any] = {}
            for side in ("query", "key", "value"):
                weights = torch.cat([ways[0].weights[side] for ways in heads])
                biases = [ways[0].biases.get(side) for ways in heads]
                bias = (
                    None if biases[0] is None else torch.cat([b for b in biases if b is not None])
                )
                joined[side] = (weights, bias)
            output = _output({_plain(n): c for n, c in children.items()})
            if output is not None:
                joined["output"] = _affine(output)
            yield _projections(joined)
            return


def _output(parts: Mapping[str, Any], used: Sequence[Any] = ()) -> Any:
    """W_O by its name, or the one linear layer that is nothing else."""
    named = next((parts[name] for name in _OUTPUT if name in parts), None)
    if named is not None or not used:
        return named
    others = [p for p in parts.values() if isinstance(p, nn.Linear)]
    others = [p for p in others if all(p is not one for one in used)]
    return others[0] if len(others) == 1 else None


def _affine_ways(used: Mapping[str, Any], output: Any, as_torch: bool) -> Iterator[Projections]:
    """Parameters may be [in, out] or [out, in]: whoever wrote the module decided."""
    every = dict(used) if output is None else {**used, "output": output}
    bare = [side for side, part in every.items() if isinstance(part, Tensor)]
    for transposed in (True, False) if bare and not as_torch else (False,):
        made = {}
        for side, part in every.items():
            if side in bare:
                weight = part.detach().double()
                if weight.dim() == 3:  # [heads, in, width]
                    weight = weight.transpose(1, 2).flatten(0, 1)
                    made[side] = (weight, None)
                else:
                    made[side] = (weight.T if transposed else weight, None)
            else:
                made[side] = _affine(part)
        how = (
            ""
            if not bare or as_torch
            else ("parameters [in, out]" if transposed else "parameters [out, in]")
        )
        yield _projections(made, how)


def _affine(part: Any) -> tuple[Tensor, Tensor | None]:
    """Weight `[out, in]` and bias of a linear layer, or of whatever behaves as one."""
    if isinstance(part, Tensor):
        return part.detach().double(), None
    if isinstance(part, nn.Linear):
        bias = None if part.bias is None else part.bias.detach().double()
        return part.weight.detach().double(), bias
    parameters = [p for p in part.parameters() if p.dim() == 2]
    dtype = parameters[0].dtype if parameters else torch.float64
    for width in dict.fromkeys(size for p in parameters for size in reversed(p.shape)):
        try:
            with torch.no_grad():
                bias = part(torch.zeros(1, 1, width, dtype=dtype))[0, 0]
                weight = (part(torch.eye(width, dtype=dtype)[None])[0] - bias).T
        except (RuntimeError, TypeError, ValueError, IndexError):
            continue
        return weight.double(), bias.double()
    raise EyelineError(
        f"{type(part).__name__} stands where a linear layer is expected and is none; pass the "
        "weights: check(module, weights={'query': …, 'key': …, 'value': …, 'output': …})"
    )


def _rows(affine: tuple[Tensor, Tensor | None], rows: Tensor) -> tuple[Tensor, Tensor | None]:
    weight, bias = affine
    return weight[rows], None if bias is None else bias[rows]


def _projections(made: Mapping[str, tuple[Tensor, Tensor | None]], how: str = "") -> Projections:
    weights = {side: weight for side, (weight, _) in made.items()}
    return Projections(weights, {side: bias for side, (_, bias) in made.items()}, how)
