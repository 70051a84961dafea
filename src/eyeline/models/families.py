"""Which of eyeline's networks a config.json is of."""

import importlib
from collections.abc import Collection
from typing import Any

from torch import nn

from eyeline.models._config import Config, Unsupported, architecture_of
from eyeline.models.loaded import Family

__all__ = ["FAMILIES", "family_of", "network_class", "read_config"]

# model_type → module, network, config
FAMILIES = {
    "bert": ("eyeline.models.bert", "Bert", "BertConfig"),
    "eyeline-transformer": ("eyeline.models.transformer", "Transformer", "TransformerConfig"),
    "gpt2": ("eyeline.models.gpt2", "GPT2", "GPT2Config"),
    "llama": ("eyeline.models.llama", "Llama", "LlamaConfig"),
    "t5": ("eyeline.models.t5", "T5", "T5Config"),
}
_PAIRS = ("eyeline-transformer", "t5")
_LANGUAGE_MODELS = ("GPT2LMHeadModel", "LlamaForCausalLM", "BertLMHeadModel")


def read_config(content: dict[str, Any], names: Collection[str]) -> Config:
    """The config of one of eyeline's networks.

    Args:
        content: What config.json says.
        names: Names of the checkpoint's tensors.

    Raises:
        ConfigError: A value is not of its kind, or absurd.
        Unsupported: Our networks cannot be that; transformers may.
    """
    kind = content.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise Unsupported(f"the architecture {kind!r}")
    if content.get("quantization_config"):
        raise Unsupported("weights that were quantised")
    module, _, name = FAMILIES[kind]
    return getattr(importlib.import_module(module), name).from_json(content, names)


def network_class(config: Config) -> type[nn.Module]:
    """The network that has such a config."""
    module, name, _ = FAMILIES[config.MODEL_TYPE]
    return getattr(importlib.import_module(module), name)


def family_of(config: Config, content: dict[str, Any]) -> Family:
    """What the model says, by its config.json."""
    if config.MODEL_TYPE in _PAIRS:
        return "seq2seq"
    if getattr(config, "masked_lm", False) and not getattr(config, "is_causal", False):
        return "masked"
    return "causal" if architecture_of(content) in _LANGUAGE_MODELS else "encoder"
