"""A text written token by token, with what each new token was written after looking at."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from eyeline._errors import EyelineError
from eyeline.capture import watch
from eyeline.capture.loading import LoadedModel
from eyeline.capture.pacing import Tick, paced
from eyeline.maps import AttentionMap
from eyeline.tokens import Token, ids_to_tokens

__all__ = ["NewToken", "generate", "sample"]


@dataclass(frozen=True, eq=False)
class NewToken:
    """One token that the model wrote.

    Attributes:
        token: The token; its index counts the prompt's tokens.
        probability: What it had after temperature and top-p.
        candidates: The likeliest tokens at this place and their probabilities before both.
        layers: Numbers of the layers.
        weights: What it was written after looking at: the weights of the last token before it, over
            all tokens so far, from the cache.
        is_end: Whether it ends the text.
    """

    token: Token
    probability: float
    candidates: tuple[tuple[str, float], ...]
    layers: tuple[int, ...]
    weights: Float[Tensor, "layers heads kv_len"]
    is_end: bool

    def row(self, layer: int | None = None, head: int | None = None) -> Float[Tensor, " kv_len"]:
        """What was looked at: in one head, or the mean over a layer's heads or over all."""
        chosen = self.weights if layer is None else self.weights[[self.layers.index(layer)]]
        heads = slice(None) if head is None else slice(head, head + 1)
        return chosen[:, heads].double().mean((0, 1))


def generate(
    loaded: LoadedModel,
    text: str,
    *,
    max_new_tokens: int = 20,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int | None = None,
    tick: Tick | None = None,
) -> Iterator[NewToken]:
    """Let a decoder write on, one token at a time.

    Args:
        loaded: The model.
        text: What it continues.
        max_new_tokens: How many tokens at most.
        temperature: Divides the logits; 0 always takes the likeliest token.
        top_p: Only the likeliest tokens that together have this probability (nucleus sampling,
            Holtzman et al. 2020, arXiv:1904.09751).
        seed: The same seed gives the same text; None draws one.
        tick: Called before each layer; it may raise to stop the model.

    Raises:
        EyelineError: The model is no decoder, a setting is out of range, or the text is too long.
    """
    if loaded.family != "causal":
        raise EyelineError(
            f"{loaded.name} does not write on: it is no decoder; choose one, such as smollm2"
        )
    if not (0 <= temperature < 100 and 0 < top_p <= 1 and max_new_tokens >= 1):
        raise EyelineError(
            f"temperature={temperature}, top_p={top_p}, max_new_tokens={max_new_tokens}: "
            "wanted are a temperature from 0, 0 < top_p ≤ 1 and at least 1 token"
        )
    ids = list(loaded.encode(text)["input_ids"])
    if not ids:
        raise EyelineError(f"{loaded.name} finds no token in this text: give at least one word")
    limit = loaded.limit
    if limit is not None and len(ids) + max_new_tokens > limit:
        raise EyelineError(
            f"{len(ids)} tokens and {max_new_tokens} new ones are more than the {limit} "
            f"that {loaded.name} reads: shorten the text"
        )
    return _steps(loaded, ids, max_new_tokens, (temperature, top_p), seed, tick)


def _steps(
    loaded: LoadedModel,
    ids: list[int],
    count: int,
    settings: tuple[float, float],
    seed: int | None,
    tick: Tick | None,
) -> Iterator[NewToken]:
    draws = torch.Generator()
    draws.seed() if seed is None else draws.manual_seed(seed)
    ends, go_on, fed = loaded.end_ids, loaded.continuing(), list(ids)
    for _ in range(count):
        with torch.no_grad(), paced(loaded.network, tick), watch(loaded.network) as maps:
            logits = go_on(fed).double()
        chosen, probability = sample(logits, *settings, draws)
        ids.append(chosen)
        records = maps.records.values()
        yield NewToken(
            ids_to_tokens(ids, loaded.tokenizer)[-1],
            probability,
            _candidates(logits, loaded),
            tuple(record.layer for record in records),
            torch.stack([_row(record.map, len(ids) - 1) for record in records]),
            chosen in ends,
        )
        if chosen in ends:
            return
        fed = [chosen]


def sample(
    logits: Float[Tensor, " vocabulary"],
    temperature: float,
    top_p: float,
    draws: torch.Generator,
) -> tuple[int, float]:
    """A token's number and the probability that it was drawn with."""
    if temperature == 0:
        return int(logits.argmax()), 1.0
    shares = (logits / temperature).softmax(-1)
    order = torch.sort(shares, descending=True, stable=True)
    before = order.values.cumsum(0) - order.values
    kept = order.values.masked_fill(before >= top_p, 0)
    kept = kept / kept.sum()
    place = int(torch.multinomial(kept, 1, generator=draws))
    return int(order.indices[place]), float(kept[place])


def _candidates(
    logits: Tensor, loaded: LoadedModel, count: int = 6
) -> tuple[tuple[str, float], ...]:
    top = logits.softmax(-1).topk(count)
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return tuple((loaded.tokenizer.decode([i]), p) for i, p in pairs)


def _row(seen: AttentionMap, length: int) -> Tensor:
    """The last query's weights over all tokens; a window's cache holds the last ones alone."""
    row = seen[0, :, -1]
    return torch.nn.functional.pad(row, (length - row.shape[-1], 0))
