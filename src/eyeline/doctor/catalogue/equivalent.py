"""Mistakes that give the same numbers: no question can tell them apart, and both are named.

The one place where this is listed. A test holds that these coincide, and that no others do.
"""

from eyeline.doctor.catalogue.attention import ATTENTION
from eyeline.doctor.catalogue.decoding import DECODING
from eyeline.doctor.catalogue.multi_head import MULTI_HEAD
from eyeline.doctor.catalogue.rotary import ROTARY

_IN_ATTENTION = [
    ({"scaled by 1/head_dim", "scaled twice"}, "1/√d · 1/√d is 1/d"),
    (
        {
            "masked scores set to 0",
            "scores multiplied by the mask",
            "masked scores set to the smallest positive number",
        },
        "score · 0 is 0, and exp(±1e-9) is 1 but for a billionth",
    ),
]

EQUIVALENT = {
    ATTENTION: _IN_ATTENTION,
    MULTI_HEAD: [
        *_IN_ATTENTION,
        (
            {"queries compared with queries", "keys made with the query projection"},
            "in self-attention both are x W_Q (x W_Q)ᵀ",
        ),
        (
            {
                "keys asked and queries answering",
                "query and key projections exchanged",
            },
            "in self-attention both give the transposed scores",
        ),
        (
            {"keys summed instead of values", "values made with the key projection"},
            "both sum x W_K",
        ),
    ],
    DECODING: [
        (
            {"new keys never appended", "mask not extended beyond the prompt"},
            "keys that are not there and keys that may not be seen are the same",
        ),
    ],
    ROTARY: [
        (
            {"turned the wrong way", "sign on the wrong half of the partner"},
            "turning by −θ and taking the partner with the other sign are the same",
        ),
    ],
}

for recipe, groups in EQUIVALENT.items():
    recipe.equivalent += [(frozenset(names), why) for names, why in groups]
