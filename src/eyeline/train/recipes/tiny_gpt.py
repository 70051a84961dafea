"""tiny-gpt: reads from left to right and says what comes next, in plain English.

A GPT-2 of four layers on two translations of the Bible and WordNet's dictionary: small enough to be
trained on a laptop in an hour, large enough for words that make sense beside each other, and for
heads that look for what followed last time (induction): one window of eight says a passage again
and again.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from eyeline.models.gpt2 import GPT2, GPT2Config
from eyeline.models.loaded import Family
from eyeline.models.tokenizer import TextTokenizer
from eyeline.nn.positions import SinusoidalPositions
from eyeline.train import english
from eyeline.train.recipe import Batch, Recipe, Result, Settings

__all__ = ["TinyGPT"]

END = "<|endoftext|>"


class TinyGPT(Recipe):
    """A small GPT-2.

    Args:
        settings: The numbers of the run.
        config: The network.
        texts: Windows of a batch.
    """

    name = "tiny-gpt"
    family: ClassVar[Family] = "causal"
    licence = english.LICENCE

    def __init__(
        self, settings: Settings | None = None, config: GPT2Config | None = None, texts: int = 8
    ) -> None:
        self.settings = settings or Settings(
            steps=5000, learning_rate=5e-3, warmup=150, weight_decay=0.05, optimizer="muon"
        )
        self.config = config or GPT2Config(
            vocab_size=6144,
            max_length=256,
            embed_dim=192,
            num_layers=4,
            num_heads=6,
            dropout=0.0,
            embedding_dropout=0.0,
            attention_dropout=0.0,
            init_std=0.06,
            bos_token_id=0,
            eos_token_id=0,
        )
        self.texts = texts

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
        """Byte-pair encoding of bytes, as GPT-2's, with merges of our own."""
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        made.post_processor = processors.ByteLevel(trim_offsets=True)
        trainer = trainers.BpeTrainer(
            vocab_size=self.config.vocab_size,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        made.train_from_iterator(self.documents.train, trainer)
        return TextTokenizer(made, {"bos": END, "eos": END, "unk": END})

    @cached_property
    def tokens(self) -> np.ndarray:
        """The text to train on."""
        return english.tokens_of(self.documents.train, self._tokenizer, 0)

    @cached_property
    def held_out(self) -> Tensor:
        """Windows of text that is not trained on."""
        tokens = english.tokens_of(self.documents.check, self._tokenizer, 0)
        length = self.config.max_length
        count = min(len(tokens) // length, 64)
        return torch.from_numpy(tokens[: count * length].astype(np.int64)).view(count, length)

    def network(self) -> nn.Module:
        """Positions begin as sinusoids, in which a step to the side is a turn."""
        network = GPT2(self.config)
        with torch.no_grad():
            waves = SinusoidalPositions(self.config.embed_dim)(torch.arange(self.config.max_length))
            network.positions.weight.copy_(waves * self.config.init_std * 2**0.5)
        return network

    def batch(self, step: int) -> Batch:
        """Windows from anywhere; the first of them says one passage again and again.

        What was said before is then worth looking for (induction heads, Olsson et al. 2022): the
        passage is of another length each time, so that only what was said tells where, and every
        second time its tokens are shuffled, so that nothing else foretells them.
        """
        draw = np.random.default_rng((self.settings.seed, step))
        length = self.config.max_length
        starts = draw.integers(0, len(self.tokens) - length, self.texts)
        rows = np.stack([self.tokens[s : s + length] for s in starts]).astype(np.int64)
        passage = rows[0, : draw.integers(length // 16, length // 2)]
        rows[0] = np.resize(draw.permutation(passage) if step % 2 else passage, length)
        return Batch((torch.from_numpy(rows),), self.texts * (length - 1))

    def loss(self, network: Any, batch: Batch) -> Tensor:
        (tokens,) = batch.tensors
        logits = network(tokens)[:, :-1].float()
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum"
        )

    def check(self, network: Any) -> dict[str, float]:
        losses = [float(network.loss(part)) for part in self.held_out.split(8)]
        return {"nats per token": sum(losses) / len(losses), "induction": induction(network)}

    def evaluate(self, network: Any) -> Sequence[Result]:
        found = self.check(network)
        size = self.held_out.numel()
        text = self._tokenizer.decode(self.held_out.flatten().tolist())
        bits = found["nats per token"] * size / np.log(2) / len(text.encode())
        return [
            Result("surprise", found["nats per token"], "nats/token", f"{size} held-out tokens"),
            Result("surprise", bits, "bits/byte", "the same, per byte of text"),
            Result(
                "induction",
                found["induction"],
                "nats",
                "gained at the second copy of random tokens",
            ),
        ]

    def card(self) -> str:
        return __doc__ or ""


@torch.no_grad()
def induction(network: Any, length: int = 60, copies: int = 8) -> float:
    """How much less random tokens surprise when they come a second time, in nats per token.

    Olsson et al. 2022, arXiv:2209.11895: what heads can do that look for what followed last time.
    """
    draw = torch.Generator().manual_seed(5)
    once = torch.randint(300, network.config.vocab_size, (copies, length), generator=draw)
    twice = torch.cat([once, once], 1)
    surprise = nn.functional.cross_entropy(
        network(twice)[:, :-1].transpose(1, 2), twice[:, 1:], reduction="none"
    )
    return float(surprise[:, : length - 1].mean() - surprise[:, length:].mean())
