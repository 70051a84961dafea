"""A tokenizer out of a folder's files, looked at before the library loads it.

The library is fast and trusts its files: two tokens with one number end in a Rust panic, a rule
that replaces each character by a hundred turns ten characters into millions of tokens, and a
regular expression with a loop in a loop may run for years. None of that gets so far.
"""

from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from eyeline._errors import CheckpointError
from eyeline.models._json import parse_object
from eyeline.models._tokenizer_rules import check_tokenizer, check_vocabulary

__all__ = ["read_tokenizer"]

MAX_BYTES = 64_000_000
_FIX = "fetch the model again, or choose another one"


def read_tokenizer(folder: Path, settings: dict[str, Any]) -> Tokenizer:
    """The tokenizer of a model in Hugging Face layout.

    From `tokenizer.json`; else BERT's `vocab.txt`, or GPT-2's `vocab.json` and `merges.txt`.

    Args:
        folder: The folder.
        settings: The content of its tokenizer_config.json.

    Raises:
        CheckpointError: There is none, or it is damaged or dangerous.
    """
    whole = folder / "tokenizer.json"
    if whole.is_file():
        text = _text(whole)
        check_tokenizer(text, whole)
        return _built(whole, Tokenizer.from_str, text)
    if (folder / "vocab.txt").is_file():
        return _built(folder / "vocab.txt", _wordpiece, _text(folder / "vocab.txt"), settings)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        vocabulary = _text(folder / "vocab.json")
        merges = _text(folder / "merges.txt")
        return _built(folder / "vocab.json", _byte_level, vocabulary, merges, folder, settings)
    raise CheckpointError(
        folder,
        "tokenizer",
        "none",
        limit="tokenizer.json (or vocab.txt, or vocab.json and merges.txt)",
        fix="copy the tokenizer's files into the folder or fetch the model again",
    )


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CheckpointError(path, "size", size, limit=f"at most {MAX_BYTES} bytes")
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(path, "tokenizer", error, limit="UTF-8", fix=_FIX) from error


def _built(path: Path, make: Any, *arguments: Any) -> Tokenizer:
    """What `make` makes; a Rust panic, which is no `Exception`, is the file's fault as well."""
    try:
        return make(*arguments)
    except (KeyboardInterrupt, SystemExit, CheckpointError):
        raise
    except BaseException as error:
        raise CheckpointError(path, "tokenizer", str(error)[:200], fix=_FIX) from None


def _wordpiece(text: str, settings: dict[str, Any]) -> Tokenizer:
    """BERT's, from the list of its pieces."""
    pieces = text.splitlines()
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    special = [t for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if t in vocabulary]
    made.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    made.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
        lowercase=bool(settings.get("do_lower_case", True)),
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(t, vocabulary[t]) for t in ("[CLS]", "[SEP]")],
    )
    return made


def _byte_level(vocabulary: str, merges: str, folder: Path, settings: dict[str, Any]) -> Tokenizer:
    """GPT-2's, from its pieces and its merges."""
    pieces = parse_object(vocabulary.encode(), folder / "vocab.json", "vocabulary")
    check_vocabulary(folder / "vocab.json", pieces)
    rows = [row for row in merges.splitlines() if row and not row.startswith("#version")]
    pairs = [tuple(row.split(" ")) for row in rows]
    if any(len(pair) != 2 for pair in pairs):
        raise CheckpointError(folder / "merges.txt", "merge", "not two pieces", fix=_FIX)
    made = Tokenizer(models.BPE(pieces, pairs))  # pyright: ignore[reportArgumentType]
    if "<|endoftext|>" in pieces:
        end = AddedToken("<|endoftext|>", normalized=False, special=True)
        made.add_special_tokens([end])
    space = bool(settings.get("add_prefix_space", False))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    return made
