"""Mistakes that give the same numbers: no question can tell them apart, and both are named.

The one place where this is listed. A test holds that these coincide, and that no others do.
"""

from eyeline.doctor.catalogue.attention import ATTENTION

EQUIVALENT = {
    ATTENTION: [
        ({"scaled by 1/head_dim", "scaled twice"}, "1/√d · 1/√d is 1/d"),
        (
            {
                "masked scores set to 0",
                "scores multiplied by the mask",
                "masked scores set to the smallest positive number",
            },
            "score · 0 is 0, and exp(±1e-9) is 1 but for a billionth",
        ),
    ],
}

for recipe, groups in EQUIVALENT.items():
    recipe.equivalent += [(frozenset(names), why) for names, why in groups]
