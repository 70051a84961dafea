"""Three readers of a source that write a target, with equally many parameters.

The two recurrent ones differ in one thing only: what the writer is given of the source at each
step. That is the reader's last state (Cho et al. 2014, arXiv:1406.1078), or a mean of all its
states, weighted by how well each fits the writer's state (Bahdanau et al. 2015, arXiv:1409.0473,
equation 6 of the appendix: a = vᵀ tanh(W s + U h)).
"""

import bisect
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from eyeline import masks
from eyeline.models.t5 import T5, T5Config

__all__ = ["LSTM", "READERS", "Transformer", "make"]

PAD = 0


class Embedding(nn.Embedding):
    """A vector for each place; where several tokens stand at one, the sum of theirs."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__(vocabulary, width, padding_idx=PAD)

    def forward(
        self, input: Int[Tensor, "batch length ..."]
    ) -> Float[Tensor, "batch length width"]:
        found = super().forward(input)
        return found if input.dim() == 2 else found.sum(2)


class LSTM(nn.Module):
    """Encoder and decoder are LSTMs of one layer.

    Args:
        vocabulary: Tokens of source and target together; 0 is padding and the first target token.
        width: Of embeddings and states.
        attends: The writer looks at all states of the reader; else at the last one.
    """

    def __init__(self, vocabulary: int, width: int, attends: bool) -> None:
        super().__init__()
        self.attends = attends
        self.embedding = Embedding(vocabulary, width)
        self.reader = nn.LSTM(width, width, batch_first=True)
        self.writer = nn.LSTMCell(2 * width, width)
        self.head = nn.Linear(2 * width, vocabulary)
        if attends:
            self.of_state = nn.Linear(width, width, bias=False)
            self.of_source = nn.Linear(width, width, bias=False)
            self.fit = nn.Linear(width, 1, bias=False)

    def forward(
        self,
        source: Int[Tensor, "batch length"],
        lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch steps"],
    ) -> Float[Tensor, "batch steps vocabulary"]:
        """Logits of the token after each token of the target."""
        states, _ = self.reader(self.embedding(source))
        rows = torch.arange(len(source))
        last = states[rows, lengths - 1]
        state = (last, torch.zeros_like(last))
        said = []
        keys = self.of_source(states) if self.attends else states
        hidden = torch.arange(source.shape[1]) >= lengths[:, None]
        for token in self.embedding(target).unbind(1):
            context = last
            if self.attends:
                fits = self.fit(torch.tanh(self.of_state(state[0])[:, None] + keys))[..., 0]
                weights = fits.masked_fill(hidden, -torch.inf).softmax(-1)
                context = (weights[:, None] @ states)[:, 0]
            state = self.writer(torch.cat([token, context], -1), state)
            said.append(torch.cat([state[0], context], -1))
        return self.head(torch.stack(said, 1))


class Transformer(nn.Module):
    """A T5 of two blocks on each side: eyeline's own."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.network = T5(
            T5Config(
                vocab_size=vocabulary,
                embed_dim=width,
                head_dim=width // 4,
                num_heads=4,
                hidden_dim=2 * width,
                num_layers=2,
                num_decoder_layers=2,
                dropout=0.0,
            )
        )
        self.network.tokens = Embedding(vocabulary, width)

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """As `LSTM.forward`."""
        return self.network(source, target, source_mask=masks.padding(lengths))


READERS: dict[str, Callable[[int, int], nn.Module]] = {
    "LSTM": lambda vocabulary, width: LSTM(vocabulary, width, attends=False),
    "LSTM + attention": lambda vocabulary, width: LSTM(vocabulary, width, attends=True),
    "Transformer": Transformer,
}


def make(name: str, vocabulary: int, parameters: int, seed: int) -> nn.Module:
    """A network with as many parameters as the Transformer that comes nearest to that number."""
    with torch.device("meta"):
        width = width_for("Transformer", vocabulary, parameters, 4)
        wanted = count(READERS["Transformer"](vocabulary, width))
    torch.manual_seed(seed)
    step = 4 if name == "Transformer" else 1  # its heads
    return READERS[name](vocabulary, width_for(name, vocabulary, wanted, step))


def width_for(name: str, vocabulary: int, parameters: int, step: int) -> int:
    """The width whose network has the nearest number of parameters."""

    def short(width: int) -> int:
        with torch.device("meta"):
            return parameters - count(READERS[name](vocabulary, width))

    widths = range(16, 1024, step)
    above = bisect.bisect(widths, 0, key=lambda width: -short(width))
    return min(widths[above - 1 : above + 1], key=lambda width: abs(short(width)))


def count(network: nn.Module) -> int:
    """Numbers that are learnt."""
    return sum(p.numel() for p in network.parameters())
