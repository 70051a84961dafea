"""Text to tokens and back, by the `tokenizers` package and nothing else.

`TextTokenizer` has the part of transformers' tokenizer interface that eyeline uses, so that whoever
reads tokens need not know which of the two a model has.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from eyeline._errors import EyelineError
from eyeline.models._json import read_object
from eyeline.models._tokenizer_files import read_tokenizer

__all__ = ["Encoding", "TextTokenizer"]

_CONTEXT = 8
"""Tokens of the prompt that decide how the first new one is written."""

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass(frozen=True)
class Encoding:
    """A text as tokens.

    Attributes:
        ids: Numbers of the tokens.
        offsets: Where each token's text begins and ends, in characters; (0, 0) for special tokens.
        special: Which tokens the tokenizer added.
        segments: 0 for the first text.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]
    special: list[bool]
    segments: list[int]

    def __getitem__(self, name: str) -> list[Any]:
        """The same under transformers' names."""
        return {
            "input_ids": self.ids,
            "offset_mapping": self.offsets,
            "special_tokens_mask": self.special,
            "token_type_ids": self.segments,
        }[name]


class TextTokenizer:
    """A tokenizer and the roles of its special tokens.

    Args:
        tokenizer: The tokenizer; truncation and padding in it are switched off.
        roles: The special tokens by role: "bos", "eos", "unk", "sep", "pad", "cls", "mask".
        chat_template: Kept for `save`, never executed.
    """

    def __init__(
        self, tokenizer: Tokenizer, roles: dict[str, str], chat_template: str | None = None
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.backend = tokenizer
        self.roles = {r: t for r, t in roles.items() if tokenizer.token_to_id(t) is not None}
        self.chat_template = chat_template
        self._lock = threading.Lock()  # truncation is a state of the tokenizer
        added = tokenizer.get_added_tokens_decoder()
        special = {number for number, token in added.items() if token.special}
        named = {self.id_of(role) for role in self.roles} - {None}
        self.all_special_ids = sorted(special | named)  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_folder(cls, folder: Path) -> "TextTokenizer":
        """The tokenizer of a model in Hugging Face layout.

        Raises:
            CheckpointError: There is none, or it is damaged.
        """
        settings: dict[str, Any] = {}
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            if (folder / name).is_file():
                settings = read_object(folder / name) | settings
        roles = {r: _content(settings.get(f"{r}_token")) for r in ROLES}
        template = settings.get("chat_template")
        return cls(
            read_tokenizer(folder, settings),
            {role: token for role, token in roles.items() if token is not None},
            template if isinstance(template, str) else None,
        )

    def encode(self, text: str, limit: int | None = None) -> Encoding:
        """The tokens of a text, special tokens included.

        Args:
            text: The text.
            limit: At most so many tokens; what is beyond is left out.

        Raises:
            EyelineError: The tokenizer breaks down on this text.
        """
        with self._lock, _no_panic("the tokenizer cannot encode this text"):
            if limit is not None:
                self.backend.enable_truncation(limit)
            try:
                found = self.backend.encode(text)
            finally:
                self.backend.no_truncation()
        special = [bool(one) for one in found.special_tokens_mask]
        return Encoding(found.ids, found.offsets, special, found.type_ids)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """The text of some tokens."""
        with _no_panic("the tokenizer cannot decode these tokens"):
            return self.backend.decode(
                [int(i) for i in ids], skip_special_tokens=skip_special_tokens
            )

    def stream(self, ids: Iterator[int], prompt: Sequence[int] = ()) -> Iterator[str]:
        """Text as its tokens come in, whole characters at a time.

        Args:
            ids: The tokens.
            prompt: What stands before them: a first token may begin with a space because of it.
        """
        kept = list(prompt[-_CONTEXT:])
        shown, known = 0, len(kept)  # what stands before `known` has been given out
        rest = ""
        for number in ids:
            kept.append(int(number))
            before = self.decode(kept[shown:known], skip_special_tokens=True)
            rest = self.decode(kept[shown:], skip_special_tokens=True)[len(before) :]
            if rest.endswith("\N{REPLACEMENT CHARACTER}"):
                continue  # a character whose other bytes are still to come
            if rest:
                yield rest
            shown, known, rest = known, len(kept), ""
        if rest:  # they never came
            yield rest

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str | None]:
        """The tokenizer's own string of each token; None where it has none."""
        return [self.backend.id_to_token(int(i)) for i in ids]

    def get_vocab(self) -> dict[str, int]:
        """Every token and its number."""
        return self.backend.get_vocab()

    def __len__(self) -> int:
        return self.backend.get_vocab_size()

    def id_of(self, role: str) -> int | None:
        """The number of the token with that role."""
        token = self.roles.get(role)
        return None if token is None else self.backend.token_to_id(token)

    @property
    def mask_token_id(self) -> int | None:
        """The number of the token that stands for a masked one."""
        return self.id_of("mask")

    @property
    def eos_token_id(self) -> int | None:
        """The number of the token that ends a text."""
        return self.id_of("eos")

    def __repr__(self) -> str:
        kind = type(self.backend.model).__name__
        return f"TextTokenizer({kind}, {len(self)} tokens, {', '.join(self.roles.values())})"


def _content(token: Any) -> str | None:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


@contextmanager
def _no_panic(what: str) -> Iterator[None]:
    """The library is written in Rust, whose panics are no `Exception`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise EyelineError(f"{what}: {error}") from None
