"""The loss of a language model: each token is predicted from those before it."""

import torch

from eyeline.doctor.recipe import Recipe, State

__all__ = ["NEXT_TOKEN_LOSS"]

NEXT_TOKEN_LOSS = Recipe(
    "next-token loss",
    "mean over real tokens of −log p(token t + 1 | tokens up to t)",
    result="loss",
    signature="f(logits, ids, pad_id)",
)


@NEXT_TOKEN_LOSS.step
def predicted(s: State) -> State:
    """Logits of every position that has a next one: [batch, length − 1, vocabulary]."""
    return s.x[:, :-1]


@NEXT_TOKEN_LOSS.step
def wanted(s: State) -> State:
    """The token that comes next: [batch, length − 1]."""
    return s.ids[:, 1:]


@NEXT_TOKEN_LOSS.step
def counted(s: State) -> State:
    """Which of these are tokens and not padding."""
    return s.wanted != s.pad_id


@NEXT_TOKEN_LOSS.step
def losses(s: State) -> State:
    """In nats, 0 for padding: [batch, length − 1]."""
    chosen = s.wanted.clamp(0, s.x.shape[-1] - 1)[..., None]
    logs = torch.log_softmax(s.predicted, -1).gather(-1, chosen)[..., 0]
    return -logs * s.counted


@NEXT_TOKEN_LOSS.step
def loss(s: State) -> State:
    """One number."""
    return s.losses.sum() / s.counted.sum()


@NEXT_TOKEN_LOSS.mistake(
    "predicted",
    "labels not shifted",
    seen="F.cross_entropy(logits.flatten(0, 1), ids.flatten())",
    symptom="The loss falls to 0: the model learns to copy its input.",
    fix="Position t sees token t. Which one must it predict?",
    also={"wanted": lambda s: s.ids},
)
def _(s: State) -> State:
    return s.x


@NEXT_TOKEN_LOSS.mistake(
    "predicted",
    "labels shifted the wrong way",
    seen="F.cross_entropy(logits[:, 1:].flatten(0, 1), ids[:, :-1].flatten())",
    symptom="The loss falls to nearly 0: each position predicts the token before it.",
    fix="Position t sees token t. Which one must it predict?",
    also={"wanted": lambda s: s.ids[:, :-1]},
)
def _(s: State) -> State:
    return s.x[:, 1:]


@NEXT_TOKEN_LOSS.mistake(
    "predicted",
    "labels shifted twice",
    seen="model(input_ids=x[:, :-1], labels=x[:, 1:])  # which shifts as well",
    symptom="The model learns to skip a token; its text has every second word.",
    fix="Who shifts: you, or the function that you call?",
    source="transformers: `labels` are shifted inside the model",
    also={"wanted": lambda s: s.ids[:, 2:]},
)
def _(s: State) -> State:
    return s.x[:, :-2]


@NEXT_TOKEN_LOSS.mistake(
    "counted",
    "padding counted",
    seen="F.cross_entropy(…)  # without ignore_index",
    symptom="The model learns to write padding; the loss depends on the batch's longest text.",
    fix="Should predicting padding be rewarded?",
    needs=("padded",),
)
def _(s: State) -> State:
    return torch.ones_like(s.wanted, dtype=torch.bool)


@NEXT_TOKEN_LOSS.mistake(
    "loss",
    "divided by all positions",
    seen="(losses * mask).mean()",
    symptom="Batches with much padding have a small loss.",
    fix="How many tokens were summed?",
    needs=("padded",),
)
def _(s: State) -> State:
    return s.losses.mean()


@NEXT_TOKEN_LOSS.mistake(
    "loss",
    "mean of the sentences' means",
    seen="((losses * mask).sum(1) / mask.sum(1)).mean()",
    symptom="Tokens of short sentences weigh more.",
    fix="Does each token count, or each sentence?",
    needs=("padded",),
)
def _(s: State) -> State:
    return (s.losses.sum(1) / s.counted.sum(1)).mean()


@NEXT_TOKEN_LOSS.mistake(
    "loss",
    "sum instead of mean",
    seen="F.cross_entropy(…, reduction='sum')",
    symptom="The loss grows with the batch.",
    fix="How many tokens were summed?",
)
def _(s: State) -> State:
    return s.losses.sum()


@NEXT_TOKEN_LOSS.mistake(
    "losses",
    "logits taken for probabilities",
    seen="F.nll_loss(torch.log(logits), ids)",
    symptom="NaN wherever a logit is negative.",
    fix="Has softmax been applied?",
)
def _(s: State) -> State:
    chosen = s.wanted.clamp(0, s.x.shape[-1] - 1)[..., None]
    return -torch.log(s.predicted).gather(-1, chosen)[..., 0] * s.counted


@NEXT_TOKEN_LOSS.mistake(
    "losses",
    "softmax before cross-entropy",
    seen="F.cross_entropy(torch.softmax(logits, -1), ids)",
    symptom="The loss hardly falls: probabilities are squeezed a second time.",
    fix="What does F.cross_entropy expect: logits or probabilities?",
)
def _(s: State) -> State:
    chosen = s.wanted.clamp(0, s.x.shape[-1] - 1)[..., None]
    twice = torch.log_softmax(torch.softmax(s.predicted, -1), -1)
    return -twice.gather(-1, chosen)[..., 0] * s.counted
