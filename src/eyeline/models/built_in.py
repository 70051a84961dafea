"""The models that come with eyeline: no download, no network. `eyeline train NAME` made them."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["BUILT_IN", "DEFAULT", "MORE", "BuiltIn"]

_FOLDER = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class BuiltIn:
    """One of them.

    Attributes:
        name: What the user types; also the name of its recipe.
        title: What it is.
        what_for: In one line, what it is good for.
        licence: Of the weights.
    """

    name: str
    title: str
    what_for: str
    licence: str = "Apache-2.0"

    @property
    def path(self) -> Path:
        """Its folder, in Hugging Face layout, with a model card."""
        return _FOLDER / self.name

    @property
    def size(self) -> int:
        """Bytes of the folder."""
        return sum(file.stat().st_size for file in self.path.iterdir())

    @property
    def source(self) -> str:
        """Where its weights come from, in words."""
        return f"built in, made by `eyeline train {self.name}`"


_ALL = (
    BuiltIn(
        "tiny-bert",
        "BERT, 4 layers × 6 heads, 3 M",
        "encoder: sees both ways, fills in what is masked",
    ),
    BuiltIn(
        "tiny-gpt",
        "GPT-2, 4 layers × 6 heads, 3 M",
        "decoder: sees the past alone, writes on",
    ),
    BuiltIn(
        "g2p",
        "T5, 4 + 3 layers × 6 heads, 3.6 M",
        "encoder-decoder: a word's letters to its sounds; the clearest cross-attention",
    ),
)

BUILT_IN: dict[str, BuiltIn] = {one.name: one for one in _ALL}
"""By name."""

DEFAULT = "tiny-bert"
"""What reads a text when no model is named: the one for plain English that sees both ways."""

MORE = "minilm"
"""A model that shows more of English, fetched once."""
