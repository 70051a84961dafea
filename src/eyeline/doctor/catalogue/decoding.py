"""Reading a text in pieces with a cache of keys and values: the same as reading it at once.

Chunk after chunk comes, for example 3 tokens (the prompt), 1, 1, 2; each sees all earlier ones.
"""

import torch
from torch import Tensor

from eyeline.doctor.recipe import Recipe, State

__all__ = ["DECODING"]

DECODING = Recipe(
    "decoding",
    "with a cache, chunk by chunk, what causal attention gives on the whole text",
    result="output",
    signature="f(query, key, value, cache) → (output, cache)",
)


def attend(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor, scale: float) -> Tensor:
    """Scaled dot-product attention; rows that see nothing give NaN."""
    scores = (query @ key.transpose(-2, -1) * scale).masked_fill(~allowed, -torch.inf)
    return torch.softmax(scores, -1) @ value


@DECODING.step
def kept(s: State) -> State:
    """For each chunk, which tokens' keys and values are there (by index)."""
    return [torch.arange(stop) for _, stop in s.chunks]


@DECODING.step
def allowed(s: State) -> State:
    """For each chunk, [queries, keys that are there]: the past and the token itself."""
    return [lower(stop - start, len(there), start) for (start, stop), there in pairs(s)]


@DECODING.step
def context(s: State) -> State:
    """The chunks' outputs one after the other: [batch, heads, length, width]."""
    outputs = [
        attend(s.query[:, :, start:stop], s.key[:, :, there], s.value[:, :, there], seen, s.scale)
        for ((start, stop), there), seen in zip(pairs(s), s.allowed, strict=True)
    ]
    return torch.cat(outputs, 2)


@DECODING.step
def output(s: State) -> State:
    """Of a module: heads side by side, times W_O."""
    if s.w_output is None:
        return s.context
    flat = s.context.transpose(1, 2).flatten(2) @ s.w_output.T
    return flat if s.b_output is None else flat + s.b_output


def pairs(s: State) -> list[tuple[tuple[int, int], Tensor]]:
    """Each chunk with what is kept when it comes."""
    return list(zip(s.chunks, s.kept, strict=True))


def lower(rows: int, cols: int, offset: int) -> Tensor:
    """True where the key's place is at most the query's."""
    return torch.ones(rows, cols, dtype=torch.bool).tril(offset)


# -- what is kept --------------------------------------------------------------------------------


@DECODING.mistake(
    "kept",
    "only the newest keys kept",
    seen="cache = (key, value)  # instead of torch.cat with what was there",
    symptom="Each new token sees only itself.",
    fix="What is in the cache after the second call?",
    also={"allowed": lambda s: [lower(stop - start, stop - start, 0) for start, stop in s.chunks]},
)
def _(s: State) -> State:
    return [torch.arange(start, stop) for start, stop in s.chunks]


@DECODING.mistake(
    "kept",
    "new keys never appended",
    seen="output = attend(query, *cache)  # cache still holds the prompt alone",
    symptom="The prompt is read well; generated tokens are forgotten at once.",
    fix="How long is the cache after ten tokens?",
)
def _(s: State) -> State:
    return [torch.arange(s.chunks[0][1]) for _ in s.chunks]


@DECODING.mistake(
    "kept",
    "keys appended one step too late",
    seen="output = attend(query, *cache); cache = append(cache, key, value)",
    symptom="A token sees everything but itself (and those of its own chunk).",
    fix="May a token look at itself? When does its key enter the cache?",
)
def _(s: State) -> State:
    return [torch.arange(start if start else stop) for start, stop in s.chunks]


@DECODING.mistake(
    "kept",
    "prompt counted twice",
    seen="cache = prefill(prompt); output = step(prompt[-1:], cache)  # the last token is there",
    symptom="The first generated word is slightly wrong, and everything after it.",
    fix="How many keys are there before the first new token: as many as the prompt has tokens?",
    source="tiny-llm#46",
    also={
        "allowed": lambda s: [
            lower(stop - start, len(there), len(there) - (stop - start))
            for (start, stop), there in pairs(s)
        ]
    },
)
def _(s: State) -> State:
    prompt = torch.arange(s.chunks[0][1])
    return [
        torch.arange(stop) if start == 0 else torch.cat([prompt, torch.arange(stop)])
        for start, stop in s.chunks
    ]


