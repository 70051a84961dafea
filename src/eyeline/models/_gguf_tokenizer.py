"""Rebuilds a tokenizer from the metadata of a GGUF file.

The file lists the tokens and the special ones. Of a byte-level BPE ("gpt2") it lists the merges
too, and *names* the rule that cuts text into pieces before these run (`tokenizer.ggml.pre`). The
rule itself is not in the file, so only names whose rule is known here are accepted: with a wrong
rule everything would still run, and some texts would be cut differently from what the model was
trained on. Of sentencepiece ("llama") it has scores: of neighbours that make a token, those with
the best score merge first, which says the same as a list of merges.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.models import BPE

from eyeline._errors import CheckpointError
from eyeline.models._gguf_header import Header
from eyeline.models.tokenizer import TextTokenizer

# kinds of tokens, as the format counts them
_CONTROL, _USER_DEFINED = 3, 4

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _gpt2_rule() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _smollm_rule() -> pre_tokenizers.PreTokenizer:
    # Every digit alone, and before GPT-2's rule: so two spaces before a digit stay together.
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2_rule()])


def _llama3_rule() -> pre_tokenizers.PreTokenizer:
    cut = pre_tokenizers.Split(Regex(_LLAMA3), "isolated")
    return pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)])


_RULES: dict[str, Callable[[], pre_tokenizers.PreTokenizer]] = {
    "gpt-2": _gpt2_rule,
    "smollm": _smollm_rule,
    "llama-bpe": _llama3_rule,
}


def tokenizer_of(header: Header) -> TextTokenizer:
    """The tokenizer of a GGUF file.

    Args:
        header: Its header.

    Raises:
        CheckpointError: If the file has no tokenizer, a broken one, or a kind not known here.
    """
    tokens = _tokens(header)
    kind = header.metadata.get("tokenizer.ggml.model")
    makers = {"gpt2": _byte_level_bpe, "llama": _sentencepiece}
    if kind not in makers:
        raise _broken(header, "kind of tokenizer", kind, f"one of {sorted(makers)}")
    tokenizer = makers[kind](header, tokens)
    named = list(zip(tokens, _kinds(header, tokens), strict=True))
    control = [token for token, kind in named if kind == _CONTROL]
    defined = [token for token, kind in named if kind == _USER_DEFINED]
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in control]
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in defined])
    _add_ends(header, tokenizer)
    template = header.metadata.get("tokenizer.chat_template")
    roles = {role: tokens[index] for role, index in token_ids(header).items()}
    return TextTokenizer(tokenizer, roles, template if isinstance(template, str) else None)


def write_tokenizer(tokenizer: TextTokenizer, limit: int, folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`.

    Args:
        tokenizer: The tokenizer.
        limit: How many tokens the model reads at once.
        folder: Where to write.
    """
    text = tokenizer.backend.to_str(pretty=True)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    config: dict[str, Any] = {
        # Not GPT2Tokenizer: transformers 5 would replace the rule above with GPT-2's own.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": limit,
        "clean_up_tokenization_spaces": False,
        **{f"{role}_token": token for role, token in tokenizer.roles.items()},
    }
    if tokenizer.chat_template is not None:
        config["chat_template"] = tokenizer.chat_template
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
    rule = header.metadata.get("tokenizer.ggml.pre")
    if rule not in _RULES:
        raise _broken(header, "rule of the tokenizer", rule, f"one of {sorted(_RULES)}")
    if _switch(header, "add_space_prefix", default=False):
        raise _broken(header, "tokenizer.ggml.add_space_prefix", True, False)
    merges = _merges(header, tokens)
    # Llama 3: a piece that is a token is not built from its parts
    whole = rule == "llama-bpe"
    tokenizer = Tokenizer(BPE(vocab=_vocabulary(tokens), merges=merges, ignore_merges=whole))
    tokenizer.pre_tokenizer = _RULES[rule]()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return tokenizer


def _sentencepiece(header: Header, tokens: list[str]) -> Tokenizer:
    """Llama 2's: `▁` for a space, and bytes where there is no token."""
    scores = header.metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, np.ndarray) or len(scores) != len(tokens):
        found = "none" if scores is None else np.size(scores)
        raise _broken(header, "number of scores", found, len(tokens))
    vocabulary = _vocabulary(tokens)
    unknown = tokens[token_ids(header).get("unk", 0)]
    tokenizer = Tokenizer(
        BPE(
            vocab=vocabulary,
            merges=_scored_merges(vocabulary, scores.tolist()),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    before = [normalizers.Prepend("▁")] if _switch(header, "add_space_prefix", default=True) else []
    tokenizer.normalizer = normalizers.Sequence([*before, normalizers.Replace(" ", "▁")])  # pyright: ignore
    after = [decoders.Strip(" ", 1, 0)] if before else []
    tokenizer.decoder = decoders.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *after]
    )
    return tokenizer


def _scored_merges(vocabulary: dict[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """Every way to make a token of two others, best score first, then by the parts' lengths."""
    ways = []
    for token, number in vocabulary.items():
        parts = [
            (token[:cut], token[cut:])
            for cut in range(1, len(token))
            if token[:cut] in vocabulary and token[cut:] in vocabulary
        ]
        parts.sort(key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]), reverse=True)
        ways += [(scores[number], len(left), len(right), (left, right)) for left, right in parts]
    ways.sort(key=lambda way: way[:3], reverse=True)
    return [pair for *_, pair in ways]


def _add_ends(header: Header, tokenizer: Tokenizer) -> None:
    """The tokens that the tokenizer puts before and behind a text."""
    spm = header.metadata.get("tokenizer.ggml.model") == "llama"
    llama3 = header.metadata.get("tokenizer.ggml.pre") == "llama-bpe"
    ids = token_ids(header)
    first = _switch(header, "add_bos_token", default=spm or llama3)
    last = _switch(header, "add_eos_token", default=False)
    ends = []
    for wanted, role in ((first, "bos"), (last, "eos")):
        if wanted and role not in ids:
            raise _broken(header, f"{role}_token_id", "none", f"one, as add_{role}_token is set")
        ends.append((tokenizer.id_to_token(ids[role]), ids[role]) if wanted else None)
    if any(ends):
        before, after = (None if end is None else end[0] for end in ends)
        single = " ".join(part for part in (before, "$A", after) if part)
        tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore
            single=single, special_tokens=[end for end in ends if end is not None]
        )


def _switch(header: Header, name: str, *, default: bool) -> bool:
    found = header.metadata.get(f"tokenizer.ggml.{name}", default)
    if not isinstance(found, bool):
        raise _broken(header, f"tokenizer.ggml.{name}", found, "true or false")
    return found


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


def _broken(header: Header, what: str, found: object, limit: object) -> CheckpointError:
    fix = "use the model's own folder in Hugging Face layout instead"
    return CheckpointError(header.path, f"GGUF {what}", found, limit=limit, fix=fix)
