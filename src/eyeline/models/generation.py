"""Writing: one token after the other, each read with what the earlier ones left in the cache.

greedy       the likeliest token                                temperature = 0
sampling     drawn from softmax(logits / temperature), among the top_k likeliest, or among the
             likeliest that together have the probability top_p
beam search  several texts at a time, of which the likeliest is given        see `_beams`
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eyeline import masks
from eyeline.nn import KVCache

__all__ = ["Choice", "Writer", "choose", "generate", "steps"]


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the likeliest; above, logits are divided by it and a token is drawn.
        top_k: Draw from the so many likeliest.
        top_p: Draw from the likeliest that together have this probability.
        seed: Of the draws; None draws differently each time.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature is 0 or above, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k counts tokens, at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is a probability above 0, up to 1, got {self.top_p}")

    def generator(self, device: torch.device) -> torch.Generator:
        """Where the draws come from."""
        made = torch.Generator(device)
        made.manual_seed(self.seed) if self.seed is not None else made.seed()
        return made


def choose(
    logits: Float[Tensor, "batch vocabulary"], choice: Choice, generator: torch.Generator
) -> Int[Tensor, " batch"]:
    """The next token of each text."""
    if choice.temperature == 0:
        return logits.argmax(-1)
    logits = logits.float() / choice.temperature
    if choice.top_k is not None and choice.top_k < logits.shape[-1]:
        least = logits.topk(choice.top_k, -1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if choice.top_p is not None and choice.top_p < 1:
        ordered, order = logits.sort(-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        # the token that crosses the border still belongs to those together
        ordered = ordered.masked_fill(before >= choice.top_p, -torch.inf)
        logits = torch.empty_like(logits).scatter(-1, order, ordered)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


class Writer:
    """Texts of a batch in the middle of being written.

    Args:
        network: One of eyeline's decoders, or encoder–decoders.
        prompts: Tokens that stand already; they may differ in length.
        source: What an encoder–decoder reads; may differ in length as well.
        room: Tokens that will come.
    """

    def __init__(
        self,
        network: Any,
        prompts: Sequence[Sequence[int]],
        source: Sequence[Sequence[int]] | None = None,
        room: int = 0,
    ) -> None:
        if not prompts or not all(len(p) for p in prompts):
            raise ValueError("every prompt needs at least one token")
        self.network = network
        self.device = next(network.parameters()).device
        pad = network.config.pad_token_id or 0
        self.tokens, starts = _padded(prompts, pad, left=True)
        self.tokens, longest = self.tokens.to(self.device), self.tokens.shape[1]
        self._starts = starts.to(self.device) if bool(starts.any()) else None
        layers = getattr(network, "blocks", None) or network.decoder
        self.cache = KVCache(len(layers), capacity=longest + room)
        self._read = network.hidden if source is None else self._translate(source, pad)

    def _translate(self, source: Sequence[Sequence[int]], pad: int) -> Any:
        tokens, _ = _padded(source, pad, left=False)
        lengths = [len(one) for one in source]
        mask = None
        if min(lengths) < max(lengths):
            mask = masks.padding(torch.tensor(lengths, device=self.device))
        memory = self.network.encode(tokens.to(self.device), attn_mask=mask)
        return partial(self.network.decode, memory=memory, memory_mask=mask)

    def read(self, tokens: Int[Tensor, "batch new"]) -> Float[Tensor, "batch vocabulary"]:
        """Read more tokens; logits of what follows them."""
        how: dict[str, Any] = {}
        if self._starts is not None:  # padding stands before the shorter prompts
            first = self.cache.length
            places = torch.arange(first, first + tokens.shape[1], device=self.device)
            end = first + tokens.shape[1]
            how["attn_mask"] = masks.padding(end - self._starts, self._starts)
            if hasattr(self.network, "hidden"):
                how["positions"] = (places - self._starts[:, None]).clamp(min=0)
        hidden = self._read(tokens, cache=self.cache, **how)
        return self.network.logits(hidden[:, -1])

    def select(self, rows: Int[Tensor, " batch"]) -> None:
        """Go on with these texts, in this order."""
        self.cache.select(rows)


def steps(
    network: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    choice: Choice = Choice(),
    *,
    source: Sequence[Sequence[int]] | None = None,
    stop: Sequence[int] = (),
) -> Iterator[Int[Tensor, " batch"]]:
    """The next token of every text, again and again, until all have stopped.

    Args:
        network: One of eyeline's decoders, or encoder–decoders.
        prompts: Tokens that stand already.
        max_new_tokens: At most so many steps.
        choice: How tokens are chosen.
        source: What an encoder–decoder reads.
        stop: Tokens that end a text; afterwards it gets the first of them again and again.
    """
    with torch.no_grad():
        writer = Writer(network, prompts, source, room=max_new_tokens)
        generator = choice.generator(writer.device)
        ends = torch.tensor(list(stop), device=writer.device, dtype=torch.long)
        over = torch.zeros(len(prompts), dtype=torch.bool, device=writer.device)
        new = writer.tokens
    for _ in range(max_new_tokens):
        with torch.no_grad():
            chosen = choose(writer.read(new), choice, generator)
            if len(ends):
                chosen = chosen.where(~over, ends[0])
                over |= torch.isin(chosen, ends)
        yield chosen
        if len(ends) and bool(over.all()):
            return
        new = chosen[:, None]


def generate(
    network: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    choice: Choice = Choice(),
    *,
    source: Sequence[Sequence[int]] | None = None,
    stop: Sequence[int] = (),
    num_beams: int = 1,
    length_penalty: float = 1.0,
) -> list[list[int]]:
    """The new tokens of every text, up to and with the one that ended it.

    Args:
        network: As in `steps`.
        prompts: As in `steps`.
        max_new_tokens: As in `steps`.
        choice: As in `steps`; beams take no draws.
        source: As in `steps`.
        stop: As in `steps`.
        num_beams: Keep so many texts at a time for each prompt, and give the likeliest.
        length_penalty: Beams are ranked by log-probability / length ** this.
    """
    if num_beams < 1:
        raise ValueError(f"num_beams counts texts, at least 1, got {num_beams}")
    if num_beams > 1:
        from eyeline.models._beams import beam_search

        if choice.temperature > 0:
            raise ValueError("beam search draws nothing: leave temperature at 0")
        return [
            beam_search(
                network,
                prompt,
                max_new_tokens,
                None if source is None else source[n],
                stop,
                num_beams,
                length_penalty,
            )
            for n, prompt in enumerate(prompts)
        ]
    rows = [
        s.tolist()
        for s in steps(network, prompts, max_new_tokens, choice, source=source, stop=stop)
    ]
    texts = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in prompts]
    return [_until(text, stop) for text in texts]


def _until(text: list[int], stop: Sequence[int]) -> list[int]:
    end = next((n for n, token in enumerate(text) if token in stop), len(text))
    return text[: end + 1]


def _padded(rows: Sequence[Sequence[int]], pad: int, *, left: bool) -> tuple[Tensor, Tensor]:
    """Rows of one length, and how much stands before each."""
    longest = max(len(row) for row in rows)
    filled = [
        [pad] * (longest - len(row)) + list(row)
        if left
        else list(row) + [pad] * (longest - len(row))
        for row in rows
    ]
    before = [longest - len(row) if left else 0 for row in rows]
    return torch.tensor(filled), torch.tensor(before)
