"""Exercises whose code takes a place inside the model: everything else of it stays as it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eyeline.functional import attention
from eyeline.learn.rewards.learner import Learner
from eyeline.learn.rewards.shown import Shown
from eyeline.learn.rewards.subject import Subject, attending, subject
from eyeline.nn import MultiHeadAttention

__all__ = ["REWARDS", "weights_of_layer"]

Part = Callable[..., Tensor]


def _in_all_heads(
    learner: Learner,
    what: str,
    *,
    scores: Part | None = None,
    softmax: Part | None = None,
    mix: Part | None = None,
) -> Shown:
    """The model with one part of every attention replaced; what "it" looks at then."""
    model, seen = subject(), []

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        made = query @ key.mT * scale if scores is None else scores(query, key, scale)
        weights = made.softmax(-1) if softmax is None else softmax(made)
        seen.append(weights)
        return weights @ value if mix is None else mix(weights, value)

    return _beside_itself(model, attend, seen, what)


def _beside_itself(model: Subject, attend: Any, seen: list[Tensor], what: str) -> Shown:
    own = model.read()
    with attending(model, attend):
        made = model.read()
    row = seen[model.layer][model.head, model.query.index]
    delta = float((own - made).abs().max())
    count = len(model.attentions) * model.attentions[0].num_heads
    line = f"Layer {model.layer}, head {model.head}: {model.sentence(row)}"
    return Shown(f"Your {what} in all {count} heads of {model.name}", (line,), delta)


def _lookup(learner: Learner) -> Shown:
    def scores(query: Tensor, key: Tensor, scale: float) -> Tensor:
        shape = (query.shape[1], key.shape[1])
        heads = list(zip(query, key, strict=True))
        return torch.stack(learner.tensors("dot_product_scores", heads, shape)) * scale

    return _in_all_heads(learner, "dot products", scores=scores)


def _softmax(learner: Learner) -> Shown:
    def softmax(scores: Tensor) -> Tensor:
        return learner.tensor("softmax", scores, shape=scores.shape)

    return _in_all_heads(learner, "softmax", softmax=softmax)


def _weighted_sum(learner: Learner) -> Shown:
    def mix(weights: Tensor, value: Tensor) -> Tensor:
        heads = list(zip(weights, value, strict=True))
        return torch.stack(learner.tensors("weighted_sum", heads, value.shape[1:]))

    return _in_all_heads(learner, "weighted sum", mix=mix)


def _scores(function: str, learner: Learner) -> Shown:
    def scores(query: Tensor, key: Tensor, scale: float) -> Tensor:
        shape = (1, *query.shape[:2], key.shape[1])
        made = learner.tensor(function, query[None], key[None], shape=shape)[0]
        return made * scale if function == "scores" else made

    return _in_all_heads(learner, "scores", scores=scores)


def _weights(learner: Learner) -> Shown:
    model, seen = subject(), []

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        shape = (1, *query.shape[:2], key.shape[1])
        seen.append(learner.tensor("attention_weights", query[None], key[None], shape=shape)[0])
        return seen[-1] @ value

    return _beside_itself(model, attend, seen, "weights")


def _attention(learner: Learner) -> Shown:
    model, seen = subject(), []

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        # with the identity as value, the output is the weights
        eye = torch.eye(key.shape[1]).expand(len(key), -1, -1)
        both = torch.cat([value, eye], -1)
        shape = (1, *both.shape)
        made = learner.tensor("attention", query[None], key[None], both[None], shape=shape)[0]
        seen.append(made[..., value.shape[-1] :])
        return made[..., : value.shape[-1]]

    return _beside_itself(model, attend, seen, "attention")


def _causal(learner: Learner) -> Shown:
    model, seen = subject(), []

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        eye = torch.eye(key.shape[1]).expand(len(key), -1, -1)
        both = torch.cat([value, eye], -1)[None]
        call = (query[None], key[None], both)
        made = learner.tensor("causal_attention", *call, shape=both.shape)[0]
        seen.append(made[..., value.shape[-1] :])
        return made[..., : value.shape[-1]]

    def right(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        return attention(query[None], key[None], value[None], is_causal=True)[0]

    with attending(model, attend):
        made = model.read()
    with attending(model, right):
        expected = model.read()
    weights, query = seen[model.layer][model.head], model.query.index
    future = float(weights.triu(1).abs().max())
    lines = (
        "If nobody could look ahead:",
        f"Layer {model.layer}, head {model.head}: {model.sentence(weights[query])}",
        f"Largest weight there on a later token: {future:g}",
    )
    title = f"Your causal attention in all heads of {model.name}"
    return Shown(title, lines, _largest(made, expected))


def _projections(learner: Learner) -> Shown:
    model, seen = subject(), []

    def project(module: MultiHeadAttention, x: Tensor, *unused: Any) -> tuple[Tensor, ...]:
        layers = (module.q_proj, module.k_proj, module.v_proj)
        made = learner("project_qkv", x, *(t for p in layers for t in (p.weight, p.bias)))
        return tuple(module._heads(one.to(x.dtype), module.num_heads) for one in made)

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        seen.append((query @ key.mT * scale).softmax(-1))
        return seen[-1] @ value

    with _projecting(model, project):
        made = _beside_itself(model, attend, seen, "query, key and value")
    return Shown(made.title, made.lines, _while(model, partial(_projecting, model, project)))


def _split(learner: Learner) -> Shown:
    model = subject()

    def project(module: MultiHeadAttention, x: Tensor, *unused: Any) -> tuple[Tensor, ...]:
        heads = module.num_heads
        shape = (1, heads, x.shape[1], module.head_dim)
        flat = [(p(x), heads) for p in (module.q_proj, module.k_proj, module.v_proj)]
        return tuple(learner.tensors("split_heads", flat, shape))

    seen: list[Tensor] = []

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        seen.append((query @ key.mT * scale).softmax(-1))
        return seen[-1] @ value

    with _projecting(model, project):
        made = _beside_itself(model, attend, seen, "heads")
    return Shown(made.title, made.lines, _while(model, partial(_projecting, model, project)))


def _merge(learner: Learner) -> Shown:
    model, seen = subject(), []

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        seen.append((query @ key.mT * scale).softmax(-1))
        heads, length, width = value.shape
        output = (seen[-1] @ value)[None]
        merged = learner.tensor("merge_heads", output, shape=(1, length, heads * width))
        return merged[0].view(length, heads, width).transpose(0, 1)  # the model merges once more

    return _beside_itself(model, attend, seen, "merged heads")


def _multi_head(learner: Learner) -> Shown:
    model = subject()

    def forward(module: MultiHeadAttention, x: Tensor, *unused: Any, **how: Any) -> Tensor:
        call = (x, weights_of_layer(module), module.num_heads)
        return learner.tensor("multi_head_attention", *call, shape=x.shape)

    inputs: list[Tensor] = []
    shown = model.attentions[model.layer]
    handle = shown.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    try:
        model.read()
    finally:
        handle.remove()
    row = _row_of(learner, model, inputs[0])
    delta = _while(model, partial(_with_forward, model, forward))
    count = len(model.attentions)
    title = f"Your multi-head attention as all {count} attention layers of {model.name}"
    where = f"Layer {model.layer}, head {model.head}: {model.sentence(row)}"
    return Shown(title, (where,), delta)


def _row_of(learner: Learner, model: Subject, x: Tensor) -> Tensor:
    """The weights of the shown head, out of a layer that gives outputs only.

    The values are chosen so that token j's is the j-th unit vector, and W_O is the identity: then
    the output of a head is its weights.
    """
    module = model.attentions[model.layer]
    weights = weights_of_layer(module)
    length, width = x.shape[1], module.head_dim
    units = torch.zeros(length, x.shape[2], dtype=torch.float64)
    first = model.head * width
    units[:, first : first + length] = torch.eye(length, dtype=torch.float64)[:, :width]
    w_v = torch.linalg.pinv(x[0].double()) @ units
    weights = {name: one.double() for name, one in weights.items()}
    weights |= {"w_v": w_v.T, "b_v": torch.zeros(x.shape[2], dtype=torch.float64)}
    weights |= {"w_o": torch.eye(x.shape[2], dtype=torch.float64), "b_o": weights["b_v"]}
    call = (x.double(), weights, module.num_heads)
    made = learner.tensor("multi_head_attention", *call, shape=x.shape)
    return made[0, model.query.index, first : first + length].float()


def weights_of_layer(module: MultiHeadAttention) -> dict[str, Tensor]:
    """A layer's weights under the names of exercise 16."""
    layers = {"q": module.q_proj, "k": module.k_proj, "v": module.v_proj, "o": module.o_proj}
    made = {f"w_{name}": layer.weight.detach() for name, layer in layers.items()}
    return made | {f"b_{name}": layer.bias.detach() for name, layer in layers.items()}


def _while(model: Subject, changed: Callable[[], Any]) -> float:
    own = model.read()
    with changed():
        made = model.read()
    return _largest(own, made)


def _largest(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@contextmanager
def _projecting(model: Subject, project: Any) -> Iterator[None]:
    yield from _replaced(model, "project", project)


@contextmanager
def _with_forward(model: Subject, forward: Any) -> Iterator[None]:
    yield from _replaced(model, "forward", forward)


def _replaced(model: Subject, name: str, function: Any) -> Iterator[None]:
    for module in model.attentions:
        setattr(module, name, partial(function, module))
    try:
        yield
    finally:
        for module in model.attentions:
            delattr(module, name)


REWARDS: dict[str, Callable[[Learner], Shown]] = {
    "dot_product_lookup": _lookup,
    "stable_softmax": _softmax,
    "weighted_sum": _weighted_sum,
    "project_qkv": _projections,
    "batched_scores": partial(_scores, "scores"),
    "scale": partial(_scores, "scaled_scores"),
    "attention_weights": _weights,
    "attention": _attention,
    "causal_mask": _causal,
    "split_heads": _split,
    "merge_heads": _merge,
    "multi_head_attention": _multi_head,
}
