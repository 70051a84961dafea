"""How far gradients are from those of float64: eyeline's kernels, torch's SDPA and the equation.

python -m bench.gradient_error

Relative errors, |found - exact| / |exact|, of the gradients of queries, keys and values. Made-up
tensors first; then those of SmolLM2's own layers on a page of text, if it is on this machine
(`eyeline models get smollm2`).
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import eyeline
from bench._measure import write_json

ROOT = Path(__file__).parents[1]
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
HOW = {"is_causal": True, "enable_gqa": True, "scale": 1 / 8}
LENGTH = 700


def equation(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention as a textbook writes it, in the tensors' own precision."""
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    scores = query @ key.mT * HOW["scale"]
    unseen = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(unseen, -torch.inf).softmax(-1) @ value


RIVALS: dict[str, Attention] = {
    "eyeline": lambda *tensors: eyeline.attention(*tensors, impl="native", **HOW),
    "torch SDPA": lambda *tensors: F.scaled_dot_product_attention(*tensors, **HOW),
    "the equation": equation,
}


def gradients(attention: Attention, tensors: list[Tensor], cotangent: Tensor) -> list[Tensor]:
    leaves = [t.detach().requires_grad_() for t in tensors]
    output = attention(*leaves)
    return list(torch.autograd.grad(output, leaves, cotangent.to(output.dtype)))


def errors(tensors: list[Tensor]) -> dict[str, list[float]]:
    """By rival, those of the three gradients; "rounded": exact ones rounded to the dtype."""
    torch.manual_seed(1)
    cotangent = torch.randn(*tensors[0].shape[:3], tensors[2].shape[3]).to(tensors[0].dtype)
    exact = gradients(equation, [t.double() for t in tensors], cotangent)

    def error(found: list[Tensor]) -> list[float]:
        pairs = zip(found, exact, strict=True)
        return [((a.double() - b).norm() / b.norm()).item() for a, b in pairs]

    found = {name: error(gradients(f, tensors, cotangent)) for name, f in RIVALS.items()}
    return found | {"rounded": error([t.to(tensors[0].dtype) for t in exact])}


def made_up() -> Iterator[tuple[str, list[Tensor]]]:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 4, LENGTH, 64) for _ in range(3))
    common = torch.randn(2, 64)
    yield "numbers around 0", [query, key, value]
    yield "keys and values with a mean", [query / 4, key + 3 * common[0], value + 3 * common[1]]
    yield "steep scores", [4 * query, key, value]


def real() -> Iterator[tuple[str, list[Tensor]]]:
    model = eyeline.load("smollm2")
    text = (ROOT / "docs/why_attention.md").read_text()
    ids = torch.tensor([model.tokenizer.encode(text).ids[:LENGTH]])
    with torch.no_grad(), eyeline.watch(model.network) as maps:
        model.network.hidden(ids)
    for layer in (0, 10, 20, 29):
        problem = list(maps.values())[layer].problem
        yield f"SmolLM2, layer {layer}", [problem.query, problem.key, problem.value]


def cases() -> Iterator[tuple[str, list[Tensor]]]:
    yield from made_up()
    try:
        yield from real()
    except eyeline.EyelineError as error:
        print(f"left out: {error}")


def main() -> None:
    table: dict[str, dict[str, list[float]]] = {}
    for label, tensors in cases():
        for dtype in (torch.float32, torch.bfloat16):
            name = f"{label}, {str(dtype).removeprefix('torch.')}"
            table[name] = errors([t.to(dtype) for t in tensors])
            print(name)
            for rival, found in table[name].items():
                print(f"    {rival:14} " + "  ".join(f"{e:.1e}" for e in found), flush=True)
    write_json("gradient_error", table)


if __name__ == "__main__":
    main()
