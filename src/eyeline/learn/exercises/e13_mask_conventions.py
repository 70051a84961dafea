"""Exercise 13: four ways to write one mask."""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
The same mask is written in four ways, and two of them are opposites:

- "attend": bool, True = may look. torch's scaled_dot_product_attention.
- "ignore": bool, True = hidden. torch's nn.MultiheadAttention (key_padding_mask, attn_mask).
- "additive": numbers that are added to the scores, 0 = may look, -inf = hidden.
- "tokenizer": 1 = a real token, 0 = padding. What Hugging Face's tokenizers return.

Handing one where another is expected raises no error. Turn each into "attend".
"""

# --- your file
import torch
from torch import Tensor


def to_attend(mask: Tensor, convention: str) -> Tensor:
    """The mask as booleans where True = may look.

    Shapes:
        mask [...] of the named convention -> bool [...]

    >>> to_attend(torch.tensor([0., -torch.inf]), "additive")
    tensor([ True, False])
    >>> to_attend(torch.tensor([False, True]), "ignore")
    tensor([ True, False])
    """
    # solution
    if convention == "attend":
        return mask
    if convention == "ignore":
        return ~mask
    if convention == "additive":
        return mask > -torch.inf
    if convention == "tokenizer":
        return mask == 1
    raise ValueError(f"unknown convention {convention!r}")
    # end


# --- end of your file


def probes(draw: Draw) -> list[Probe]:
    """One pattern in all four conventions, and finite numbers that are added but hide nothing."""
    seen = draw.flags(3, 5, share=0.6)
    seen[0, :2] = torch.tensor([True, False])
    added = draw(3, 5).masked_fill(~seen, -torch.inf)
    return [
        Probe((seen, "attend")),
        Probe((~seen, "ignore")),
        Probe((torch.zeros(3, 5).masked_fill(~seen, -torch.inf), "additive")),
        Probe((seen.long(), "tokenizer")),
        Probe((added, "additive")),
    ]


def _except(convention: str, wrong):
    return lambda mask, given: wrong(mask) if given == convention else to_attend(mask, given)


exercise = Exercise(
    title="Mask conventions",
    function="to_attend",
    solution=to_attend,
    minutes=10,
    difficulty=1,
    story=STORY,
    hints=(
        "Four cases. For each: which value means 'may look'?",
        "One of the two boolean conventions needs no change, the other a ~.",
        "additive: mask > -torch.inf (any finite number is added, it hides nothing); "
        "tokenizer: mask == 1.",
    ),
    probes=probes,
    axes=("row", "column"),
    mistakes=(
        Mistake(
            "an 'ignore' mask that was not turned round",
            _except("ignore", lambda mask: mask),
            "In nn.MultiheadAttention, what does True mean?",
        ),
        Mistake(
            "an 'attend' mask that was turned round",
            _except("attend", lambda mask: ~mask),
            "In scaled_dot_product_attention, what does True mean?",
        ),
        Mistake(
            "an additive mask in which 0 hides",
            _except("additive", lambda mask: mask != 0),
            "What does adding 0 to a score change?",
        ),
        Mistake(
            "an additive mask in which only 0 may look",
            _except("additive", lambda mask: mask == 0),
            "Adding 0.3 makes a score larger. Does that hide it?",
        ),
        Mistake(
            "an additive mask in which negative numbers hide",
            _except("additive", lambda mask: mask >= 0),
            "Adding -0.3 makes a score smaller. Does that hide it?",
        ),
        Mistake(
            "a tokenizer mask that was turned round",
            _except("tokenizer", lambda mask: mask == 0),
            "1 stands at the real tokens. Which may be looked at?",
        ),
    ),
)
