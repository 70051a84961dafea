"""A recipe: what a model is trained on, how, and how well it did. The loop is in `loop`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from eyeline.models.loaded import Family
from eyeline.models.tokenizer import TextTokenizer

__all__ = ["Batch", "Recipe", "Result", "Settings"]


@dataclass(frozen=True)
class Settings:
    """The numbers of a training run.

    Attributes:
        steps: Updates of the parameters.
        learning_rate: The highest; it rises over `warmup` steps and falls along a half cosine.
        warmup: Steps until the learning rate is at its highest.
        last_rate: Where it ends, as a share of the highest.
        weight_decay: Of matrices; vectors (norms, biases) do not decay.
        betas: Of AdamW.
        optimizer: "adamw"; "muon": for the matrices between layers (`optimizers`).
        clip: Gradients are scaled down to this norm.
        average: Share of the old in the running average of parameters that is kept as the result,
            one step at a time; 0 keeps the parameters themselves.
        check_every: Steps between looks at held-out data.
        save_every: Steps between checkpoints.
        precision: "float32"; "bfloat16": matrix products in it (autocast), parameters and sums in
            float32; "auto": bfloat16 where the processor has instructions for it.
        patience: Checks without a better one until training ends early; None never does.
        seed: Of everything that is drawn.
    """

    steps: int
    learning_rate: float
    warmup: int = 500
    last_rate: float = 0.02
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    average: float = 0.999
    check_every: int = 500
    save_every: int = 250
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    patience: int | None = None
    seed: int = 1
    optimizer: Literal["adamw", "muon"] = "adamw"


class Batch(NamedTuple):
    """Some examples.

    Attributes:
        tensors: What `Recipe.loss` takes; the first dimension of each counts examples.
        count: Predicted tokens: the loss is a mean over them.
    """

    tensors: tuple[Tensor, ...]
    count: int


class Result(NamedTuple):
    """One line of the table at the end."""

    what: str
    value: float
    unit: str = ""
    note: str = ""


class Recipe(ABC):
    """What is to be learnt from what. Nothing here knows of optimizers, files or processes.

    Attributes:
        name: The name of the model.
        settings: The numbers of the run.
        family: What the model says: "causal", "masked", "seq2seq".
        licence: Licence of the data, and so of the weights.
    """

    name: ClassVar[str]
    family: ClassVar[Family]
    licence: ClassVar[str]
    settings: Settings

    @abstractmethod
    def prepare(self) -> None:
        """Get the data (fetched once, then from the cache), and cut off what is held out."""

    @abstractmethod
    def tokenizer(self) -> TextTokenizer:
        """Text to tokens; may need the data."""

    @abstractmethod
    def network(self) -> nn.Module:
        """A fresh network; initialised from torch's generator."""

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """The examples of a step: a function of the step and the seed alone."""

    @abstractmethod
    def loss(self, network: Any, batch: Batch) -> Tensor:
        """Sum over the batch's predicted tokens of their loss, in nats."""

    @abstractmethod
    def check(self, network: Any) -> dict[str, float]:
        """How the network does on held-out data; the first number is the one to make small."""

    @abstractmethod
    def evaluate(self, network: Any) -> Sequence[Result]:
        """The table at the end."""

    @abstractmethod
    def card(self) -> str:
        """What one must know about the model: data, licence, recipe (Markdown)."""
