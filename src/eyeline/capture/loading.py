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
        """Tokens it can read at once; None where positions are not bounded (T5)."""
        config = self.config
        parts = [config, getattr(config, "text_config", None), getattr(config, "encoder", None)]
        names = ("max_position_embeddings", "n_positions", "n_ctx")
        bounds = (getattr(part, name, None) for part in parts for name in names)
        bound = next((b for b in bounds if isinstance(b, int) and b > 0), None)
        return None if bound is None else bound - _reserved_positions(self.network)

    @property
    def has_rotary_positions(self) -> bool:
        """Whether positions are computed rather than looked up, so that there is no last one."""
        return any(name.endswith("rotary_emb") for name, _ in self.network.named_modules())

    @property
    def num_layers(self) -> int | None:
        """Layers of its deepest stack; None where the configuration does not say."""
        config = self.config
        parts = [config, *(getattr(config, n, None) for n in ("text_config", "encoder", "decoder"))]
        names = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")
        counts = [getattr(part, name, None) for part in parts for name in names]
        return max((c for c in counts if isinstance(c, int)), default=None)


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
            network, info = auto.from_pretrained(
                folder,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        except Exception as error:  # whatever a foreign folder makes transformers stumble over
            raise CheckpointError(
                folder,
                "Hugging Face model",
                f"{type(error).__name__}: {_first_line(error)}",
                limit="config.json, *.safetensors and tokenizer.json that transformers can open",
            ) from None
    _check_complete(folder, network, info)
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


def _check_complete(folder: Path, network: Any, info: dict[str, Any]) -> None:
    """Refuse what lacks weights: transformers would put random numbers there."""
    missing = sorted(n for n in info["missing_keys"] if "pooler" not in n)  # which nothing reads
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise CheckpointError(
            folder,
            "weights",
            f"no {', '.join(missing[:3])}{more}",
            limit=f"every weight of a {type(network).__name__}",
            fix="fetch the model again, or correct `architectures` in its config.json",
        )


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else "no message"


def _reserved_positions(network: nn.Module) -> int:
    """RoBERTa and its kin count positions from behind the padding token's number."""
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0


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
