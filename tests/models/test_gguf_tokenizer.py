import itertools
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


PIECES = ["▁", "a", "i", "n", "m", "l", "t", "h", "e", "s", "▁t", "th", "▁th", "the", "▁the", "an"]
PIECES += [
    "▁an",
    "im",
    "al",
    "imal",
    "anim",
    "▁anim",
    "▁animal",
    "is",
    "▁is",
    "sle",
    "▁s",
    "ee",
    "p",
]


def sentencepiece(writer):
    """Llama 2's kind: scores instead of merges, bytes for what has no piece."""
    bytes_ = [f"<0x{n:02X}>" for n in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *bytes_, *PIECES]
    data = writer.kv_data[0]
    data["tokenizer.ggml.model"].value = "llama"
    data["tokenizer.ggml.tokens"].value = tokens
    data["tokenizer.ggml.token_type"].value = [2, 3, 3] + [6] * 256 + [1] * len(PIECES)
    for name in ("tokenizer.ggml.pre", "tokenizer.ggml.merges", "tokenizer.ggml.padding_token_id"):
        data.pop(name)
    writer.add_token_scores([0.0] * 259 + [-float(n) for n in range(len(PIECES))])
    writer.add_unk_token_id(0)
    size = len(tokens)
    embedding = writer.tensors[0]["token_embd.weight"]
    embedding.tensor = embedding.tensor.repeat(2, 0)[:size].copy()
    embedding.shape = embedding.tensor.shape
    embedding.nbytes = embedding.tensor.nbytes


@pytest.mark.parametrize(
    "text", ["the animal is", "  two  blanks", "naïve 東京 🙂", "", "sleep the sleep", "\n\tx"]
)
def test_sentencepiece_by_its_definition(text, tmp_path, write_tiny_llama):
    """Of all neighbours that make a token, those with the best score become it, from the left."""
    from eyeline.models._gguf_header import read_header
    from eyeline.models._gguf_tokenizer import tokenizer_of

    write_tiny_llama(tmp_path / "s.gguf", sentencepiece)
    header = read_header(tmp_path / "s.gguf")
    tokens = header.metadata["tokenizer.ggml.tokens"]
    scores = dict(zip(tokens, header.metadata["tokenizer.ggml.scores"], strict=True))
    symbols = list("▁" + text.replace(" ", "▁")) if text else []
    while True:
        pairs = [a + b for a, b in itertools.pairwise(symbols)]
        known = [pair for pair in pairs if pair in scores]
        if not known:
            break
        at = pairs.index(max(known, key=lambda pair: scores[pair]))
        symbols[at : at + 2] = [pairs[at]]
    expected = [1]
    for symbol in symbols:
        if symbol in scores:
            expected.append(tokens.index(symbol))
        else:
            expected += [tokens.index(f"<0x{byte:02X}>") for byte in symbol.encode()]
    ours = tokenizer_of(header)
    assert ours.encode(text).ids == expected
    assert ours.decode(expected, skip_special_tokens=True) == text


def test_the_merges_are_those_of_transformers(tmp_path, write_tiny_llama):
    from transformers.convert_slow_tokenizer import generate_merges

    from eyeline.models._gguf_tokenizer import _scored_merges

    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    scores = [-float(n % 7) for n in range(len(PIECES))]  # ties among them
    theirs = generate_merges(vocabulary, dict(zip(PIECES, scores, strict=True)))
    assert _scored_merges(vocabulary, scores) == [tuple(pair) for pair in theirs]


def test_sentencepiece_merges_the_best_first(tmp_path, write_tiny_llama):
    from eyeline.models.opening import open_own

    write_tiny_llama(tmp_path / "s.gguf", sentencepiece)
    model = open_own(tmp_path / "s.gguf", "s")
    pieces = model.tokenizer.convert_ids_to_tokens(model.encode("the animal sé").ids)
    assert pieces == ["<s>", "▁the", "▁animal", "▁s", "<0xC3>", "<0xA9>"]
    assert model.generate("the animal", 4) is not None


def test_llama_3s_rule(tmp_path, write_tiny_llama):
    from eyeline.models.opening import open_own

    def change(writer):
        writer.kv_data[0]["tokenizer.ggml.pre"].value = "llama-bpe"

    write_tiny_llama(tmp_path / "3.gguf", change)
    tokenizer = open_own(tmp_path / "3.gguf", "3").tokenizer
    pieces = [p for p, _ in tokenizer.backend.pre_tokenizer.pre_tokenize_str("It's 12345 in\n\n x")]
    assert pieces == ["It", "'s", "Ġ", "123", "45", "Ġin", "ĊĊ", "Ġx"]
    assert tokenizer.encode("in").ids[0] == 1  # it begins with <|im_start|>, its bos
