"""tiny-bert: reads a text in both directions at once, and fills in what is masked.

A BERT of four layers on the text of tiny-gpt. One token of seven is asked for: most of these are
masked, some are replaced by another one, some are left as they are.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor, nn

from eyeline.models.bert import Bert, BertConfig
from eyeline.models.loaded import Family
from eyeline.models.tokenizer import TextTokenizer
from eyeline.train import english
from eyeline.train.recipe import Batch, Recipe, Result, Settings

__all__ = ["TinyBert"]

PAD, UNKNOWN, CLS, SEP, MASK = range(5)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


class TinyBert(Recipe):
    """A small BERT with its masked-LM head.

    Args:
        settings: The numbers of the run.
        config: The network.
        texts: Windows of a batch.
        length: Tokens of a window.
    """

    name = "tiny-bert"
    family: ClassVar[Family] = "masked"
    licence = english.LICENCE

    def __init__(
        self,
        settings: Settings | None = None,
        config: BertConfig | None = None,
        texts: int = 64,
        length: int = 96,
    ) -> None:
        self.settings = settings or Settings(
            steps=4000, learning_rate=1.5e-3, warmup=300, weight_decay=0.05, average=0.999
        )
        self.config = config or BertConfig(
            vocab_size=6144,
            max_length=256,
            num_segments=2,
            embed_dim=192,
            num_layers=4,
            num_heads=6,
            hidden_dim=768,
            dropout=0.05,
            attention_dropout=0.0,
        )
        self.texts, self.length = texts, length

    def prepare(self) -> None:
        assert len(self.tokens)

    @cached_property
    def documents(self) -> english.Documents:
        """The text."""
        return english.read_documents()

    def tokenizer(self) -> TextTokenizer:
        return self._tokenizer

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        """WordPiece of small letters, as BERT's, with pieces of our own."""
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer(lowercase=True)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.config.vocab_size, special_tokens=SPECIAL, show_progress=False
        )
        made.train_from_iterator(self.documents.train, trainer)
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
        )
        return TextTokenizer(made, {token[1:-1].lower(): token for token in SPECIAL})

    @cached_property
    def tokens(self) -> np.ndarray:
        """The text to train on."""
        return english.tokens_of(self.documents.train, self._tokenizer, SEP)

    @cached_property
    def held_out(self) -> list[Batch]:
        """Masked windows of text that is not trained on."""
        tokens = english.tokens_of(self.documents.check, self._tokenizer, SEP)
        draw = np.random.default_rng(3)
        return [self._masked(tokens, draw) for _ in range(8)]

    def network(self) -> nn.Module:
        return Bert(self.config)

    def batch(self, step: int) -> Batch:
        return self._masked(self.tokens, np.random.default_rng((self.settings.seed, step)))

    def _masked(self, tokens: np.ndarray, draw: np.random.Generator) -> Batch:
        """Windows from anywhere; 15 % of their tokens are asked for (Devlin et al., 3.1)."""
        inside = self.length - 2
        starts = draw.integers(0, len(tokens) - inside, self.texts)
        rows = np.full((self.texts, self.length), SEP, dtype=np.int64)
        rows[:, 0] = CLS
        rows[:, 1:-1] = [tokens[s : s + inside] for s in starts]
        asked = (draw.random(rows.shape) < 0.15) & (rows > MASK)
        labels = np.where(asked, rows, -100)
        kind = draw.random(rows.shape)
        rows = np.where(asked & (kind < 0.8), MASK, rows)
        other = draw.integers(len(SPECIAL), self.config.vocab_size, rows.shape)
        rows = np.where(asked & (kind >= 0.9), other, rows)
        return Batch((torch.from_numpy(rows), torch.from_numpy(labels)), int(asked.sum()))

    def loss(self, network: Any, batch: Batch) -> Tensor:
        tokens, labels = batch.tensors
        asked = labels != -100
        logits = network.logits(network(tokens)[asked]).float()
        return nn.functional.cross_entropy(logits, labels[asked], reduction="sum")

    def check(self, network: Any) -> dict[str, float]:
        losses, right, count = 0.0, 0, 0
        for batch in self.held_out:
            tokens, labels = batch.tensors
            asked = labels != -100
            logits = network.logits(network(tokens)[asked]).float()
            losses += float(nn.functional.cross_entropy(logits, labels[asked], reduction="sum"))
            right += int((logits.argmax(-1) == labels[asked]).sum())
            count += batch.count
        return {"nats per token": losses / count, "right": right / count}

    def evaluate(self, network: Any) -> Sequence[Result]:
        found = self.check(network)
        count = sum(batch.count for batch in self.held_out)
        return [
            Result("surprise", found["nats per token"], "nats/token", f"{count} masked tokens"),
            Result("right", 100 * found["right"], "%", "of them guessed at first"),
        ]

    def card(self) -> str:
        return __doc__ or ""
