"""Exercise 26: padding must not count, in the pooled vector nor in the loss."""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Two places behind the model where padding sneaks in again, and no error says so.

A sentence embedding is the mean of its tokens' vectors: of the real ones, divided by how many
are real.

A language model is trained to predict the *next* token: the logits at position t are compared
with the token at t + 1, so the last logits have no answer, and neither has padding.
"""

# --- your file
import torch
from torch import Tensor


def mean_pool(x: Tensor, lengths: Tensor) -> Tensor:
    """The mean of each sentence's real tokens.

    Shapes:
        x [batch, length, embed_dim], lengths [batch] -> [batch, embed_dim]

    >>> x = torch.tensor([[[1.], [3.], [9.]]])
    >>> mean_pool(x, torch.tensor([2]))
    tensor([[2.]])
    """
    # solution
    real = torch.arange(x.shape[1]) < lengths[:, None]
    return (x * real[:, :, None]).sum(dim=1) / lengths[:, None]
    # end


def next_token_loss(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    """The mean surprise (nats) at the next token, over all real tokens that have one before them.

    Shapes:
        logits [batch, length, vocabulary], tokens [batch, length], lengths [batch] -> []

    >>> logits = torch.zeros(1, 3, 4)
    >>> next_token_loss(logits, torch.tensor([[0, 1, 2]]), torch.tensor([3]))
    tensor(1.3863)
    """
    # solution
    log_probs = torch.log_softmax(logits[:, :-1], dim=-1)
    surprise = -log_probs.gather(-1, tokens[:, 1:, None]).squeeze(-1)
    real = torch.arange(1, tokens.shape[1]) < lengths[:, None]
    return (surprise * real).sum() / real.sum()
    # end


# --- end of your file


def _loss(logits, tokens, lengths, *, shift=1, real="targets", divide="real"):
    length = tokens.shape[1]
    logs = logits.log_softmax(-1)
    if shift >= 0:
        logs, wanted = logs[:, : length - shift], tokens[:, shift:]
        positions = torch.arange(shift, length)
    else:
        logs, wanted = logs[:, 1:], tokens[:, :-1]
        positions = torch.arange(length - 1)
    surprise = -logs.gather(-1, wanted[..., None]).squeeze(-1)
    seen = positions < lengths[:, None]
    if real == "all":
        seen = torch.ones_like(seen)
    elif real == "inputs":
        seen = positions - shift < lengths[:, None]
    total = (surprise * seen).sum()
    if divide == "sentence":
        return ((surprise * seen).sum(1) / seen.sum(1)).mean()
    return total / (seen.sum() if divide == "real" else seen.numel())


def probes(draw: Draw) -> list[Probe]:
    """Sentences of different lengths, one of the full length."""
    lengths = torch.tensor([3, 6, 4])
    return [
        Probe((draw(3, 6, 4), lengths), function="mean_pool"),
        Probe((draw(3, 6, 7), draw.whole(7, 3, 6), lengths)),
    ]


exercise = Exercise(
    title="Pooling and the loss",
    function="next_token_loss",
    solution=next_token_loss,
    others={"mean_pool": mean_pool},
    minutes=20,
    difficulty=2,
    story=STORY,
    hints=(
        "For both: which positions are real? torch.arange(length) < lengths[:, None].",
        "mean_pool: add up the real ones only, and divide by the length. Loss: logits[:, "
        ":-1] belong "
        "to tokens[:, 1:].",
        "-log_probs.gather(-1, tokens[:, 1:, None]).squeeze(-1) are the surprises; a "
        "target t is real "
        "if t < length. Average over those.",
    ),
    probes=probes,
    without=("cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss"),
    mistakes=(
        Mistake(
            "a mean over the padding too",
            lambda x, lengths: x.mean(1),
            "How many tokens does each sentence have?",
            function="mean_pool",
        ),
        Mistake(
            "the sum of the real tokens divided by the padded length",
            lambda x, lengths: (x * (torch.arange(x.shape[1]) < lengths[:, None])[..., None]).mean(
                1
            ),
            "How many tokens were added up?",
            function="mean_pool",
        ),
        Mistake(
            "the first token's vector",
            lambda x, lengths: x[:, 0],
            "That is CLS pooling. What is the mean?",
            function="mean_pool",
        ),
        Mistake(
            "labels that are not shifted: each token predicts itself",
            lambda *call: _loss(*call, shift=0),
            "Which token should the logits at position t name?",
        ),
        Mistake(
            "labels shifted in the other direction: each token predicts the one before",
            lambda *call: _loss(*call, shift=-1),
            "Which token should the logits at position t name?",
        ),
        Mistake(
            "a loss that counts the padding",
            lambda *call: _loss(*call, real="all"),
            "Must the model predict PAD?",
        ),
        Mistake(
            "a loss that counts the first PAD behind each sentence",
            lambda *call: _loss(*call, real="inputs"),
            "Is it the token that is read, or the one to be predicted, that must be real?",
        ),
        Mistake(
            "a loss divided by all positions, not by the real ones",
            lambda *call: _loss(*call, divide="all"),
            "How many surprises were added up?",
        ),
        Mistake(
            "the mean of the sentences' means",
            lambda *call: _loss(*call, divide="sentence"),
            "Should a token of a short sentence count more than one of a long sentence?",
        ),
    ),
)
