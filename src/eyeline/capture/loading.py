"""A Hugging Face folder as a model and its tokenizer."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from eyeline._errors import CheckpointError, EyelineError
from eyeline.models.cache import read_record

__all__ = ["Family", "LoadedModel", "load_huggingface"]

Family: TypeAlias = Literal["encoder", "masked", "causal", "seq2seq"]
"""What a model's head says: a vector per token, the masked token, the next token, a translation."""


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network, its tokenizer, and where both came from.

    Attributes:
        name: What the user called it.
        network: The Hugging Face model, in evaluation mode.
        tokenizer: Its fast tokenizer.
        family: What it predicts.
        source: Where the weights came from, in words.
    """

    name: str
    network: nn.Module
    tokenizer: Any
    family: Family
    source: str

    @property
    def config(self) -> Any:
        """The model's own configuration."""
        return self.network.config

    @property
    def limit(self) -> int | None:
        """Tokens it can read at once; None where positions are not bounded."""
        bound = getattr(self.config, "max_position_embeddings", None)
        bound = bound or getattr(self.config, "n_positions", None)
        # relative positions (T5) have no end; OPT and RoBERTa count positions from an offset
        if not isinstance(bound, int) or getattr(self.config, "model_type", "") == "t5":
            return None
        return bound - 2 if getattr(self.config, "model_type", "") == "roberta" else bound


def load_huggingface(folder: Path, name: str) -> LoadedModel:
    """Load a folder in Hugging Face layout; safetensors only, nothing is downloaded or executed.

    Raises:
        EyelineError: transformers is not installed.
        CheckpointError: The folder does not hold what transformers needs.
    """
    try:
        import transformers
    except ImportError:
        raise EyelineError(
            "Hugging Face models need transformers: pip install 'eyeline[hf]'"
        ) from None
    options = {"local_files_only": True, "trust_remote_code": False}
    with _quiet(transformers):
        try:
            config = transformers.AutoConfig.from_pretrained(folder, **options)
            family = _family(config)
            auto = {
                "encoder": transformers.AutoModel,
                "masked": transformers.AutoModelForMaskedLM,
                "causal": transformers.AutoModelForCausalLM,
                "seq2seq": transformers.AutoModelForSeq2SeqLM,
            }[family]
            network = auto.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, **options
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise CheckpointError(
                folder,
                "Hugging Face model",
                f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
                limit="config.json, *.safetensors and tokenizer.json that transformers can open",
            ) from None
    if not tokenizer.is_fast:
        raise CheckpointError(
            folder, "tokenizer", "no tokenizer.json", limit="a fast tokenizer, for exact offsets"
        )
    return LoadedModel(name, network.eval(), tokenizer, family, _source(folder))


def _family(config: Any) -> Family:
    architecture = (getattr(config, "architectures", None) or [""])[0]
    if getattr(config, "is_encoder_decoder", False):
        return "seq2seq"
    if architecture.endswith("ForMaskedLM"):
        return "masked"
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "causal"
    return "encoder"


def _source(folder: Path) -> str:
    record = read_record(folder)
    return str(folder) if record is None else f"{record.origin} {record.version}, {record.weights}"


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and advice from transformers: what matters is raised."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
