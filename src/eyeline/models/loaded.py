"""A network, its tokenizer, and where both came from: what `eyeline.load` gives."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

__all__ = ["Family", "LoadedModel"]

Family: TypeAlias = Literal["encoder", "masked", "causal", "seq2seq"]
"""What a model's head says: a vector per token, the masked token, the next token, a translation."""


@dataclass(frozen=True, eq=False, repr=False)
class LoadedModel(ABC):
    """A network, its tokenizer, and where both came from.

    Attributes:
        name: What the user called it.
        network: The network, in evaluation mode.
        tokenizer: Its tokenizer.
        family: What it predicts.
        source: Where the weights came from, in words.
    """

    name: str
    network: Any
    tokenizer: Any
    family: Family
    source: str

    @property
    def config(self) -> Any:
        """The network's own configuration."""
        return self.network.config

    @property
    @abstractmethod
    def limit(self) -> int | None:
        """Tokens it can read at once; None where positions are not bounded (T5)."""

    @property
    @abstractmethod
    def num_layers(self) -> int | None:
        """Layers of its deepest stack; None where that is not known."""

    @property
    @abstractmethod
    def end_ids(self) -> tuple[int, ...]:
        """Numbers of the tokens that end a text."""

    @abstractmethod
    def encode(self, text: str, *, truncate: bool = False) -> Any:
        """The tokens of a text: "input_ids", "offset_mapping" and "special_tokens_mask".

        Args:
            text: The text.
            truncate: Leave out what is beyond `limit`.
        """

    @abstractmethod
    def inputs(self, encoding: Any) -> dict[str, Any]:
        """What the network reads, from an encoding."""

    @abstractmethod
    def target_ids(self, text: str) -> list[int]:
        """The decoder's tokens for a text, the start token and the end token included."""

    @abstractmethod
    def with_target(self, inputs: dict[str, Any], ids: Sequence[int]) -> dict[str, Any]:
        """The inputs, and what the decoder reads."""

    @property
    @abstractmethod
    def has_rotary_positions(self) -> bool:
        """Whether positions are computed rather than looked up, so that there is no last one."""

    @abstractmethod
    def run(self, inputs: dict[str, Any], *, last: bool = False) -> Float[Tensor, "length width"]:
        """Read one text: logits of each token, or vectors of an encoder.

        Args:
            inputs: What `inputs` gives.
            last: Where the model says what comes next, only what comes after the last token: one
                row. The logits of 8,192 tokens of SmolLM2 take 1.6 GB.
        """

    @abstractmethod
    def continuing(self) -> Callable[[Sequence[int]], Float[Tensor, " vocabulary"]]:
        """A decoder in the middle of a text: called with more tokens, logits of what follows.

        What it has read stays in a cache of keys and values.
        """

    @abstractmethod
    def write(self, inputs: dict[str, Any], count: int) -> list[int]:
        """What an encoder–decoder writes, greedily: the start token, and at most so many more."""

    @abstractmethod
    def stream(
        self,
        text: str,
        max_new_tokens: int = 20,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """The continuation of a text (a translation, of an encoder–decoder), piece by piece.

        Args:
            text: What is read.
            max_new_tokens: At most so many tokens.
            temperature: 0 takes the likeliest token; above, tokens are drawn, higher is wilder.
            top_k: Draw from the so many likeliest tokens.
            top_p: Draw from the likeliest tokens that together have this probability.
            seed: Of the draws.

        Raises:
            EyelineError: The model writes nothing, or the text is too long.
        """

    @abstractmethod
    def generate(
        self,
        text: str,
        max_new_tokens: int = 20,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        num_beams: int = 1,
        length_penalty: float = 1.0,
        seed: int | None = None,
    ) -> str:
        """The continuation of a text (a translation, of an encoder–decoder).

        Args:
            text: What is read.
            max_new_tokens: At most so many tokens.
            temperature: 0 takes the likeliest token; above, tokens are drawn, higher is wilder.
            top_k: Draw from the so many likeliest tokens.
            top_p: Draw from the likeliest tokens that together have this probability.
            num_beams: Keep so many texts at a time, and give the likeliest (beam search).
            length_penalty: Beams are ranked by log-probability / length ** this.
            seed: Of the draws.

        Raises:
            EyelineError: The model writes nothing, or the text is too long.
        """

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self.network.parameters())
        kind = type(self.network)
        whose = (
            "eyeline" if kind.__module__.startswith("eyeline.") else kind.__module__.split(".")[0]
        )
        says = {
            "encoder": "a vector for each token",
            "masked": "what stands at masked tokens",
            "causal": "what comes next",
            "seq2seq": "another text",
        }[self.family]
        dtype = str(next(self.network.parameters()).dtype).removeprefix("torch.")
        limit = "any length" if self.limit is None else f"up to {self.limit} tokens"
        return "\n".join(
            (
                f"{self.name}: {kind.__name__} of {whose}, {count / 1e6:.1f} M parameters, {dtype}",
                f"  says       {says}; {self.num_layers} layers, {limit}",
                f"  tokenizer  {len(self.tokenizer)} tokens",
                f"  from       {self.source}",
            )
        )
