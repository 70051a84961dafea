"""Models: five Transformers to read and run, real ones by a short name, and what `--model X` means.

    Transformer     Vaswani et al. 2017        transformer.py
    Bert            Devlin et al. 2018         bert.py
    GPT2            Radford et al. 2019        gpt2.py
    T5              Raffel et al. 2019         t5.py
    Llama           Touvron et al. 2023        llama.py

Each file can be read alone. Nothing here ever loads a pickle or runs what a checkpoint brings. The
networks' names come in when they are first used, so that the catalogue needs no torch.
"""

import importlib
from typing import TYPE_CHECKING

from eyeline.models.built_in import BUILT_IN, BuiltIn
from eyeline.models.cache import Cached, Record, cached
from eyeline.models.catalogue import CATALOGUE, Entry
from eyeline.models.fetch import get
from eyeline.models.resolve import resolve

if TYPE_CHECKING:
    from eyeline.models.bert import Bert as Bert
    from eyeline.models.bert import BertConfig as BertConfig
    from eyeline.models.gpt2 import GPT2 as GPT2
    from eyeline.models.gpt2 import GPT2Config as GPT2Config
    from eyeline.models.llama import Llama as Llama
    from eyeline.models.llama import LlamaConfig as LlamaConfig
    from eyeline.models.loaded import LoadedModel as LoadedModel
    from eyeline.models.t5 import T5 as T5
    from eyeline.models.t5 import T5Config as T5Config
    from eyeline.models.transformer import Transformer as Transformer
    from eyeline.models.transformer import TransformerConfig as TransformerConfig

_HOME = {
    "Bert": "bert",
    "BertConfig": "bert",
    "GPT2": "gpt2",
    "GPT2Config": "gpt2",
    "Llama": "llama",
    "LlamaConfig": "llama",
    "LoadedModel": "loaded",
    "T5": "t5",
    "T5Config": "t5",
    "Transformer": "transformer",
    "TransformerConfig": "transformer",
}

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "BUILT_IN",
    "CATALOGUE",
    "GPT2",
    "T5",
    "Bert",
    "BertConfig",
    "BuiltIn",
    "Cached",
    "Entry",
    "GPT2Config",
    "Llama",
    "LlamaConfig",
    "LoadedModel",
    "Record",
    "T5Config",
    "Transformer",
    "TransformerConfig",
    "cached",
    "get",
    "resolve",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'eyeline.models' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"eyeline.models.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
