"""Exercise 23: the KV cache."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
To write a token, a model needs the keys and values of all tokens before it. They do not
change, so they are kept: the KV cache. Each step brings the key and value of the new tokens;
they are put behind those of the cache, and the new queries look at all of them, causally
(exercise 10).

Reading a text in pieces must give the same as reading it at once.
"""

# --- your file
import math

import torch
from torch import Tensor

Cache = tuple[Tensor, Tensor] | None


def cached_attention(
    query: Tensor, key: Tensor, value: Tensor, cache: Cache = None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Causal attention of new tokens to themselves and to all that came before.

    Shapes:
        query, key, value [batch, num_heads, new, head_dim], cache: None at first, then
        keys and values [batch, num_heads, earlier, head_dim]
        -> output [batch, num_heads, new, head_dim], (all keys, all values)

    >>> new = torch.ones(1, 1, 2, 4)
    >>> output, cache = cached_attention(new, new, new)
    >>> output, cache = cached_attention(new, new, new, cache)
    >>> cache[0].shape
    torch.Size([1, 1, 4, 4])
    """
    # solution
    if cache is not None:
        key = torch.cat([cache[0], key], dim=-2)
        value = torch.cat([cache[1], value], dim=-2)
    new, total = query.shape[-2], key.shape[-2]
    may_see = torch.ones(new, total, dtype=torch.bool).tril(total - new)
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    weights = torch.softmax(scores.masked_fill(~may_see, -torch.inf), dim=-1)
    return weights @ value, (key, value)
    # end


# --- end of your file


def _variant(query, key, value, cache=None, *, diagonal=None, masked=True, front=False, keep="all"):
    new_key, new_value = key, value
    if cache is not None:
        pairs = ((cache[0], key), (cache[1], value))
        key, value = (torch.cat(p[::-1] if front else p, -2) for p in pairs)
    new, total = query.shape[-2], key.shape[-2]
    seen = torch.ones(new, total, dtype=torch.bool)
    if masked:
        seen = seen.tril(total - new if diagonal is None else diagonal)
    scores = (query @ key.mT / math.sqrt(query.shape[-1])).masked_fill(~seen, -torch.inf)
    kept = (key, value) if keep == "all" else (new_key, new_value)
    if keep == "old" and cache is not None:
        kept = cache
    return scores.softmax(-1) @ value, kept


def _twice(query, key, value, cache=None):
    output, _ = _variant(query, key, value, cache)
    if cache is None:
        return output, (torch.cat([key, key], -2), torch.cat([value, value], -2))
    return output, (torch.cat([cache[0], key], -2), torch.cat([cache[1], value], -2))


def probes(draw: Draw) -> list[Probe]:
    """The prompt; one token behind a cache; two at once behind a cache."""

    def three(new: int) -> tuple[Tensor, Tensor, Tensor]:
        return draw(2, 3, new, 8), draw(2, 3, new, 8), draw(2, 3, new, 8)

    def earlier(count: int) -> tuple[Tensor, Tensor]:
        return draw(2, 3, count, 8), draw(2, 3, count, 8)

    return [
        Probe((*three(4),)),
        Probe((*three(1), earlier(5))),
        Probe((*three(2), earlier(3))),
    ]


exercise = Exercise(
    title="The KV cache",
    function="cached_attention",
    solution=cached_attention,
    minutes=20,
    difficulty=3,
    story=STORY,
    hints=(
        "If there is a cache, put the new keys and values behind it: torch.cat along the length.",
        "The queries are the last of all tokens: which mask was that, in exercise 10?",
        "may_see = torch.ones(new, total, dtype=torch.bool).tril(total - new); return the "
        "output and "
        "(all keys, all values).",
    ),
    probes=probes,
    without=("scaled_dot_product_attention", "MultiheadAttention"),
    mistakes=(
        Mistake(
            "a causal mask aligned at the top left",
            lambda *call: _variant(*call, diagonal=0),
            "Where in the text does the first new query stand?",
        ),
        Mistake(
            "no mask among the new tokens",
            lambda *call: _variant(*call, masked=False),
            "When several tokens are new, may the first see the second?",
        ),
        Mistake(
            "new keys put before the old ones",
            lambda *call: _variant(*call, front=True),
            "In which order did the tokens come?",
        ),
        Mistake(
            "a cache that keeps the newest tokens only",
            lambda *call: _variant(*call, keep="new"),
            "What will the next token need?",
        ),
        Mistake(
            "a cache that is never extended",
            lambda *call: _variant(*call, keep="old"),
            "Are the new keys in what you return?",
        ),
        Mistake(
            "a prompt that is in the cache twice",
            _twice,
            "How long is the cache after a prompt of 4 tokens?",
        ),
    ),
)
