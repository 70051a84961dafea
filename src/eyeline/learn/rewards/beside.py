"""Exercises whose code stands beside the model: masks, positions, caches, gradients."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eyeline import masks
from eyeline.functional import attention
from eyeline.learn.rewards.inside import weights_of_layer
from eyeline.learn.rewards.learner import Learner
from eyeline.learn.rewards.shown import Shown
from eyeline.learn.rewards.subject import SENTENCE, Subject, attending, subject

__all__ = ["REWARDS"]

_SHORT = "The animal was tired"
_PAIRS = ("The animal was exhausted", "The street was wide")


def _vectors(model: Subject) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of the shown layer, `[1, heads, length, head_dim]`."""
    seen: list[tuple[Tensor, ...]] = []

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        seen.append((query[None], key[None], value[None]))
        return attention(query[None], key[None], value[None], scale=scale)[0]

    with attending(model, attend, model.layer):
        model.read()
    query, key, value = seen[0]
    return query, key, value


def _grid(allowed: Tensor, rows: list[str], columns: list[str]) -> list[str]:
    width = max(map(len, rows))
    lines = [f"{'':{width}}  {' '.join(columns)}"]
    for name, row in zip(rows, allowed.tolist(), strict=True):
        cells = [("■" if one else "·").center(len(c)) for one, c in zip(row, columns, strict=True)]
        lines.append(f"{name:{width}}  {' '.join(cells)}")
    return lines


def _alignment(learner: Learner) -> Shown:
    model = subject()
    labels = [token.label for token in model.tokens][:8]
    count = len(labels)
    made = learner.tensor("causal_mask", 2, count, shape=(2, count))
    lines = [f"{count} tokens are known, the newest two ask:", *_grid(made, labels[-2:], labels)]
    query, key, value = (one[..., :count, :] for one in _vectors(model))
    mine = attention(query[..., -2:, :], key, value, attn_mask=made)
    right = attention(query, key, value, is_causal=True)[..., -2:, :]
    title = f"Your mask in {model.where}: the last two rows of reading it all at once"
    return Shown(title, tuple(lines), _largest(mine, right))


def _padded(model: Subject, mask: Any) -> Tensor:
    """The vectors of the short sentence, read in a padded batch."""
    long, short = model.ids(SENTENCE), model.ids(_SHORT)
    batch = torch.tensor([long, short + [0] * (len(long) - len(short))])
    with torch.no_grad():
        return model.run(batch, mask)[1, : len(short)]


def _padding(learner: Learner) -> Shown:
    model = subject()
    lengths = torch.tensor([len(model.ids(SENTENCE)), len(model.ids(_SHORT))])
    leaking, alone = _padded(model, None), model.read(_SHORT)

    def observe(module: Any, vectors: Any, again: Any, kind: Any, call: Any) -> Tensor:
        shape = vectors[2].shape
        return learner.tensor("padded_attention", *vectors, lengths, shape=shape)

    for module in model.attentions:
        module.observers = (observe,)
    try:
        mine = _padded(model, None)
    finally:
        for module in model.attentions:
            module.observers = ()
    lines = (
        f"'{_SHORT}', padded to {int(lengths[0])} tokens, against the same read alone:",
        f"without a mask its vectors are off by up to {_largest(leaking, alone):.3g}; "
        f"with yours by {_largest(mine, alone):.1g}",
    )
    title = f"Your padded attention in all layers of {model.name}"
    return Shown(title, lines, _largest(mine, alone))


def _conventions(learner: Learner) -> Shown:
    model = subject()
    long, short = len(model.ids(SENTENCE)), len(model.ids(_SHORT))
    tokenizer = (torch.arange(long) < torch.tensor([[long], [short]])).long()
    made = learner.tensor("to_attend", tokenizer, "tokenizer", shape=tokenizer.shape)
    mine = _padded(model, masks.dense(made.bool()[:, None, None, :]))
    alone = model.read(_SHORT)
    line = f"The tokenizer's mask, turned by you, hides the padding of '{_SHORT}'."
    return Shown(f"Your mask in {model.name}", (line,), _largest(mine, alone))


def _nothing(learner: Learner) -> Shown:
    model = subject()
    query, key, value = _vectors(model)
    count = query.shape[-2]
    mask = torch.ones(1, 1, count, count, dtype=torch.bool)
    mask[..., model.query.index, :] = False
    eye = torch.eye(count).expand(*key.shape[:2], -1, -1)
    both = torch.cat([value, eye], -1)
    made = learner.tensor("masked_attention", query, key, both, mask, shape=both.shape)
    right = attention(query, key, both, attn_mask=mask)
    row = made[0, model.head, model.query.index, value.shape[-1] :]
    line = f"With everything hidden from it: {model.sentence(row)}"
    return Shown(f"Your masked attention in {model.where}", (line,), _largest(made, right))


