"""Beam search: the likeliest of several texts that are written at once.

Every step extends each text by each token and keeps the best. A text that ends is put aside with
its score, log-probability / length ** penalty. When as many have ended as there are beams, and none
of those still being written can do better than the worst of them at its present length, it is over.
"""

from collections.abc import Sequence
from typing import Any

import torch

from eyeline.models.generation import Writer

__all__ = ["beam_search"]


@torch.no_grad()
def beam_search(
    network: Any,
    prompt: Sequence[int],
    max_new_tokens: int,
    source: Sequence[int] | None,
    stop: Sequence[int],
    num_beams: int,
    length_penalty: float,
) -> list[int]:
    """The new tokens of the best text.

    Args:
        network: One of eyeline's decoders, or encoder–decoders.
        prompt: Tokens that stand already.
        max_new_tokens: At most so many new ones.
        source: What an encoder–decoder reads.
        stop: Tokens that end a text.
        num_beams: How many texts are written at once.
        length_penalty: Above 0 favours longer texts, as log-probabilities are negative.
    """
    if max_new_tokens < 1:
        return []
    sources = None if source is None else [source] * num_beams
    writer = Writer(network, [prompt] * num_beams, sources, room=max_new_tokens)
    texts: list[list[int]] = [[] for _ in range(num_beams)]
    # all beams are one text at first: only one of them may be extended
    scores = torch.full((num_beams, 1), -torch.inf, device=writer.device)
    scores[0] = 0
    ended: list[tuple[float, list[int]]] = []
    new = writer.tokens
    for length in range(1, max_new_tokens + 1):
        extended = scores + torch.log_softmax(writer.read(new).float(), -1)
        vocabulary = extended.shape[-1]
        # each beam may end in every stop token and still leave enough that go on
        count = min((1 + len(stop)) * num_beams, extended.numel())
        values, places = extended.flatten().topk(count)
        going: list[tuple[float, int, int]] = []
        for rank, (value, place) in enumerate(zip(values.tolist(), places.tolist(), strict=True)):
            beam, token = divmod(place, vocabulary)
            if token in stop:
                if rank < num_beams:
                    score = value / length**length_penalty
                    ended.append((score, [*texts[beam], token]))
            elif len(going) < num_beams:
                going.append((value, beam, token))
        ended = sorted(ended, key=lambda one: -one[0])[:num_beams]
        texts = [[*texts[beam], token] for _, beam, token in going]
        best = going[0][0] / length**length_penalty
        if len(ended) == num_beams and ended[-1][0] >= best:
            break
        rows = torch.tensor([beam for _, beam, _ in going], device=writer.device)
        writer.select(rows)
        scores = torch.tensor([[value] for value, _, _ in going], device=writer.device)
        new = torch.tensor([[token] for _, _, token in going], device=writer.device)
    else:
        finals = zip(scores[:, 0].tolist(), texts, strict=True)
        ended += [(value / max_new_tokens**length_penalty, text) for value, text in finals]
    return max(ended, key=lambda one: one[0])[1]
