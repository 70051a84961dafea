"""Masks inside attention: who may look where, and how it is told to softmax."""

import torch

from eyeline.doctor.catalogue.attention import ATTENTION
from eyeline.doctor.recipe import State

__all__: list[str] = []


# -- causal --------------------------------------------------------------------------------------


def _causal(s: State, matrix: torch.Tensor) -> torch.Tensor:
    """`matrix` where attention is to be causal, everything elsewhere."""
    return matrix if s.is_causal else torch.ones_like(matrix)


def _everything(s: State) -> torch.Tensor:
    return torch.ones(s.q_len, s.kv_len, dtype=torch.bool)


@ATTENTION.mistake(
    "causal",
    "causal mask inverted",
    seen="mask = torch.triu(torch.ones(L, L), 1).bool(); F.scaled_dot_product_attention(…, mask)",
    symptom="A token sees only what comes after it; the last row is NaN, 0 or even.",
    fix="Does True mean “may look” or “must not” to who reads the mask?",
    source="rasbt/LLMs-from-scratch#1061",
)
def _(s: State) -> State:
    return _causal(s, ~_everything(s).tril(s.offset))


@ATTENTION.mistake(
    "causal",
    "causal mask transposed",
    seen="mask = torch.triu(torch.ones(L, L)).bool()  # True = may look",
    symptom="A token sees itself and what comes after it.",
    fix="Rows are queries. What may row 0 see?",
)
def _(s: State) -> State:
    return _causal(s, _everything(s).triu(s.offset))


@ATTENTION.mistake(
    "causal",
    "causal mask hides the token itself",
    seen="mask = torch.tril(torch.ones(L, L), -1).bool()",
    symptom="The first token sees nothing: its row is NaN, 0 or even.",
    fix="May a token look at itself?",
)
def _(s: State) -> State:
    return _causal(s, _everything(s).tril(s.offset - 1))


@ATTENTION.mistake(
    "causal",
    "causal mask lets one future token through",
    seen="mask = torch.tril(torch.ones(L, L), 1).bool()",
    symptom="The loss falls to nearly 0 in training, for each token sees its answer.",
    fix="Change the last token: may the one before it notice?",
)
def _(s: State) -> State:
    return _causal(s, _everything(s).tril(s.offset + 1))


@ATTENTION.mistake(
    "causal",
    "not causal",
    seen="scores = q @ k.transpose(-2, -1)  # and no mask",
    symptom="The loss falls to nearly 0 in training, for each token sees its answer.",
    fix="Change the last token: may the first one notice?",
)
def _(s: State) -> State:
    return _everything(s)


@ATTENTION.mistake(
    "causal",
    "causal mask aligned at the other corner",
    seen="F.scaled_dot_product_attention(q[:, :, -1:], k, v, is_causal=True)",
    symptom="Right with as many queries as keys; with a cache the newest token sees one key.",
    fix="At which position does the first of these queries stand?",
    source="pytorch#108108, flash-attention#1778",
)
def _(s: State) -> State:
    other = s.kv_len - s.q_len if s.offset == 0 else 0
    return _causal(s, _everything(s).tril(other))


# -- the mask that is given ----------------------------------------------------------------------


@ATTENTION.mistake(
    "allowed",
    "mask ignored",
    seen="def attention(q, k, v, mask=None): …  # mask is never used",
    symptom="Padding takes part in every sum.",
    fix="Follow the mask from the arguments to the softmax.",
)
def _(s: State) -> State:
    return s.causal


@ATTENTION.mistake(
    "allowed",
    "mask inverted",
    seen="scores = scores.masked_fill(mask, -inf)  # True meant “may look”",
    symptom="Real tokens are hidden and padding is seen.",
    fix="What does True mean to who made the mask, and what to who reads it?",
    source="x-transformers#164, pytorch#120668",
)
def _(s: State) -> State:
    return s.causal if s.mask is None else ~s.mask & s.causal


@ATTENTION.mistake(
    "allowed",
    "mask or causal, where both are meant",
    seen="allowed = mask | causal",
    symptom="Padding is seen, and so is the future.",
    fix="A key must be allowed by how many of the two?",
)
def _(s: State) -> State:
    if s.mask is None:
        return s.causal
    return s.mask | s.causal if s.is_causal else s.mask


@ATTENTION.mistake(
    "allowed",
    "causal forgotten when a mask is given",
    seen="allowed = mask if mask is not None else causal",
    symptom="Causal alone is right; with padding in the batch the future leaks.",
    fix="What happens to is_causal when there is a mask as well?",
    source="pytorch#99282",
)
def _(s: State) -> State:
    return s.causal if s.mask is None else s.mask


@ATTENTION.mistake(
    "allowed",
    "mask forgotten when causal",
    seen="allowed = causal if is_causal else mask",
    symptom="A mask alone is right; in a decoder padding is seen.",
    fix="What happens to the mask when is_causal is set?",
)
def _(s: State) -> State:
    if s.is_causal or s.mask is None:
        return s.causal
    return s.mask


@ATTENTION.mistake(
    "allowed",
    "mask transposed",
    seen="scores.masked_fill(~mask.transpose(-2, -1), -inf)",
    symptom="Hidden queries instead of hidden keys. Needs as many queries as keys.",
    fix="Which axis of the mask are the keys?",
    needs=("masked_by_pair",),
)
def _(s: State) -> State:
    if s.mask is None:
        return s.causal
    return s.mask.transpose(-2, -1) & s.causal


