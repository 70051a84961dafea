import json

import pytest
from tokenizers import Tokenizer

from eyeline._errors import CheckpointError
from eyeline.models.gguf import convert

pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def folder(tiny_llama, tmp_path_factory):
    return convert(tiny_llama, tmp_path_factory.mktemp("tokenizer") / "tiny").folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_merges_digits_and_spaces(tokenizer):
    assert tokenizer.encode("in  12").tokens == ["in", "ĠĠ", "1", "2"]
    assert tokenizer.encode(" in").tokens == ["Ġin"]


def test_special_tokens_stay_whole(tokenizer):
    encoded = tokenizer.encode("<|im_start|>in<|im_end|>")
    assert encoded.ids[0] == 1 and encoded.ids[-1] == 2 and len(encoded.ids) == 3
    assert tokenizer.decode(encoded.ids) == "in"


@pytest.mark.parametrize("text", ["héllo ½ ٣٤٥", "日本語 😀👍🏽", "a\r\n\t b\x00", "", "  x  "])
def test_every_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_transformers_keeps_the_rule(folder):
    transformers = pytest.importorskip("transformers")
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    assert loaded.convert_ids_to_tokens(loaded("in  12").input_ids) == ["in", "ĠĠ", "1", "2"]
    assert (loaded.bos_token, loaded.eos_token, loaded.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert loaded.model_max_length == 128
    message = [{"role": "user", "content": "in"}]
    assert loaded.apply_chat_template(message, tokenize=False) == "in"


def test_the_chat_template_is_kept_as_text(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["chat_template"].startswith("{% for message in messages %}")


def set_value(key, value):
    return lambda writer: setattr(writer.kv_data[0][key], "value", value)


BROKEN = {
    "unknown kind": (set_value("tokenizer.ggml.model", "rwkv"), "kind of tokenizer"),
    "sentencepiece": (set_value("tokenizer.ggml.model", "llama"), "number of scores"),
    "unknown rule": (set_value("tokenizer.ggml.pre", "new-rule"), "'gpt-2', 'llama-bpe', 'smollm'"),
    "a token twice": (set_value("tokenizer.ggml.tokens", ["a"] * 262), "a token twice"),
    "merge of one": (set_value("tokenizer.ggml.merges", ["in"]), "merge"),
    "merge into nothing": (set_value("tokenizer.ggml.merges", ["a b"]), "merge"),
    "too few types": (set_value("tokenizer.ggml.token_type", [1, 1]), "number of token types"),
    "adds nothing": (
        lambda writer: (
            writer.add_add_bos_token(True),
            writer.kv_data[0].pop("tokenizer.ggml.bos_token_id"),
        ),
        "bos_token_id",
    ),
    "a space before": (lambda writer: writer.add_add_space_prefix(True), "add_space_prefix"),
    "a switch of words": (
        lambda writer: writer.add_string("tokenizer.ggml.add_eos_token", "yes"),
        "true or false",
    ),
    "no merges": (lambda writer: writer.kv_data[0].pop("tokenizer.ggml.merges"), "merges"),
    "no tokens": (lambda writer: writer.kv_data[0].pop("tokenizer.ggml.tokens"), "."),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_or_unknown_tokenizer_is_refused(tmp_path, write_tiny_llama, what):
    change, said = BROKEN[what]
    write_tiny_llama(tmp_path / "b.gguf", change)
    with pytest.raises(CheckpointError, match=said):
        convert(tmp_path / "b.gguf", tmp_path / "b")
