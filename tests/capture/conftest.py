"""Tiny models with random weights, one of each kind of attention that transformers knows."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf

import _tiny_models as shared

SMALL = shared.SIZES | {"vocab_size": 99} | shared.BYTES_IDS
GROUPED = SMALL | {"num_key_value_heads": 2}


def _bert_pair() -> Any:
    encoder = hf.BertConfig(**SMALL)
    decoder = hf.BertConfig(**SMALL, is_decoder=True, add_cross_attention=True)
    config = hf.EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    return hf.EncoderDecoderModel(config)


def _whisper() -> Any:
    return hf.WhisperForConditionalGeneration(
        hf.WhisperConfig(
            vocab_size=99,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=40,
            decoder_ffn_dim=40,
            decoder_start_token_id=2,
            num_mel_bins=8,
            max_source_positions=10,
            max_target_positions=64,
            begin_suppress_tokens=None,
            **shared.BYTES_IDS,
        )
    )


MODELS: dict[str, Callable[[], Any]] = {name: make for name, (make, _) in shared.MODELS.items()} | {
    "bert-pair": _bert_pair,
    "gemma3": lambda: hf.Gemma3ForCausalLM(
        hf.Gemma3TextConfig(**GROUPED, **shared.ALTERNATING, head_dim=8)
    ),
    "whisper": _whisper,
    "vit": lambda: hf.ViTModel(
        hf.ViTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=40,
            image_size=12,
            patch_size=4,
        )
    ),
    "bloom": lambda: hf.BloomForCausalLM(
        hf.BloomConfig(vocab_size=99, hidden_size=32, n_layer=2, n_head=4)
    ),
    "gptj": lambda: hf.GPTJForCausalLM(
        hf.GPTJConfig(
            vocab_size=99,
            n_embd=32,
            n_layer=2,
            n_head=4,
            rotary_dim=4,
            bos_token_id=1,
            eos_token_id=2,
        )
    ),
}
"""The families of `_tiny_models`, and those that have no text of their own or are refused."""


@pytest.fixture
def tiny() -> Callable[[str], Any]:
    """`tiny("llama")`: that model with fixed random weights, in evaluation mode, eager."""

    def make(name: str) -> Any:
        model = shared.with_fixed_weights(MODELS[name])
        if model._can_set_attn_implementation():
            model.set_attn_implementation("eager")
        return model

    return make


@pytest.fixture
def inputs() -> Callable[..., dict[str, Any]]:
    """`inputs(model, padding="left")`: a batch of two texts for it, the second one whole."""

    def make(model: Any, padding: str | None = None, length: int = 11) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(1)
        ids = torch.randint(3, 99, (2, length), generator=generator)
        if isinstance(model, hf.WhisperForConditionalGeneration):
            sound = torch.randn(2, 8, 20, generator=generator)
            return {"input_features": sound, "decoder_input_ids": ids[:, :6]}
        if isinstance(model, hf.ViTModel):
            return {"pixel_values": torch.randn(2, 3, 12, 12, generator=generator)}
        mask = torch.ones_like(ids)
        if padding is not None:
            mask[0, slice(-3, None) if padding == "right" else slice(0, 3)] = 0
        given = {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}
        if model.config.is_encoder_decoder:
            given["decoder_input_ids"] = ids[:, :6]
        return given

    return make
