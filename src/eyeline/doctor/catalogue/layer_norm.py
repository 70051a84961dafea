"""Layer normalisation, over the last axis."""

from eyeline.doctor.recipe import Recipe, State

__all__ = ["LAYER_NORM"]

LAYER_NORM = Recipe(
    "layer norm",
    "(x − mean) / √(variance + eps) · weight + bias, over the last axis",
    result="normed",
    signature="f(x, weight, bias, eps)",
)

PAPER = "Ba et al. 2016, arXiv:1607.06450; torch.nn.LayerNorm"


@LAYER_NORM.step
def centred(s: State) -> State:
    """Mean 0 along the last axis."""
    return s.x - s.x.mean(-1, keepdim=True)


@LAYER_NORM.step
def variance(s: State) -> State:
    """Mean square of what is left."""
    return s.centred.square().mean(-1, keepdim=True)


@LAYER_NORM.step
def deviation(s: State) -> State:
    """With eps, which keeps a constant vector from 0/0."""
    return (s.variance + s.eps).sqrt()


@LAYER_NORM.step
def normed(s: State) -> State:
    """Scaled and moved by what was learned."""
    return s.centred / s.deviation * s.weight + s.bias


@LAYER_NORM.mistake(
    "centred",
    "mean not subtracted",
    seen="x / (x.std(-1, keepdim=True) + eps)",
    symptom="Vectors keep their mean; it is nearer to RMSNorm.",
    fix="Which mean has a normed vector?",
    source=PAPER,
    also={"variance": lambda s: s.x.var(-1, correction=0, keepdim=True)},
)
def _(s: State) -> State:
    return s.x


@LAYER_NORM.mistake(
    "centred",
    "RMSNorm instead of LayerNorm",
    seen="x / torch.sqrt((x ** 2).mean(-1, keepdim=True) + eps)",
    symptom="Vectors keep a mean.",
    fix="Which of the two does the paper that you follow use?",
    source="Zhang and Sennrich 2019, arXiv:1910.07467",
    also={"variance": lambda s: s.x.square().mean(-1, keepdim=True)},
)
def _(s: State) -> State:
    return s.x


@LAYER_NORM.mistake(
    "centred",
    "mean over the tokens",
    seen="x.mean(1, keepdim=True)",
    symptom="A token's result depends on the other tokens, the future included.",
    fix="Does one token know of another in LayerNorm?",
)
def _(s: State) -> State:
    return s.x - s.x.mean(1, keepdim=True)


@LAYER_NORM.mistake(
    "variance",
    "variance divided by n − 1",
    seen="std = x.std(-1, keepdim=True)  # torch's default is unbiased",
    symptom="All numbers are a little too small; a checkpoint that is loaded is nearly right.",
    fix="Which denominator does torch.std use, and which torch.nn.LayerNorm?",
    source=PAPER,
)
def _(s: State) -> State:
    return s.centred.square().sum(-1, keepdim=True) / (s.x.shape[-1] - 1)


@LAYER_NORM.mistake(
    "variance",
    "variance over the tokens",
    seen="x.var(1, keepdim=True)",
    symptom="A token's result depends on the other tokens, the future included.",
    fix="Does one token know of another in LayerNorm?",
)
def _(s: State) -> State:
    return s.x.var(1, correction=0, keepdim=True)


@LAYER_NORM.mistake(
    "variance",
    "variance over tokens and width",
    seen="x.var((-2, -1), keepdim=True)",
    symptom="A token's result depends on the other tokens, the future included.",
    fix="Does one token know of another in LayerNorm?",
)
def _(s: State) -> State:
    return s.x.var((-2, -1), correction=0, keepdim=True)


@LAYER_NORM.mistake(
    "deviation",
    "eps added to the deviation",
    seen="(x - mean) / (std + eps)",
    symptom="Differs where a vector hardly varies; elsewhere by a millionth.",
    fix="Is eps inside the root or outside?",
    source="The Annotated Transformer does so (with n − 1 as well); ARENA's own 90 % trap",
)
def _(s: State) -> State:
    return s.variance.sqrt() + s.eps


@LAYER_NORM.mistake(
    "deviation",
    "eps forgotten",
    seen="(x - mean) / torch.sqrt(var)",
    symptom="A constant vector gives 0/0: NaN.",
    fix="What of a vector whose numbers are all equal?",
)
def _(s: State) -> State:
    return s.variance.sqrt()


@LAYER_NORM.mistake(
    "deviation",
    "divided by the variance",
    seen="(x - mean) / (var + eps)",
    symptom="The result's deviation is not 1 but 1/σ.",
    fix="Which of the two has the unit of x?",
)
def _(s: State) -> State:
    return s.variance + s.eps


@LAYER_NORM.mistake(
    "normed",
    "learned weight forgotten",
    seen="return x_hat + self.bias",
    symptom="Right as long as the weight is 1, as it is at the start.",
    fix="Which of your parameters has no gradient?",
)
def _(s: State) -> State:
    return s.centred / s.deviation + s.bias


@LAYER_NORM.mistake(
    "normed",
    "learned bias forgotten",
    seen="return self.weight * x_hat",
    symptom="Right as long as the bias is 0, as it is at the start.",
    fix="Which of your parameters has no gradient?",
    needs=("has_bias",),
)
def _(s: State) -> State:
    return s.centred / s.deviation * s.weight


@LAYER_NORM.mistake(
    "normed",
    "weight applied after the bias",
    seen="return (x_hat + self.bias) * self.weight",
    symptom="Right at the start, where the weight is 1; a loaded checkpoint gives nonsense.",
    fix="Is the bias scaled?",
    needs=("has_bias",),
)
def _(s: State) -> State:
    return (s.centred / s.deviation + s.bias) * s.weight


@LAYER_NORM.mistake(
    "normed",
    "one added to the weight",
    seen="return x_hat * (1 + self.weight) + self.bias",
    symptom="Gemma's norms keep weight − 1; those of others do not.",
    fix="Does the checkpoint keep the factor, or the factor minus 1?",
)
def _(s: State) -> State:
    return s.centred / s.deviation * (1 + s.weight) + s.bias
