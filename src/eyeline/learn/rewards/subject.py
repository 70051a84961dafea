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
        head: The head that is shown: in MiniLM, the one that finds what "it" means.
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
    """MiniLM if it is on this machine, else a small BERT of ours with random weights."""
    from eyeline.models import cached

    if any(model.name == "minilm" for model in cached()):
        return _minilm()
    return _small()


def _minilm() -> Subject:
    from eyeline.readings import load
    from eyeline.tokens import read_tokens

    loaded = load("minilm")
    encoding = loaded.encode(SENTENCE)
    return Subject(
        "MiniLM",
        loaded.network,
        lambda ids, mask: loaded.network(ids, attn_mask=mask),
        lambda text: list(loaded.encode(text)["input_ids"]),
        read_tokens(SENTENCE, encoding, loaded.tokenizer),
        layer=3,
        head=1,
    )


def _small() -> Subject:
    from eyeline.models.bert import Bert, BertConfig

    words: dict[str, int] = {}

    def ids(text: str) -> list[int]:
        return [words.setdefault(word, len(words)) for word in text.split()]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes: dict[str, Any] = {
            "embed_dim": 96,
            "num_layers": 2,
            "num_heads": 4,
            "hidden_dim": 192,
        }
        config = BertConfig(vocab_size=64, max_length=64, masked_lm=False, init_std=0.2, **sizes)
        network = Bert(config).eval()
    pieces = SENTENCE.split()
    tokens = [
        Token(i, n, w, w, 0, 0, False)
        for i, (n, w) in enumerate(zip(ids(SENTENCE), pieces, strict=True))
    ]
    name = "a small BERT with random weights"
    return Subject(name, network, lambda i, mask: network(i, attn_mask=mask), ids, tokens, 1, 0)


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
