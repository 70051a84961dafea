"""Cutting a projection into heads."""

from eyeline.doctor.recipe import Recipe, State

__all__ = ["SPLIT_HEADS"]

SPLIT_HEADS = Recipe(
    "split heads",
    "[batch, length, heads · width] to [batch, heads, length, width]; neighbours make a head",
    result="heads",
    signature="f(x, num_heads)",
)


@SPLIT_HEADS.step
def heads(s: State) -> State:
    """Neighbouring numbers belong to one head; heads come before tokens."""
    return s.x.unflatten(-1, (s.num_heads, -1)).transpose(1, 2)


@SPLIT_HEADS.mistake(
    "heads",
    "view without transposing",
    seen="x.view(B, num_heads, L, head_dim)",
    symptom="Shapes are right, but a head's row holds pieces of other tokens.",
    fix="In memory a token's numbers lie together. What does view cut them into here?",
    source="jsbaan/transformer-from-scratch#6",
)
def _(s: State) -> State:
    return s.x.reshape(s.x.shape[0], s.num_heads, s.x.shape[1], -1)


@SPLIT_HEADS.mistake(
    "heads",
    "width before heads",
    seen="x.view(B, L, head_dim, num_heads).permute(0, 3, 1, 2)",
    symptom="Every h-th number makes a head; loaded weights give nonsense.",
    fix="Are the numbers of one head neighbours?",
)
def _(s: State) -> State:
    return s.x.unflatten(-1, (-1, s.num_heads)).permute(0, 3, 1, 2)


@SPLIT_HEADS.mistake(
    "heads",
    "tokens in reverse order",
    seen="x.view(…).transpose(1, 2).flip(2)",
    symptom="The first token's vector stands last.",
    fix="Does cutting into heads move tokens?",
)
def _(s: State) -> State:
    return s.x.unflatten(-1, (s.num_heads, -1)).transpose(1, 2).flip(2)


@SPLIT_HEADS.mistake(
    "heads",
    "the first head for all",
    seen="x[..., :head_dim].unsqueeze(1).expand(B, num_heads, L, head_dim)",
    symptom="All heads see the same.",
    fix="Which numbers does the second head get?",
)
def _(s: State) -> State:
    cut = s.x.unflatten(-1, (s.num_heads, -1)).transpose(1, 2)
    return cut[:, :1].expand_as(cut)
