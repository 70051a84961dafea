"""Rebuilds a byte-level BPE tokenizer from the metadata of a GGUF file.

The file lists the tokens, the merges and the special tokens, and *names* the rule that cuts text
into pieces before the merges run (`tokenizer.ggml.pre`). The rule itself is not in the file, so
only names whose rule is known here are accepted: with a wrong rule everything would still run, and
some texts would be cut differently from what the model was trained on.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from eyeline._errors import CheckpointError
from eyeline.models._gguf_header import Header

# kinds of tokens, as the format counts them
_CONTROL, _USER_DEFINED = 3, 4


def _gpt2_rule() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _smollm_rule() -> pre_tokenizers.PreTokenizer:
    # Every digit alone, and before GPT-2's rule: so two spaces before a digit stay together.
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2_rule()])


_RULES: dict[str, Callable[[], pre_tokenizers.PreTokenizer]] = {
    "gpt-2": _gpt2_rule,
    "smollm": _smollm_rule,
}


def write_tokenizer(header: Header, folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`.

    Args:
        header: The header of the GGUF file.
        folder: Where to write.

    Raises:
        CheckpointError: If the file has no tokenizer, a broken one, or a kind not known here.
    """
    tokens = _tokens(header)
    tokenizer = _byte_level_bpe(header, tokens)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    config = {
        # Not GPT2Tokenizer: transformers 5 would replace the rule above with GPT-2's own.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": header.metadata["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        **_special_tokens(header, tokens),
    }
    template = header.metadata.get("tokenizer.chat_template")
    if isinstance(template, str):
        config["chat_template"] = template
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def _tokens(header: Header) -> list[str]:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens:
        raise _broken(header, "list of tokens", type(tokens).__name__, "a list of strings")
    if len(set(tokens)) != len(tokens):
        raise _broken(header, "list of tokens", "a token twice", "each token once")
    return tokens


def _byte_level_bpe(header: Header, tokens: list[str]) -> Tokenizer:
    kind = header.metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise _broken(header, "kind of tokenizer", kind, "'gpt2' (byte-level BPE)")
    rule = header.metadata.get("tokenizer.ggml.pre")
    if rule not in _RULES:
        raise _broken(header, "rule of the tokenizer", rule, f"one of {sorted(_RULES)}")
    for switch in ("add_bos_token", "add_eos_token", "add_space_prefix"):
        if header.metadata.get(f"tokenizer.ggml.{switch}", False) is not False:
            raise _broken(header, f"tokenizer.ggml.{switch}", True, False)

    tokenizer = Tokenizer(BPE(vocab=_vocabulary(tokens), merges=_merges(header, tokens)))
    tokenizer.pre_tokenizer = _RULES[rule]()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    kinds = _kinds(header, tokens)
    named = list(zip(tokens, kinds, strict=True))
    control = [token for token, kind in named if kind == _CONTROL]
    defined = [token for token, kind in named if kind == _USER_DEFINED]
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in control]
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in defined])
    return tokenizer


def _vocabulary(tokens: list[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens)}


def _merges(header: Header, tokens: list[str]) -> list[tuple[str, str]]:
    """The merges as pairs; checked here, as the library under it ends in a Rust panic at worst."""
    merges = header.metadata.get("tokenizer.ggml.merges")
    if not isinstance(merges, list):
        raise _broken(header, "list of merges", type(merges).__name__, "a list of strings")
    known = set(tokens)
    pairs = []
    for merge in merges:
        left, separator, right = merge.partition(" ")
        if not separator or not known.issuperset((left, right, left + right)):
            raise _broken(header, "merge", repr(merge), "two tokens that make a third")
        pairs.append((left, right))
    return pairs


def _kinds(header: Header, tokens: list[str]) -> list[int]:
    kinds = header.metadata.get("tokenizer.ggml.token_type")
    if not isinstance(kinds, np.ndarray) or len(kinds) != len(tokens):
        found = "none" if kinds is None else np.size(kinds)
        raise _broken(header, "number of token types", found, len(tokens))
    return kinds.tolist()


def token_ids(header: Header) -> dict[str, int]:
    """The ids of the special tokens that the file names.

    Args:
        header: The header of the GGUF file.

    Returns:
        Ids by role: `bos`, `eos`, `unk`, `pad`; roles that the file leaves out are missing.

    Raises:
        CheckpointError: If an id is not that of a token.
    """
    num_tokens = len(_tokens(header))
    ids: dict[str, int] = {}
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    for role, word in roles.items():
        found: Any = header.metadata.get(f"tokenizer.ggml.{word}_token_id")
        if found is None:
            continue
        if type(found) is not int or not 0 <= found < num_tokens:
            raise _broken(header, f"{word}_token_id", found, f"0 to {num_tokens - 1}")
        ids[role] = found
    return ids


def _special_tokens(header: Header, tokens: list[str]) -> dict[str, str]:
    return {f"{role}_token": tokens[index] for role, index in token_ids(header).items()}


def _broken(header: Header, what: str, found: object, limit: object) -> CheckpointError:
    fix = "use the model's own folder in Hugging Face layout instead"
    return CheckpointError(header.path, f"GGUF {what}", found, limit=limit, fix=fix)
