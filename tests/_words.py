"""Tiny models whose tokens are words of a fixed list: the same numbers in every process.

(A tokenizer that is trained numbers pieces of equal frequency as chance has it.)
"""

import tokenizers as tk
import transformers as hf
from tokenizers import models, pre_tokenizers, processors

import _tiny_models as tiny
from eyeline.capture.loading import HuggingFaceModel, LoadedModel

WORDS = "the cat sat on mat and it was tired dog animal street because".split()


def loaded(family: str) -> LoadedModel:
    """A network of `_tiny_models` that reads words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: n for n, word in enumerate([*special, *WORDS])}
    made = tk.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    if family in tiny.ENCODERS:
        pieces = [("[CLS]", 2), ("[SEP]", 3)]
        made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, pieces)
        names |= {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=made, **names)
    kind = "encoder" if family == "bert" else "causal"
    return HuggingFaceModel(f"{family}-words", tiny.network(family), tokenizer, kind, "tests")
