"""Mean pooling: a sentence as the mean of its tokens, padding left out."""

from eyeline.doctor.recipe import Recipe, State

__all__ = ["POOLING"]

POOLING = Recipe(
    "mean pooling",
    "the mean of each sentence's real tokens",
    result="pooled",
    signature="f(x, mask)",
)


@POOLING.step
def counted(s: State) -> State:
    """1 for tokens that count, 0 for padding: [batch, length, 1]."""
    return s.mask[..., None].to(s.x.dtype)


@POOLING.step
def total(s: State) -> State:
    """Sum of the tokens that count: [batch, width]."""
    return (s.x * s.counted).sum(1)


@POOLING.step
def number(s: State) -> State:
    """How many they are: [batch, 1]."""
    return s.counted.sum(1)


@POOLING.step
def pooled(s: State) -> State:
    """[batch, width]."""
    return s.total / s.number


@POOLING.mistake(
    "counted",
    "padding averaged too",
    seen="x.mean(1)",
    symptom="A sentence's vector depends on how far its batch was padded.",
    fix="Put a longer sentence into the batch: does the shorter one's vector change?",
)
def _(s: State) -> State:
    return s.mask[..., None].to(s.x.dtype) * 0 + 1


@POOLING.mistake(
    "counted",
    "padding averaged instead of tokens",
    seen="(x * pad_mask[..., None]).sum(1) / pad_mask.sum(1, keepdim=True)",
    symptom="Sentences without padding are NaN.",
    fix="Does True mean token or padding?",
)
def _(s: State) -> State:
    return 1 - s.mask[..., None].to(s.x.dtype)


@POOLING.mistake(
    "number",
    "divided by the padded length",
    seen="(x * mask[..., None]).sum(1) / x.size(1)",
    symptom="Vectors of short sentences are too short.",
    fix="How many tokens were summed?",
)
def _(s: State) -> State:
    return s.counted.sum(1) * 0 + s.x.shape[1]


@POOLING.mistake(
    "number",
    "not divided",
    seen="(x * mask[..., None]).sum(1)",
    symptom="Vectors of long sentences are long.",
    fix="A mean or a sum?",
)
def _(s: State) -> State:
    return 1


@POOLING.mistake(
    "number",
    "divided by the tokens of the whole batch",
    seen="(x * mask[..., None]).sum(1) / mask.sum()",
    symptom="A sentence's vector depends on the others in its batch.",
    fix="Along which axis is the mask summed?",
)
def _(s: State) -> State:
    return s.counted.sum()


@POOLING.mistake(
    "total",
    "maximum instead of mean",
    seen="x.masked_fill(~mask[..., None], -inf).amax(1)",
    symptom="Another kind of pooling.",
    fix="Which one was the model trained with?",
    also={"number": lambda s: 1},
)
def _(s: State) -> State:
    return s.x.masked_fill(s.counted == 0, float("-inf")).amax(1)


@POOLING.mistake(
    "total",
    "the first token only",
    seen="x[:, 0]",
    symptom="Another kind of pooling ([CLS]).",
    fix="Which one was the model trained with?",
    also={"number": lambda s: 1},
)
def _(s: State) -> State:
    return s.x[:, 0]
