"""Text to tokens and back, as transformers does it."""

import json
import shutil

import pytest

import _tiny_models as tiny
from eyeline._errors import CheckpointError, EyelineError
from eyeline.models.tokenizer import TextTokenizer

TEXTS = [tiny.TEXT, "naïve café 東京", "🙂👍🏽 \n\t  x", "", "[MASK] </s> <s>"]
KINDS = {"wordpiece": "bert", "bytes": "gpt2", "unigram": "t5"}


@pytest.fixture(params=KINDS)
def pair(request):
    folder = tiny.folder(KINDS[request.param])
    return TextTokenizer.from_folder(folder), tiny.loaded(KINDS[request.param]).tokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_tokens(pair, text):
    ours, theirs = pair
    found, expected = ours.encode(text), theirs(text, return_offsets_mapping=True)
    assert found.ids == expected["input_ids"]
    assert found.offsets == [tuple(o) for o in expected["offset_mapping"]]
    assert ours.convert_ids_to_tokens(found.ids) == theirs.convert_ids_to_tokens(found.ids)
    decoded = theirs.decode(found.ids, clean_up_tokenization_spaces=False)
    assert ours.decode(found.ids) == decoded


def test_the_same_roles(pair):
    ours, theirs = pair
    assert set(theirs.all_special_ids) <= set(ours.all_special_ids)
    assert ours.mask_token_id == theirs.mask_token_id
    assert ours.eos_token_id == theirs.eos_token_id
    assert ours.get_vocab() == theirs.get_vocab() and len(ours) == len(theirs)


def test_a_limit_keeps_the_ends(pair):
    ours, theirs = pair
    found = ours.encode(tiny.TEXT, 6).ids
    assert found == theirs(tiny.TEXT, truncation=True, max_length=6)["input_ids"]
    assert len(ours.encode(tiny.TEXT).ids) > 6  # and it is over afterwards


def test_whole_characters_come_out_of_a_stream():
    tokenizer = TextTokenizer.from_folder(tiny.folder("gpt2"))
    ids = tokenizer.encode("naïve 東京 🙂!").ids
    pieces = list(tokenizer.stream(iter(ids)))
    assert "".join(pieces) == "naïve 東京 🙂!" and len(pieces) < len(ids)
    assert not any("�" in piece for piece in pieces)
    special = tokenizer.id_of("eos")
    assert list(tokenizer.stream(iter([special]))) == []


def test_a_stream_goes_on_behind_its_prompt():
    tokenizer = TextTokenizer.from_folder(tiny.folder("t5"))
    prompt, ids = tokenizer.encode("The").ids[:-1], tokenizer.encode("animal").ids[:-1]
    assert "".join(tokenizer.stream(iter(ids), prompt)).startswith(" ")


def test_a_truncated_and_padded_file(tmp_path):
    """all-MiniLM-L6-v2 comes like this: everything would be 128 tokens long."""
    folder = shutil.copytree(tiny.folder("bert"), tmp_path / "bert")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["truncation"] = {
        "max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"
    }  # fmt: skip
    content["padding"] = {
        "strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(content))
    plain = TextTokenizer.from_folder(tiny.folder("bert"))
    assert TextTokenizer.from_folder(folder).encode(tiny.TEXT) == plain.encode(tiny.TEXT)


def test_older_files_of_bert(tmp_path):
    plain = TextTokenizer.from_folder(tiny.folder("bert"))
    pieces = sorted(plain.get_vocab(), key=plain.get_vocab().get)
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    settings = {"mask_token": "[MASK]", "do_lower_case": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    old = TextTokenizer.from_folder(tmp_path)
    for text in TEXTS:
        assert old.encode(text) == plain.encode(text)
    assert old.mask_token_id == plain.mask_token_id
    settings["do_lower_case"] = False
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert TextTokenizer.from_folder(tmp_path).encode("The").ids != plain.encode("The").ids


def test_older_files_of_gpt2(tmp_path):
    plain = TextTokenizer.from_folder(tiny.folder("gpt2"))
    content = json.loads((tiny.folder("gpt2") / "tokenizer.json").read_text())
    merges = [" ".join(pair) for pair in content["model"]["merges"]]
    (tmp_path / "vocab.json").write_text(json.dumps(content["model"]["vocab"]))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    old = TextTokenizer.from_folder(tmp_path)
    for text in (tiny.TEXT, "naïve café 東京", "🙂 \n\t x"):
        assert old.encode(text).ids == plain.encode(text).ids
    (tmp_path / "merges.txt").write_text("a b c\n")
    with pytest.raises(CheckpointError, match=r"merges\.txt.*merge"):
        TextTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("error", [BaseException("panicked"), ValueError("no")])
def test_a_tokenizer_that_breaks_down(error):
    tokenizer = TextTokenizer.from_folder(tiny.folder("gpt2"))

    class Broken:
        def enable_truncation(self, *_):
            pass

        no_truncation = no_padding = enable_truncation

        def encode(self, _):
            raise error

        def decode(self, *_, **__):
            raise error

    tokenizer.backend = Broken()
    with pytest.raises(EyelineError, match="cannot encode this text"):
        tokenizer.encode("x")
    with pytest.raises(EyelineError, match="cannot decode"):
        tokenizer.decode([1])


def test_how_it_looks():
    assert repr(TextTokenizer.from_folder(tiny.folder("bert"))).startswith(
        "TextTokenizer(WordPiece"
    )
