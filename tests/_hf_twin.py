"""A transformers model and eyeline's own network with the same weights, side by side."""

import random
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import Tensor

import _tiny_models as tiny
from eyeline import masks
from eyeline.models._keys import parts_of
from eyeline.models.opening import open_network

ACTIVATIONS = (
    *("gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_python", "gelu_accurate"),
    *("relu", "silu", "swish", "tanh", "quick_gelu", "relu2", "relu6", "mish", "sigmoid"),
    *("leaky_relu", "hardswish", "linear"),
)


def theirs(make: Any, seed: int) -> Any:
    """What `make` makes with eager attention, weights far from zero, in evaluation mode."""
    network = tiny.with_fixed_weights(make)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    network.set_attn_implementation("eager")
    return network


def ours(network: Any, folder: Path) -> Any:
    """The same weights in a network of eyeline, by way of the files that transformers writes."""
    hf.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)
    return open_network(folder)[0]


def back(network: Any, folder: Path, auto: Any) -> Any:
    """The network saved by eyeline and opened by transformers, which must miss nothing."""
    from eyeline.models.saving import save

    save(network, folder)
    again, info = auto.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    missing = [name for name in info["missing_keys"] if "pooler" not in name]
    assert not missing and not info["unexpected_keys"] and not info["mismatched_keys"], info
    again.set_attn_implementation("eager")
    return again.eval()


def tokens(seed: int, *shape: int) -> Tensor:
    return torch.randint(3, 99, shape, generator=torch.Generator().manual_seed(seed))


def padding(lengths: list[int], longest: int) -> tuple[Tensor, Any]:
    """A padded batch: transformers' mask (1 = real), and ours."""
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return mask.long(), masks.padding(lengths)


def pick(seed: int, **options: tuple) -> dict[str, Any]:
    """One value of each option, drawn by the seed."""
    drawn = random.Random(seed)
    return {name: drawn.choice(values) for name, values in options.items()}


def close(found: Tensor, expected: Tensor, bound: float = 1e-5) -> None:
    """Equal to within `bound` of the largest number (at least 1)."""
    assert found.shape == expected.shape
    scale = max(1.0, float(expected.detach().abs().max()))
    error = float((found - expected).detach().abs().max()) / scale
    assert error <= bound, f"{error:.1e} > {bound:.0e}"


def same_gradients(network: Any, own: Any, bound: float = 1e-4) -> None:
    """Every parameter's gradient, under the checkpoint's names."""
    gradients = {name: p.grad for name, p in own.named_parameters()}
    parts = parts_of(gradients, own.KEYS)
    pieces: dict[str, dict[int, Tensor]] = {}
    for name, part in parts.items():
        assert gradients[name] is not None, name
        pieces.setdefault(part.name, {})[part.index] = gradients[name]
    there = {name.removeprefix(own.PREFIX): p.grad for name, p in network.named_parameters()}
    seen = set()
    for part in parts.values():
        found = pieces[part.name]
        joined = part.join([found[n] for n in range(part.of)])
        name = part.name.removeprefix(own.PREFIX)
        close(joined, there[name], bound)
        seen.add(name)
    left = {n for n, g in there.items() if n not in seen and g is not None and g.abs().max() > 0}
    assert not left