@DECODING.mistake(
    "kept",
    "new keys put in front",
    seen="key = torch.cat([key, cache.key], dim=2)",
    symptom="Token by token it is right (order does not matter); chunks of several are wrong.",
    fix="Which key is last when a causal mask is laid over them?",
)
def _(s: State) -> State:
    found, order = [], torch.arange(0)
    for start, stop in s.chunks:
        order = torch.cat([torch.arange(start, stop), order])
        found.append(order)
    return found


@DECODING.mistake(
    "kept",
    "the oldest token dropped",
    seen="key = torch.cat([cache.key[:, :, 1:], key], dim=2)",
    symptom="The start of the text is forgotten, attention sink included.",
    fix="How long is the cache after ten tokens?",
    also={
        "allowed": lambda s: [
            lower(stop - start, len(there), len(there) - (stop - start))
            for (start, stop), there in pairs(s)
        ]
    },
)
def _(s: State) -> State:
    return [torch.arange(turn, stop) for turn, (_, stop) in enumerate(s.chunks)]


# -- who may look where --------------------------------------------------------------------------


@DECODING.mistake(
    "allowed",
    "mask aligned top left",
    seen="F.scaled_dot_product_attention(q, cache.key, cache.value, is_causal=True)",
    symptom="The newest token sees only the first one.",
    fix="At which position does the first query of this chunk stand?",
    source="pytorch#108108; SDPA with one query and five keys returns the first value",
)
def _(s: State) -> State:
    return [lower(stop - start, len(there), 0) for (start, stop), there in pairs(s)]


@DECODING.mistake(
    "allowed",
    "no mask inside a chunk",
    seen="output = attend(query, key, value)  # “one query needs no mask”",
    symptom="Right token by token; in the prompt every token sees those after it.",
    fix="What of a chunk of several tokens?",
)
def _(s: State) -> State:
    return [torch.ones(stop - a, len(there), dtype=torch.bool) for (a, stop), there in pairs(s)]


@DECODING.mistake(
    "allowed",
    "mask not extended beyond the prompt",
    seen="scores[..., prompt_len:] = -inf  # the mask of the prompt, padded with False",
    symptom="Generated tokens are never looked at.",
    fix="How long is the mask when the cache has grown?",
)
def _(s: State) -> State:
    prompt = s.chunks[0][1]
    return [
        lower(stop - start, len(there), start) & (torch.arange(len(there)) < prompt)
        for (start, stop), there in pairs(s)
    ]


@DECODING.mistake(
    "allowed",
    "one key of the future seen",
    seen="torch.tril(ones(n, past + n), diagonal=past + 1)",
    symptom="In a chunk each token sees the one after it.",
    fix="How far does the first query of a chunk see: past, or past + 1?",
)
def _(s: State) -> State:
    return [lower(stop - start, len(there), start + 1) for (start, stop), there in pairs(s)]


@DECODING.mistake(
    "context",
    "values of the newest chunk only",
    seen="cache.key = torch.cat([cache.key, key], 2); cache.value = value.expand_as(cache.key)",
    symptom="Weights are right, but every token gives the newest value.",
    fix="Do keys and values grow together?",
)
def _(s: State) -> State:
    outputs = []
    for ((start, stop), there), seen in zip(pairs(s), s.allowed, strict=True):
        value = s.value[:, :, stop - 1 : stop].expand(-1, -1, len(there), -1)
        query = s.query[:, :, start:stop]
        outputs.append(attend(query, s.key[:, :, there], value, seen, s.scale))
    return torch.cat(outputs, 2)


@DECODING.mistake(
    "context",
    "not scaled",
    seen="weights = softmax(q @ cache.key.transpose(-2, -1), -1)",
    symptom="Generates other words than the same model without a cache.",
    fix="Is each line of the path with a cache also in the one without?",
)
def _(s: State) -> State:
    outputs = [
        attend(s.query[:, :, start:stop], s.key[:, :, there], s.value[:, :, there], seen, 1.0)
        for ((start, stop), there), seen in zip(pairs(s), s.allowed, strict=True)
    ]
    return torch.cat(outputs, 2)
