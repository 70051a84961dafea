"""The names of Hugging Face checkpoints for the parameters of eyeline's networks.

Ours on the left, theirs on the right; `_keys` says what `*` and `Part` mean. GPT-2 keeps its
matrices transposed and packs query, key and value into one.
"""

from eyeline.models._keys import KeyTable, Part

__all__ = ["BERT", "GPT2", "LLAMA", "t5"]


def _under(ours: str, theirs: str, names: dict[str, str]) -> dict[str, str]:
    return {f"{ours}.{a}.*": f"{theirs}.{b}.*" for a, b in names.items()}


_BERT_LAYER = {
    "attention.q_proj": "attention.self.query",
    "attention.k_proj": "attention.self.key",
    "attention.v_proj": "attention.self.value",
    "attention.o_proj": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
}
_BERT_CROSS = {
    ours.replace("attention", "cross_attention", 1): theirs.replace(
        "attention", "crossattention", 1
    )
    for ours, theirs in _BERT_LAYER.items()
}
_BERT_HIDDEN = {
    "feed_forward.up_proj": "intermediate.dense",
    "feed_forward.down_proj": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
BERT: KeyTable = {
    "tokens.*": "bert.embeddings.word_embeddings.*",
    "positions.*": "bert.embeddings.position_embeddings.*",
    "segments.*": "bert.embeddings.token_type_embeddings.*",
    "norm.*": "bert.embeddings.LayerNorm.*",
    **_under("blocks.*", "bert.encoder.layer.*", _BERT_LAYER | _BERT_CROSS | _BERT_HIDDEN),
    "pooler.*": "bert.pooler.dense.*",
    "transform.*": "cls.predictions.transform.dense.*",
    "transform_norm.*": "cls.predictions.transform.LayerNorm.*",
    "head_bias": "cls.predictions.bias",
    "head.weight": "cls.predictions.decoder.weight",
    "head.bias": Part("cls.predictions.decoder.bias", also="cls.predictions.bias"),
}


def _gpt2_layer(ours: str, theirs: str, index: int = 0, of: int = 1) -> dict[str, Part]:
    there = Part(f"transformer.h.*.{theirs}.*", index, of, transposed=True)
    return {f"blocks.*.{ours}.*": there}


GPT2: KeyTable = {
    "tokens.*": "transformer.wte.*",
    "positions.*": "transformer.wpe.*",
    "blocks.*.attention_norm.*": "transformer.h.*.ln_1.*",
    **_gpt2_layer("attention.q_proj", "attn.c_attn", 0, 3),
    **_gpt2_layer("attention.k_proj", "attn.c_attn", 1, 3),
    **_gpt2_layer("attention.v_proj", "attn.c_attn", 2, 3),
    **_gpt2_layer("attention.o_proj", "attn.c_proj"),
    "blocks.*.cross_attention_norm.*": "transformer.h.*.ln_cross_attn.*",
    **_gpt2_layer("cross_attention.q_proj", "crossattention.q_attn"),
    **_gpt2_layer("cross_attention.k_proj", "crossattention.c_attn", 0, 2),
    **_gpt2_layer("cross_attention.v_proj", "crossattention.c_attn", 1, 2),
    **_gpt2_layer("cross_attention.o_proj", "crossattention.c_proj"),
    "blocks.*.feed_forward_norm.*": "transformer.h.*.ln_2.*",
    **_gpt2_layer("feed_forward.up_proj", "mlp.c_fc"),
    **_gpt2_layer("feed_forward.down_proj", "mlp.c_proj"),
    "norm.*": "transformer.ln_f.*",
    "head.*": "lm_head.*",
}

LLAMA: KeyTable = {
    "tokens.*": "model.embed_tokens.*",
    "blocks.*.attention_norm.*": "model.layers.*.input_layernorm.*",
    "blocks.*.attention.*": "model.layers.*.self_attn.*",
    "blocks.*.feed_forward_norm.*": "model.layers.*.post_attention_layernorm.*",
    "blocks.*.feed_forward.*": "model.layers.*.mlp.*",
    "norm.*": "model.norm.*",
    "head.*": "lm_head.*",
}


def t5(*, is_gated: bool) -> KeyTable:
    """T5's sublayers have numbers, and the feed-forward network's names depend on its kind."""
    table = {"tokens.*": "shared.*", "head.*": "lm_head.*"}
    for stack, last in (("encoder", 1), ("decoder", 2)):
        hidden = f"layer.{last}.DenseReluDense"
        names = {
            **{f"attention.{p}_proj": f"layer.0.SelfAttention.{p}" for p in "qkvo"},
            "attention_norm": "layer.0.layer_norm",
            **{f"cross_attention.{p}_proj": f"layer.1.EncDecAttention.{p}" for p in "qkvo"},
            "cross_attention_norm": "layer.1.layer_norm",
            "feed_forward_norm": f"layer.{last}.layer_norm",
            "feed_forward.gate_proj": f"{hidden}.wi_0",
            "feed_forward.up_proj": f"{hidden}.wi_1" if is_gated else f"{hidden}.wi",
            "feed_forward.down_proj": f"{hidden}.wo",
        }
        table |= _under(f"{stack}.*", f"{stack}.block.*", names)
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.*"
        table |= {f"{stack}_bias.*": bias, f"{stack}_norm.*": f"{stack}.final_layer_norm.*"}
    return table
