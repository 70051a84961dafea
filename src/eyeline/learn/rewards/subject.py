"""The model in which a learner's code runs, and the sentence that it reads."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from eyeline.looks import Look
from eyeline.nn import MultiHeadAttention
from eyeline.nn.watched import Kind, Watched
from eyeline.tokens import Token

__all__ = ["SENTENCE", "Subject", "attending", "subject"]

SENTENCE = "The animal didn't cross the street because it was tired"
_QUERY = "it"

Attend = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""Query, key, value `[heads, length, head_dim]` and scale to the output, shaped as value."""


@dataclass(frozen=True)
class Subject:
    """A model with a text.

    Attributes:
        name: Its name, with what it is.
        network: The network.
        run: Reads the token numbers `[batch, length]`, with an attention mask or None.
        ids: Token numbers of a text.
        tokens: The tokens of the pronoun sentence.
        layer: The layer that is shown.
        head: The head that is shown: the one that finds what "it" means.
    """

    name: str
    network: nn.Module
    run: Callable[[Tensor, Any], Tensor]
    ids: Callable[[str], list[int]]
    tokens: Sequence[Token]
    layer: int
    head: int

    @property
    def attentions(self) -> list[MultiHeadAttention]:
        """Its attention layers in order."""
        return [one for one in self.network.modules() if isinstance(one, MultiHeadAttention)]

    @property
    def query(self) -> Token:
        """The pronoun."""
        return next(token for token in self.tokens if token.label == _QUERY)

    def read(self, text: str = SENTENCE) -> Tensor:
        """The vectors `[length, width]` that it makes of a text."""
        with torch.no_grad():
            return self.run(torch.tensor([self.ids(text)]), None)[0]

    def sentence(self, row: Tensor) -> str:
        """A row of weights in words."""
        keys = self.tokens
        look = Look(self.query, "encoder", (self.layer,), (self.head,), keys, row[None, None])
        return look.sentence()

    @property
    def where(self) -> str:
        """The head that is shown, in words."""
        return f"{self.name}, layer {self.layer}, head {self.head}"


@cache
def subject() -> Subject:
    """MiniLM if it is on this machine, else tiny-bert, which is built in."""
    from eyeline.models import cached

    if any(model.name == "minilm" for model in cached()):
        return _of("minilm", "MiniLM", layer=3, head=1)
    return tiny_bert()


def tiny_bert() -> Subject:
    """The built-in one, and its head that looks from the pronoun at the noun."""
    return _of("tiny-bert", "tiny-bert", layer=0, head=2)


def _of(name: str, title: str, layer: int, head: int) -> Subject:
    from eyeline.readings import load
    from eyeline.tokens import read_tokens

    loaded = load(name)
    encoding = loaded.encode(SENTENCE)
    return Subject(
        title,
        loaded.network,
        lambda ids, mask: loaded.network(ids, attn_mask=mask),
        lambda text: list(loaded.encode(text)["input_ids"]),
        read_tokens(SENTENCE, encoding, loaded.tokenizer),
        layer,
        head,
    )


@contextmanager
def attending(subject: Subject, attend: Attend, *layers: int) -> Iterator[None]:
    """While it lasts, the model's attention is `attend`.

    Args:
        subject: The model.
        attend: What attends instead, for one sentence.
        layers: In these layers only; default: in all.
    """

    def observe(
        module: nn.Module, vectors: tuple[Tensor, ...], again: Any, kind: Kind, call: dict[str, Any]
    ) -> Tensor:
        query, key, value = (one[0] for one in vectors)
        scale = call.get("scale") or query.shape[-1] ** -0.5
        return attend(query, key, value, scale)[None]

    every = subject.attentions
    chosen: list[Watched] = [every[layer] for layer in layers] if layers else list(every)
    for module in chosen:
        module.observers = (*module.observers, observe)
    try:
        yield
    finally:
        for module in chosen:
            module.observers = module.observers[:-1]
