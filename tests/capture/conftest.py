"""Tiny models with random weights, one of each kind of attention that transformers knows."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf

SMALL = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = SMALL | {"num_key_value_heads": 2}
SLIDING = ["sliding_attention", "full_attention"]
PAIR = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 37,
    "decoder_ffn_dim": 37,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}


def _bert_pair() -> Any:
    encoder = hf.BertConfig(**SMALL)
    decoder = hf.BertConfig(**SMALL, is_decoder=True, add_cross_attention=True)
    config = hf.EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    return hf.EncoderDecoderModel(config)


MODELS: dict[str, Callable[[], Any]] = {
    "bert": lambda: hf.BertModel(hf.BertConfig(**SMALL)),
    "albert": lambda: hf.AlbertModel(hf.AlbertConfig(**SMALL, embedding_size=16)),
    "gpt2": lambda: hf.GPT2LMHeadModel(
        hf.GPT2Config(
            vocab_size=99,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=64,
            bos_token_id=1,
            eos_token_id=2,
        )
    ),
    "t5": lambda: hf.T5ForConditionalGeneration(
        hf.T5Config(
            vocab_size=99,
            d_model=32,
            d_kv=8,
            d_ff=37,
            num_layers=2,
            num_heads=4,
            decoder_start_token_id=0,
        )
    ),
    "bart": lambda: hf.BartForConditionalGeneration(
        hf.BartConfig(**PAIR, max_position_embeddings=64)
    ),
    "bert-pair": _bert_pair,
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**GROUPED, sliding_window=4)),
    "gemma2": lambda: hf.Gemma2ForCausalLM(
        hf.Gemma2Config(
            **GROUPED,
            head_dim=8,
            sliding_window=4,
            attn_logit_softcapping=0.5,  # so low that leaving it out would show
            layer_types=SLIDING,
        )
    ),
    "gemma3": lambda: hf.Gemma3ForCausalLM(
        hf.Gemma3TextConfig(**GROUPED, head_dim=8, sliding_window=4, layer_types=SLIDING)
    ),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**GROUPED, head_dim=8)),
    "phi3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**GROUPED)),
    "gpt-neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SMALL)),
    "gpt-oss": lambda: hf.GptOssForCausalLM(
        hf.GptOssConfig(
            **GROUPED | {"intermediate_size": 32},
            head_dim=8,
            sliding_window=4,
            layer_types=SLIDING,
            num_local_experts=2,
            num_experts_per_tok=1,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        )
    ),
    "opt": lambda: hf.OPTForCausalLM(
        hf.OPTConfig(
            vocab_size=99,
            hidden_size=32,
            word_embed_proj_dim=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            ffn_dim=37,
            max_position_embeddings=64,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    ),
    "whisper": lambda: hf.WhisperForConditionalGeneration(
        hf.WhisperConfig(
            **PAIR,
            num_mel_bins=8,
            max_source_positions=10,
            max_target_positions=64,
            begin_suppress_tokens=None,
        )
    ),
    "vit": lambda: hf.ViTModel(
        hf.ViTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=37,
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


@pytest.fixture
def tiny() -> Callable[[str], Any]:
    """`tiny("llama")`: that model with fixed random weights, in evaluation mode, eager."""

    def make(name: str) -> Any:
        torch.manual_seed(0)
        model = MODELS[name]().eval()
        if model._can_set_attn_implementation():
            model.set_attn_implementation("eager")
        for parameter_name, parameter in model.named_parameters():
            if "sinks" in parameter_name or "relative_attention_bias" in parameter_name:
                torch.nn.init.normal_(parameter)  # zero at the start, and zero would show nothing
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
