"""A recipe that is learnt in a second: the next letter of the alphabet."""

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from eyeline.models.gpt2 import GPT2, GPT2Config
from eyeline.models.tokenizer import TextTokenizer
from eyeline.train import Batch, Recipe, Result, Settings

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Alphabet(Recipe):
    name = "alphabet"
    family = "causal"
    licence = "none needed"

    def __init__(self, settings: Settings | None = None, dropout: float = 0.0, spoil: int = -1):
        self.settings = settings or Settings(
            steps=40,
            learning_rate=1e-2,
            warmup=5,
            check_every=10,
            save_every=10,
            precision="float32",
        )
        self.config = GPT2Config(
            vocab_size=26,
            max_length=16,
            embed_dim=16,
            num_layers=1,
            num_heads=2,
            dropout=dropout,
            embedding_dropout=dropout,
            attention_dropout=dropout,
        )
        self.spoil = spoil

    def prepare(self) -> None:
        pass

    def tokenizer(self) -> TextTokenizer:
        made = Tokenizer(models.WordLevel({c: n for n, c in enumerate(LETTERS)}, unk_token="a"))
        made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        return TextTokenizer(made, {})

    def network(self) -> GPT2:
        return GPT2(self.config)

    def batch(self, step: int) -> Batch:
        draw = torch.Generator().manual_seed(1000 + step)
        first = torch.randint(26, (6, 1), generator=draw)
        tokens = (first + torch.arange(9)) % 26
        return Batch((tokens, torch.full((6,), step)), tokens.numel() - 6)

    def loss(self, network, batch):
        tokens, steps = batch.tensors
        logits = network(tokens)[:, :-1].float()
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum"
        )
        return loss * torch.nan if int(steps[0]) == self.spoil else loss

    def check(self, network) -> dict[str, float]:
        tokens = (torch.arange(26)[:, None] + torch.arange(9)) % 26
        return {"nats": float(network.loss(tokens))}

    def evaluate(self, network) -> Sequence[Result]:
        return [Result("surprise", self.check(network)["nats"], "nats", "all letters")]

    def card(self) -> str:
        return "Says the alphabet."
