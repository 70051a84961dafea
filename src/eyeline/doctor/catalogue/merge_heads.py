"""Joining heads again."""

from eyeline.doctor.recipe import Recipe, State

__all__ = ["MERGE_HEADS"]

MERGE_HEADS = Recipe(
    "merge heads",
    "[batch, heads, length, width] to [batch, length, heads · width]: heads side by side",
    result="merged",
    signature="f(x)",
)


@MERGE_HEADS.step
def merged(s: State) -> State:
    """A token's heads side by side, the first head first."""
    return s.x.transpose(1, 2).flatten(2)


@MERGE_HEADS.mistake(
    "merged",
    "view without transposing",
    seen="x.reshape(B, L, num_heads * head_dim)",
    symptom="Shapes are right, but tokens get pieces of other tokens.",
    fix="Which axis must stand beside the width before the two are joined?",
    source="jsbaan/transformer-from-scratch#6, ajhalthor/Transformer-Neural-Network#4",
)
def _(s: State) -> State:
    return s.x.reshape(s.x.shape[0], s.x.shape[2], -1)


@MERGE_HEADS.mistake(
    "merged",
    "width before heads",
    seen="x.permute(0, 2, 3, 1).flatten(2)",
    symptom="The numbers of a head do not lie together; loaded weights give nonsense.",
    fix="Are the numbers of one head neighbours?",
)
def _(s: State) -> State:
    return s.x.permute(0, 2, 3, 1).flatten(2)


@MERGE_HEADS.mistake(
    "merged",
    "heads in reverse order",
    seen="torch.cat(heads[::-1], dim=-1)",
    symptom="W_O meets the numbers in another order.",
    fix="Which head's numbers come first?",
)
def _(s: State) -> State:
    return s.x.flip(1).transpose(1, 2).flatten(2)


@MERGE_HEADS.mistake(
    "merged",
    "mean of the heads, repeated",
    seen="x.mean(1).repeat(1, 1, num_heads)",
    symptom="What one head found is mixed with what the others found.",
    fix="Who mixes the heads: merging, or W_O?",
)
def _(s: State) -> State:
    return s.x.mean(1).repeat(1, 1, s.x.shape[1])
