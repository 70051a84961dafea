"""The CMU Pronouncing Dictionary: 126,000 English words and names, and how they sound.

Stress marks are removed. A word may have several pronunciations. Words are held out whole: no
pronunciation of a held-out word is trained on. Of the held-out words those are known to be easier
that are an inflection of a trained word (cats, cat): evaluation reports them apart.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eyeline._errors import EyelineError

__all__ = ["LETTERS", "SOUNDS", "Split", "Word", "read_dictionary", "split"]

LETTERS = "abcdefghijklmnopqrstuvwxyz'"
SOUNDS = (
    *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH"),
    *("IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH"),
    *("UH", "UW", "V", "W", "Y", "Z", "ZH"),
)
_LINE = re.compile(r"^([a-z']+)(?:\((\d+)\))? ([A-Z0-2 ]+?)(?: #.*)?$")


@dataclass(frozen=True)
class Word:
    """A word and its pronunciations, each a tuple of `SOUNDS`, no two alike."""

    letters: str
    sounds: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Split:
    """Words to train on, to choose by, and to judge by."""

    train: list[Word]
    check: list[Word]
    test: list[Word]


def read_dictionary(path: Path) -> list[Word]:
    """All words of letters and apostrophes, in the order of the file.

    Raises:
        EyelineError: There are none.
    """
    found: dict[str, dict[tuple[str, ...], None]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _LINE.match(line)
        if match:
            sounds = tuple(re.sub("[0-2]", "", match[3]).split())
            found.setdefault(match[1], {})[sounds] = None
    if not found:
        raise EyelineError(
            f"{path} has no line like 'cat K AE1 T': it is no pronouncing dictionary"
        )
    return [Word(letters, tuple(sounds)) for letters, sounds in found.items()]


def split(words: list[Word], seed: int, share: float = 0.05) -> Split:
    """Cut words apart by a hash of their letters: the same words whatever else is in the list.

    Args:
        words: All words.
        seed: Another seed, another cut.
        share: Of the words, for `test`; half as many for `check`.
    """
    parts: tuple[list[Word], list[Word], list[Word]] = ([], [], [])
    for word in words:
        digest = hashlib.sha256(f"{seed}:{word.letters}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        parts[2 if place < share else 1 if place < 1.5 * share else 0].append(word)
    return Split(*parts)


def inflections(word: str) -> Iterator[str]:
    """What a word may be an inflection of: cats → cat; making → mak, make."""
    for ending in ("'s", "s'", "s", "es", "ed", "d", "ing", "er", "ers", "ly", "'"):
        if word.endswith(ending) and len(word) - len(ending) >= 2:
            stem = word[: -len(ending)]
            yield stem
            yield stem + "e"
            if ending == "es" and stem.endswith("i"):
                yield stem[:-1] + "y"


def is_near(word: str, trained: set[str]) -> bool:
    """Whether a trained word differs only by an inflection, either way."""
    if any(stem in trained for stem in inflections(word)):
        return True
    return any(word + ending in trained for ending in ("s", "'s", "ed", "ing", "es"))