def _torch_weights(learner: Learner) -> Shown:
    model = subject()
    module = model.attentions[model.layer]
    own = weights_of_layer(module)
    layer = torch.nn.MultiheadAttention(module.embed_dim, module.num_heads, batch_first=True).eval()
    state = {
        "in_proj_weight": torch.cat([own[f"w_{n}"] for n in "qkv"]),
        "in_proj_bias": torch.cat([own[f"b_{n}"] for n in "qkv"]),
        "out_proj.weight": own["w_o"],
        "out_proj.bias": own["b_o"],
    }
    layer.load_state_dict(state)
    made = learner("from_torch", dict(layer.state_dict()))
    unpacked = {
        f"{name}_proj.{kind}": made[f"{short}_{name}"]
        for name in "qkvo"
        for kind, short in (("weight", "w"), ("bias", "b"))
    }
    x = model.read()[None]
    with torch.no_grad():
        expected = layer(x, x, x, need_weights=False)[0]
        mine = torch.func.functional_call(module, unpacked, (x,))
    line = "A torch.nn.MultiheadAttention, and eyeline's layer with the weights that you unpacked:"
    title = f"Your weights of {model.name}, layer {model.layer}"
    return Shown(title, (line,), _largest(mine, expected))


def _cross(learner: Learner) -> Shown:
    model = subject()
    module = model.attentions[model.layer]
    x, memory = model.read(_SHORT)[None], model.read()[None]
    call = (x, memory, weights_of_layer(module), module.num_heads)
    made = learner.tensor("cross_attention", *call, shape=x.shape)
    with torch.no_grad():
        expected = module(x, memory)
    lines = (f"'{_SHORT}' ({x.shape[1]} tokens) asks the sentence ({memory.shape[1]} tokens).",)
    title = f"Your cross-attention with the weights of {model.name}, layer {model.layer}"
    return Shown(title, lines, _largest(made, expected))


def _sinusoids(learner: Learner) -> Shown:
    from eyeline.nn.positions import SinusoidalPositions

    made = learner.tensor("sinusoids", 64, 64, shape=(64, 64)).float()
    near = [float(made[32] @ made[32 + far]) for far in (0, 1, 4, 16)]
    values = ", ".join(f"{one:.1f}" for one in near)
    lines = (f"Position 32 · position 32, 33, 36, 48: {values}: near positions are alike.",)
    expected = SinusoidalPositions(64)(torch.arange(64))
    return Shown("Your positions in the Transformer of 2017", lines, _largest(made, expected))


def _rotary(learner: Learner) -> Shown:
    model = subject()
    query, key, _ = _vectors(model)
    positions = torch.arange(query.shape[-2])

    def scores(shift: int) -> Tensor:
        calls = [(query, positions + shift), (key, positions + shift)]
        turned = learner.tensors("rotate", calls, query.shape)
        return turned[0] @ turned[1].mT

    here, far = scores(0), scores(1000)
    lines = (
        f"All scores of '{SENTENCE}' at positions 0 … and at 1000 …:",
        "they are the same, for only distances count.",
    )
    share = _largest(here, far) / float(here.abs().max())
    lines += (f"Largest difference, as a share of the largest score: {share:.1g}",)
    return Shown(f"Your rotary positions on queries and keys of {model.where}", lines)


def _alibi(learner: Learner) -> Shown:
    model = subject()
    query, key, _ = _vectors(model)
    heads, count = query.shape[1], query.shape[2]
    power = 1 << (heads.bit_length() - 1)  # slopes are defined for powers of two
    bias = learner.tensor("alibi", power, count, count, shape=(power, count, count)).float()
    parts = (one[:, :power] for one in (query, key))
    scale = query.shape[-1] ** -0.5
    weights = (next(parts) @ next(parts).mT * scale + bias).softmax(-1)
    row = weights[0, model.head, model.query.index]
    line = f"With your bias instead of seeing both ways: {model.sentence(row)}"
    return Shown(f"Your ALiBi in {model.where}", (line,))


def _grouped(learner: Learner) -> Shown:
    model = subject()
    query, key, value = _vectors(model)
    groups = query.shape[1] // 2
    key, value = (one[:, ::2].contiguous() for one in (key, value))
    made = learner.tensor("grouped_attention", query, key, value, shape=query.shape)
    right = attention(query, key, value, enable_gqa=True)
    saved = key.numel() / query.numel()
    line = f"{query.shape[1]} query heads, {groups} key heads: a KV cache of {saved:.0%} the size."
    return Shown(f"Your grouped attention in {model.where}", (line,), _largest(made, right))


def _cache(learner: Learner) -> Shown:
    model = subject()
    query, key, value = _vectors(model)
    cache: Any = None
    outputs = []
    for i in range(query.shape[-2]):
        new = tuple(one[..., i : i + 1, :] for one in (query, key, value))
        answer = learner("cached_attention", *new, cache)
        outputs.append(answer[0])
        cache = tuple(answer[1])
    made = torch.cat(outputs, -2)
    right = attention(query, key, value, is_causal=True)
    line = f"{query.shape[-2]} tokens, one at a time, against all at once:"
    return Shown(f"Your KV cache in {model.where}", (line,), _largest(made, right))


