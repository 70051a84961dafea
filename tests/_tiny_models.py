"""Tiny models with fixed random weights, as Hugging Face folders.

`folder("gpt2")` holds config.json, model.safetensors and tokenizer.json; `loaded("gpt2")` is that
folder opened by transformers, `opened("gpt2")` as `eyeline.load` does it. All are made once per
process and are gone with it.
"""

import atexit
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers as tk
import torch
import transformers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from eyeline.capture.loading import LoadedModel, load_huggingface, open_model

TEXT = "The animal didn't cross the street because it was too tired. It slept."
TARGET = "O animal não atravessou a rua."
CORPUS = [
    TEXT,
    TARGET,
    "The capital of France is Paris, and the river is the Seine.",
    "In 2024 the animals were looking at 9 streets; somebody was unhappily walking.",
    "internationalization is a long word",
]
VOCAB = 400

SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
}
_GROUPED = SIZES | {"num_key_value_heads": 2}
ALTERNATING = {
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention"],
}
BYTES_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _t5() -> Any:
    return hf.T5ForConditionalGeneration(
        hf.T5Config(
            vocab_size=VOCAB,
            d_model=32,
            d_kv=8,
            d_ff=40,
            num_layers=2,
            num_heads=4,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=16,
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def _bart() -> Any:
    return hf.BartForConditionalGeneration(
        hf.BartConfig(
            vocab_size=VOCAB,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=40,
            decoder_ffn_dim=40,
            max_position_embeddings=64,
            decoder_start_token_id=2,
            forced_eos_token_id=2,
            **BYTES_IDS,
        )
    )


MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "bert": (lambda: hf.BertModel(hf.BertConfig(**SIZES)), "wordpiece"),
    "bert-mlm": (lambda: hf.BertForMaskedLM(hf.BertConfig(**SIZES)), "wordpiece"),
    "albert": (
        lambda: hf.AlbertForMaskedLM(hf.AlbertConfig(**SIZES, embedding_size=16)),
        "wordpiece",
    ),
    "roberta": (
        lambda: hf.RobertaForMaskedLM(
            hf.RobertaConfig(**SIZES | {"max_position_embeddings": 65}, **BYTES_IDS)
        ),
        "bytes",
    ),
    "distilbert": (
        lambda: hf.DistilBertForMaskedLM(
            hf.DistilBertConfig(
                vocab_size=VOCAB,
                dim=32,
                n_layers=2,
                n_heads=4,
                hidden_dim=40,
                max_position_embeddings=64,
            )
        ),
        "wordpiece",
    ),
    "gpt2": (
        lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(
                vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=64, **BYTES_IDS
            )
        ),
        "bytes",
    ),
    "opt": (
        lambda: hf.OPTForCausalLM(
            hf.OPTConfig(
                vocab_size=VOCAB,
                hidden_size=32,
                word_embed_proj_dim=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                ffn_dim=40,
                max_position_embeddings=64,
                **BYTES_IDS,
            )
        ),
        "bytes",
    ),
    "llama": (lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**_GROUPED, **BYTES_IDS)), "bytes"),
    "mistral": (
        lambda: hf.MistralForCausalLM(hf.MistralConfig(**_GROUPED, **BYTES_IDS, sliding_window=4)),
        "bytes",
    ),
    "gemma2": (
        lambda: hf.Gemma2ForCausalLM(
            hf.Gemma2Config(
                **_GROUPED,
                **BYTES_IDS,
                **ALTERNATING,
                head_dim=16,
                query_pre_attn_scalar=10,
                attn_logit_softcapping=1.5,
            )
        ),
        "bytes",
    ),
    "qwen3": (
        lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**_GROUPED, **BYTES_IDS, head_dim=16)),
        "bytes",
    ),
    "gpt-neox": (
        lambda: hf.GPTNeoXForCausalLM(
            hf.GPTNeoXConfig(
                **SIZES,
                **BYTES_IDS,
                rope_parameters={
                    "rope_type": "default",
                    "rope_theta": 10000.0,
                    "partial_rotary_factor": 0.5,
                },
            )
        ),
        "bytes",
    ),
    "phi3": (lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**_GROUPED, **BYTES_IDS)), "bytes"),
    "gpt-oss": (
        lambda: hf.GptOssForCausalLM(
            hf.GptOssConfig(
                **_GROUPED | {"intermediate_size": 32},
                **BYTES_IDS,
                **ALTERNATING,
                head_dim=16,
                num_local_experts=2,
                num_experts_per_tok=1,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
            )
        ),
        "bytes",
    ),
    "olmo2": (lambda: hf.Olmo2ForCausalLM(hf.Olmo2Config(**_GROUPED, **BYTES_IDS)), "bytes"),
    "glm": (
        lambda: hf.GlmForCausalLM(hf.GlmConfig(**_GROUPED, **BYTES_IDS, head_dim=16)),
        "bytes",
    ),
    "t5": (_t5, "unigram"),
    "bart": (_bart, "bytes"),
}
"""Family → how its network is made, and the kind of its tokenizer."""

