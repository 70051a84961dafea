"""A folder's tokenizer from whichever files it has; transformers judges what comes out."""

import json

import pytest
import transformers as hf

from eyeline._errors import CheckpointError
from eyeline.models._tokenizer_files import read_tokenizer

TEXTS = ["The cat sat.", "unaffable, naïve!", "two  spaces"]


def test_berts_list_of_pieces(tmp_path):
    letters = list("abcdefghijklmnopqrstuvwxyz.,!")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    pieces += [f"##{c}" for c in letters[:26]] + ["the", "cat", "##able"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    ours = read_tokenizer(tmp_path, {"do_lower_case": True})
    theirs = hf.BertTokenizerFast(str(tmp_path / "vocab.txt"), do_lower_case=True)
    for text in TEXTS:
        assert ours.encode(text).ids == theirs(text)["input_ids"]


@pytest.mark.parametrize(
    "files, words",
    [
        ({}, "tokenizer.json"),
        ({"vocab.json": "{}", "merges.txt": "a b c"}, "not two pieces"),
        ({"vocab.json": json.dumps({"a": 0, "b": 0}), "merges.txt": ""}, "vocab.json"),
        ({"tokenizer.json": "{"}, "tokenizer.json"),
    ],
)
def test_what_is_no_tokenizer(tmp_path, files, words):
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=words):
        read_tokenizer(tmp_path, {})


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match="UTF-8"):
        read_tokenizer(tmp_path, {})