def _online(learner: Learner) -> Shown:
    model = subject()
    query, key, value = _vectors(model)
    eye = torch.eye(key.shape[-2]).expand(*key.shape[:2], -1, -1)
    both = torch.cat([value, eye], -1)
    heads = [(q, k, v, 4) for q, k, v in zip(query[0], key[0], both[0], strict=True)]
    made = torch.stack(learner.tensors("online_attention", heads, both.shape[2:]))[None]
    row = made[0, model.head, model.query.index, value.shape[-1] :]
    right = attention(query, key, both)
    title = f"Your online softmax in {model.where}, blocks of 4 keys"
    return Shown(title, (model.sentence(row),), _largest(made, right))


def _block(learner: Learner) -> Shown:
    from functools import partial

    from eyeline.nn import EncoderBlock, FeedForward, LayerNorm, MultiHeadAttention

    model = subject()
    x = model.read()[None]
    width = x.shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        norm = partial(LayerNorm, width, 1e-5)
        feed = FeedForward(width, 4 * width, "gelu")
        ours = EncoderBlock(MultiHeadAttention(width, 4), feed, norm, norm_first=True).eval()
    first, second = (one for one in feed.modules() if isinstance(one, torch.nn.Linear))
    weights = weights_of_layer(ours.attention) | {
        "norm_1_gain": ours.attention_norm.weight,
        "norm_1_shift": ours.attention_norm.bias,
        "norm_2_gain": ours.feed_forward_norm.weight,
        "norm_2_shift": ours.feed_forward_norm.bias,
        "w_1": first.weight,
        "b_1": first.bias,
        "w_2": second.weight,
        "b_2": second.bias,
    }
    made = learner.tensor("block", x, weights, 4, 1e-5, shape=x.shape)
    with torch.no_grad():
        expected = ours(x)
    line = f"The vectors of {model.name}, through your block and through eyeline's:"
    return Shown("Your block beside eyeline.nn's", (line,), _largest(made, expected))


def _pooling(learner: Learner) -> Shown:
    model = subject()
    texts = (_SHORT, *_PAIRS)
    vectors = [model.read(text) for text in texts]
    longest = max(map(len, vectors))
    batch = torch.stack([torch.nn.functional.pad(v, (0, 0, 0, longest - len(v))) for v in vectors])
    lengths = torch.tensor([len(v) for v in vectors])
    shape = (len(texts), batch.shape[-1])
    pooled = torch.nn.functional.normalize(
        learner.tensor("mean_pool", batch, lengths, shape=shape), dim=-1
    )
    same, other = float(pooled[0] @ pooled[1]), float(pooled[0] @ pooled[2])
    lines = tuple(
        f"'{_SHORT}' and '{text}': similarity {value:.2f}"
        for text, value in zip(_PAIRS, (same, other), strict=True)
    )
    return Shown(f"Your pooling on the vectors of {model.name}", lines)


def _backward(learner: Learner) -> Shown:
    model = subject()
    parts = [one[0, model.head].detach() for one in _vectors(model)]
    leaves = [one.clone().requires_grad_() for one in parts]
    query, key, value = leaves
    output = (query @ key.T * query.shape[-1] ** -0.5).softmax(-1) @ value
    arriving = torch.zeros_like(output)
    arriving[model.query.index] = 1
    output.backward(arriving)
    made = learner("attention_backward", *parts, arriving)
    pairs = zip(made, (one.grad for one in leaves), strict=True)
    delta = max(_largest(mine, right) for mine, right in pairs if right is not None)
    line = f"The gradient that '{model.query.label}' sends back to its queries, keys and values:"
    return Shown(f"Your backward pass in {model.where}, against autograd", (line,), delta)


def _gpt2(learner: Learner) -> Shown:
    from eyeline.models.gpt2 import GPT2, GPT2Config
    from eyeline.models.saving import tensors_of

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes: dict[str, Any] = {"embed_dim": 64, "num_layers": 3, "num_heads": 4, "max_length": 64}
        network = GPT2(GPT2Config(vocab_size=100, init_std=0.15, **sizes)).eval()
    weights = {
        name.removeprefix("transformer."): tensor for name, tensor in tensors_of(network).items()
    }
    tokens = torch.arange(24).view(2, 12) * 3 % 100
    made = learner.tensor("gpt2_logits", tokens, weights, 4, shape=(2, 12, 100))
    with torch.no_grad():
        expected = network(tokens)
    line = "A GPT-2 of 3 layers with random weights, under the names of the real checkpoints:"
    return Shown("Your GPT-2 beside eyeline.models'", (line,), _largest(made, expected))


def _largest(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


REWARDS: dict[str, Callable[[Learner], Shown]] = {
    "causal_alignment": _alignment,
    "padding_mask": _padding,
    "fully_masked": _nothing,
    "mask_conventions": _conventions,
    "load_torch_weights": _torch_weights,
    "cross_attention": _cross,
    "sinusoids": _sinusoids,
    "rotary": _rotary,
    "alibi": _alibi,
    "grouped_queries": _grouped,
    "kv_cache": _cache,
    "online_softmax": _online,
    "block": _block,
    "pooling_and_loss": _pooling,
    "backward": _backward,
    "gpt2": _gpt2,
}