PAIRS = ("t5", "bart", "our t5", "our transformer")
ENCODERS = ("bert", "bert-mlm", "albert", "roberta", "distilbert")
DECODERS = tuple(m for m in MODELS if m not in PAIRS + ENCODERS)


@cache
def folder(family: str) -> Path:
    """The family's folder; read it, never write into it."""
    path = _root() / family
    hf.utils.logging.disable_progress_bar()
    network(family).save_pretrained(path)
    tokenizer(MODELS[family][1]).save_pretrained(path)
    return path


@cache
def loaded(family: str) -> LoadedModel:
    """The family's folder, opened by transformers."""
    return load_huggingface(folder(family), family)


@cache
def opened(family: str) -> LoadedModel:
    """The family's folder as `eyeline.load` opens it: on eyeline's own network if it has one."""
    return open_model(folder(family), family)


@cache
def transformer() -> LoadedModel:
    """The Transformer of 2017, of which transformers knows nothing."""
    from eyeline.models.own import OwnModel
    from eyeline.models.tokenizer import TextTokenizer
    from eyeline.models.transformer import Transformer, TransformerConfig

    config = TransformerConfig(
        vocab_size=VOCAB, embed_dim=32, num_layers=2, num_heads=4, hidden_dim=40
    )
    made = with_fixed_weights(lambda: Transformer(config))
    roles = {"pad": "<pad>", "bos": "<s>", "eos": "</s>"}
    text = TextTokenizer(tokenizer("bytes").backend_tokenizer, roles)
    OwnModel("transformer", made, text, "seq2seq", "here").save(_root() / "transformer")
    return open_model(_root() / "transformer", "transformer")


OWN = ("bert", "bert-mlm", "gpt2", "llama", "t5")
"""The families that eyeline has networks of its own for."""


def named(name: str) -> LoadedModel:
    """`"our bert"` on eyeline's own network, `"bert"` on transformers'."""
    if name == "our transformer":
        return transformer()
    return opened(name.removeprefix("our ")) if name.startswith("our ") else loaded(name)


def network(family: str) -> Any:
    """A network with fixed random weights."""
    return with_fixed_weights(MODELS[family][0])


def with_fixed_weights(make: Callable[[], Any]) -> Any:
    """What `make` makes, in evaluation mode, its attention far from uniform."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = make().eval()
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if "norm" in name.lower() or "ln_" in name:
                    parameter.add_(0.1 * torch.randn_like(parameter))
                elif "sinks" in name or "relative_attention_bias" in name:
                    parameter.copy_(torch.randn_like(parameter))
                else:
                    parameter.copy_(0.2 * torch.randn_like(parameter))
    return made


@cache
def tokenizer(kind: str) -> Any:
    """A fast tokenizer that was trained on `CORPUS`: "wordpiece", "bytes" or "unigram"."""
    made, special = {"wordpiece": _wordpiece, "bytes": _bytes, "unigram": _unigram}[kind]()
    return hf.PreTrainedTokenizerFast(tokenizer_object=made, **special)


def _wordpiece() -> tuple[tk.Tokenizer, dict[str, str]]:
    """As BERT's: lower-cased, accents stripped, [CLS] … [SEP]."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = tk.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCAB, special_tokens=special, show_progress=False
    )
    made.train_from_iterator([*CORPUS, "äö 東 京 都"], trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return made, dict(zip(names, special, strict=True))


def _bytes() -> tuple[tk.Tokenizer, dict[str, str]]:
    """As GPT-2's: bytes, a space belongs to the word behind it, nothing is added."""
    special = ["<pad>", "<s>", "</s>"]
    made = tk.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    return made, {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}


def _unigram() -> tuple[tk.Tokenizer, dict[str, str]]:
    """As T5's: NFKC, `▁` for a space, </s> at the end."""
    special = ["<pad>", "</s>", "<unk>"]
    made = tk.Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCAB, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return made, {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


@cache
def _root() -> Path:
    temporary = tempfile.TemporaryDirectory(prefix="eyeline-tiny-")
    atexit.register(temporary.cleanup)
    return Path(temporary.name)
