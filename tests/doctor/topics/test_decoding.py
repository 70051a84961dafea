"""A cache may be a pair, concatenated by the candidate, as a function or in a module."""

import torch

from eyeline.doctor import check


def decode(query, key, value, cache=None):
    if cache is not None:
        key, value = torch.cat([cache[0], key], 2), torch.cat([cache[1], value], 2)
    rows, cols = query.shape[2], key.shape[2]
    allowed = torch.ones(rows, cols, dtype=torch.bool).tril(cols - rows)
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    weights = torch.softmax(scores.masked_fill(~allowed, -torch.inf), -1)
    return weights @ value, (key, value)


def test_a_function_that_gives_its_cache_back():
    assert check(decode).ok


def test_a_cache_that_forgets_is_named():
    def forgets(query, key, value, cache=None):
        output, _ = decode(query, key, value, cache)
        return output, (key, value)

    found = check(forgets, "decoding")
    assert not found.ok and found.name
