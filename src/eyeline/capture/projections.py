"""Where an attention module keeps W_Q, W_K, W_V and W_O, and what went through them.

Attention modules of different families name and pack their projections differently. The table
below lists the layouts; a module that fits none gives None, and steps then begin at q, k and v.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Linear", "Projections", "Seen", "find_projections", "listen"]


@dataclass(frozen=True, eq=False)
class Linear:
    """`x @ weight.T + bias`, and the module that the model runs for it."""

    module: nn.Module
    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, " out"] | None

    def head(self, number: int, width: int) -> "Linear":
        """The rows that make one head."""
        rows = slice(number * width, (number + 1) * width)
        bias = None if self.bias is None else self.bias[rows]
        return Linear(self.module, self.weight[rows], bias)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.nn.functional.linear(x, self.weight.to(x), _like(self.bias, x))


@dataclass(frozen=True, eq=False)
class Projections:
    """The four projections of an attention module, and norms between projection and dot product."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    query_norm: nn.Module | None = None
    key_norm: nn.Module | None = None


@dataclass(eq=False)
class Seen:
    """What went through the projections in one forward pass.

    Attributes:
        query_input: The vectors that queries are made of, `[batch, q_len, embed_dim]`.
        kv_input: The vectors that keys and values are made of.
        concat: The heads' outputs side by side, as they entered W_O.
        output: What W_O gave.
        rotary: `(cos, sin)` of rotary positions, if the module was given them.
    """

    query_input: Tensor | None = None
    kv_input: Tensor | None = None
    concat: Tensor | None = None
    output: Tensor | None = None
    rotary: tuple[Tensor, Tensor] | None = None


_SEPARATE = (
    ("q_proj", "k_proj", "v_proj"),  # Llama, Mistral, Gemma, Qwen, OPT, BART, Whisper
    ("query", "key", "value"),  # BERT and its kin
    ("q", "k", "v"),  # T5
    ("q_lin", "k_lin", "v_lin"),  # DistilBERT
)
_OUTPUT = ("o_proj", "out_proj", "o", "c_proj", "dense", "out_lin", "Wo")
_NORMS = (("q_norm", "k_norm"), ("q_layernorm", "k_layernorm"))


def find_projections(
    model: nn.Module, name: str, num_heads: int, num_kv_heads: int
) -> Projections | None:
    """The projections of the attention module called `name`; None if its layout is not known."""
    name = name.partition("@")[0]
    module = model.get_submodule(name)
    output = _output(model, module, name)
    if output is None:
        return None
    found = _separate(module, output) or _packed(module, output, num_heads, num_kv_heads)
    if found is None:
        return None
    for names in _NORMS:
        norms = [getattr(module, n, None) for n in names]
        if all(isinstance(norm, nn.Module) for norm in norms):
            return replace(found, query_norm=norms[0], key_norm=norms[1])
    return found


@contextmanager
def listen(projections: Projections, attention: nn.Module, call: int = 0) -> Iterator[Seen]:
    """Record what goes through the projections while the block lasts.

    Args:
        projections: The projections of `attention`.
        attention: The attention module.
        call: Which call of the module to listen to, from 0: some models (ALBERT) use one module
            for all layers.
    """
    seen = Seen()
    calls = -1

    def on_attention(_module: nn.Module, args: tuple, kwargs: dict) -> None:
        nonlocal calls
        calls += 1
        if calls != call:
            return
        for given in (kwargs.get("position_embeddings"), kwargs.get("rotary"), *args):
            if isinstance(given, tuple) and len(given) == 2 and given[0] is not None:
                seen.rotary = (given[0].detach(), given[1].detach())
                return

    def on_query(_module: nn.Module, args: tuple) -> None:
        if calls == call:
            seen.query_input = args[0].detach()

    def on_key(_module: nn.Module, args: tuple) -> None:
        if calls == call:
            seen.kv_input = args[0].detach()

    def on_output(_module: nn.Module, args: tuple, out: Tensor) -> None:
        if calls == call:
            seen.concat, seen.output = args[0].detach(), out.detach()

    handles = [
        attention.register_forward_pre_hook(on_attention, with_kwargs=True),
        projections.query.module.register_forward_pre_hook(on_query),
        projections.key.module.register_forward_pre_hook(on_key),
        projections.output.module.register_forward_hook(on_output),
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _output(model: nn.Module, module: nn.Module, name: str) -> Linear | None:
    for candidate in _OUTPUT:
        if isinstance(part := getattr(module, candidate, None), nn.Module):
            return _linear(part)
    # BERT: attention.self computes, attention.output.dense is W_O
    parent = model.get_submodule(name.rpartition(".")[0]) if "." in name else None
    dense = getattr(getattr(parent, "output", None), "dense", None)
    return _linear(dense) if isinstance(dense, nn.Module) else None


def _separate(module: nn.Module, output: Linear) -> Projections | None:
    for names in _SEPARATE:
        query, key, value = (_linear(getattr(module, n, None)) for n in names)
        if query is not None and key is not None and value is not None:
            return Projections(query, key, value, output)
    return None


def _packed(
    module: nn.Module, output: Linear, num_heads: int, num_kv_heads: int
) -> Projections | None:
    shares = [num_heads, num_kv_heads, num_kv_heads]
    if (packed := _linear(getattr(module, "c_attn", None))) is not None:  # GPT-2
        query = _linear(getattr(module, "q_attn", None))
        if query is not None and packed.weight.shape[0] == 2 * query.weight.shape[0]:
            key, value = _split(packed, [1, 1])
            return Projections(query, key, value, output)
        return _in_three(packed, shares, output)
    for name in ("qkv_proj", "Wqkv"):  # Phi-3, ModernBERT
        packed = _linear(getattr(module, name, None))
        if packed is not None and packed.weight.shape[0] % sum(shares) == 0:
            return _in_three(packed, shares, output)
    if (packed := _linear(getattr(module, "query_key_value", None))) is not None:  # GPT-NeoX
        # each head's q, k and v stand together: [heads, 3, width]
        width = packed.weight.shape[0] // (3 * num_heads)
        order = torch.arange(3 * num_heads * width).view(num_heads, 3, width)
        order = order.transpose(0, 1).flatten().to(packed.weight.device)
        bias = None if packed.bias is None else packed.bias[order]
        packed = Linear(packed.module, packed.weight[order], bias)
        return _in_three(packed, [1, 1, 1], output)
    return None


def _in_three(packed: Linear, shares: list[int], output: Linear) -> Projections:
    query, key, value = _split(packed, shares)
    return Projections(query, key, value, output)


def _split(packed: Linear, shares: list[int]) -> list[Linear]:
    unit = packed.weight.shape[0] // sum(shares)
    sizes = [unit * share for share in shares]
    biases = [None] * len(shares) if packed.bias is None else packed.bias.split(sizes)
    weights = packed.weight.split(sizes)
    return [Linear(packed.module, w, b) for w, b in zip(weights, biases, strict=True)]


def _linear(module: nn.Module | None) -> Linear | None:
    if module is None or not isinstance(weight := getattr(module, "weight", None), Tensor):
        return None
    if weight.dim() != 2:
        return None
    # GPT-2's Conv1D keeps [in, out]; its `nf` tells it from nn.Linear without importing it
    weight = weight.detach().T if hasattr(module, "nf") else weight.detach()
    bias = getattr(module, "bias", None)
    return Linear(module, weight, bias.detach() if isinstance(bias, Tensor) else None)


def _like(tensor: Tensor | None, other: Tensor) -> Tensor | None:
    return None if tensor is None else tensor.to(other)