@ATTENTION.mistake(
    "allowed",
    "the first item's mask for the whole batch",
    seen="scores.masked_fill(~mask[0], -inf)",
    symptom="Right for a batch of one; else padding of other sentences is seen.",
    fix="Do all sentences of the batch end at the same place?",
    needs=("batch",),
)
def _(s: State) -> State:
    return s.causal if s.mask is None else s.mask[:1] & s.causal


@ATTENTION.mistake(
    "allowed",
    "padded queries masked instead of padded keys",
    seen="scores.masked_fill(pad[:, None, :, None], -inf)",
    symptom="Rows of padding are NaN, and real tokens still look at padding.",
    fix="Who must not be looked at: which axis of the scores is that?",
    needs=("padded",),
)
def _(s: State) -> State:
    if s.mask is None:
        return s.causal
    seen = s.mask.any(-2, keepdim=True)  # a key that nobody may see is padding
    hidden = seen[..., : s.q_len].transpose(-2, -1) if s.q_len <= s.kv_len else seen.new_ones(1)
    return hidden & s.causal


# -- how masking is done -------------------------------------------------------------------------


@ATTENTION.mistake(
    "masked",
    "masked scores set to 0",
    seen="scores = scores.masked_fill(~mask, 0)",
    symptom="What is masked still gets weight: exp(0) is 1.",
    fix="Which score gives a weight of 0?",
)
def _(s: State) -> State:
    return s.scaled.masked_fill(~s.allowed, 0)


@ATTENTION.mistake(
    "masked",
    "scores multiplied by the mask",
    seen="scores = scores * mask",
    symptom="What is masked still gets weight: exp(0) is 1.",
    fix="Which score gives a weight of 0?",
)
def _(s: State) -> State:
    return s.scaled * s.allowed


@ATTENTION.mistake(
    "masked",
    "masked scores set to a small number",
    seen="scores = scores.masked_fill(~mask, -1)",
    symptom="What is masked still gets some weight.",
    fix="How far below all others must a masked score lie?",
    values=(-1.0, -10.0, -5.0, -2.0),
)
def _(s: State, fill: float) -> State:
    return s.scaled.masked_fill(~s.allowed, fill)


@ATTENTION.mistake(
    "masked",
    "masked scores set to the smallest positive number",
    seen="scores = scores.masked_fill(~mask, 1e-9)  # the minus stands in the wrong place",
    symptom="What is masked still gets weight: exp(1e-9) is 1.",
    fix="1e-9 or −1e9?",
    values=(1e-9, -1e-9),
)
def _(s: State, fill: float) -> State:
    return s.scaled.masked_fill(~s.allowed, fill)


@ATTENTION.mistake(
    "masked",
    "0/1 mask added to the scores",
    seen="scores = scores + mask.float()  # 1 = may look",
    symptom="Allowed keys gain a factor e; nothing is hidden.",
    fix="What must be added to a score so that its weight is 0?",
    source="pytorch#21518",
)
def _(s: State) -> State:
    return s.scaled + s.allowed.to(s.scaled.dtype)


@ATTENTION.mistake(
    "masked",
    "masked scores set to a large positive number",
    seen="scores = scores.masked_fill(~mask, 1e9)",
    symptom="Only what is masked is seen, all of it evenly.",
    fix="Which sign gives a weight of 0?",
)
def _(s: State) -> State:
    return s.scaled.masked_fill(~s.allowed, 1e9)


@ATTENTION.mistake(
    "weights",
    "masked after softmax, not renormalised",
    seen="weights = softmax(scores, -1) * mask",
    symptom="Rows with masked keys sum to less than 1.",
    fix="Who gets the weight that masked keys give up?",
)
def _(s: State) -> State:
    return torch.softmax(s.scaled, -1) * s.allowed


@ATTENTION.mistake(
    "weights",
    "masked weights set to minus infinity",
    seen="weights = softmax(scores, -1).masked_fill(~mask, -inf)",
    symptom="Rows with masked keys are infinite or NaN.",
    fix="Is it a score or a weight that is −∞ where nothing may be seen?",
)
def _(s: State) -> State:
    return torch.softmax(s.scaled, -1).masked_fill(~s.allowed, -torch.inf)


# -- queries that may see nothing ----------------------------------------------------------------


@ATTENTION.mistake(
    "weights",
    "NaN where nothing may be seen",
    seen="softmax(scores.masked_fill(~mask, -inf), -1)  # a row of padding: 0/0",
    symptom="One fully padded row, and the loss and all gradients are NaN.",
    fix="What is softmax of nothing but −∞, and what should a query that sees nothing get?",
    source="pytorch#41508, #103963; only with empty_rows='zero', else it is remarked",
    needs=("empty_rows",),
)
def _(s: State) -> State:
    return torch.softmax(s.masked, -1)


@ATTENTION.mistake(
    "weights",
    "mean of everything where nothing may be seen",
    seen="softmax(scores.masked_fill(~mask, -1e9), -1)  # a row of padding",
    symptom="A query that may see nothing gets the mean of all values, padding included.",
    fix="All scores of the row are equal. What does softmax make of that?",
    source="only with empty_rows='zero', else it is remarked",
    needs=("empty_rows",),
)
def _(s: State) -> State:
    return torch.softmax(s.masked.masked_fill(~s.allowed.any(-1, keepdim=True), 0), -1)
