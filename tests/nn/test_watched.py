import torch

from eyeline.functional import attention
from eyeline.nn import MultiHeadAttention


def test_an_observer_gets_the_call_instead():
    module, x, calls = MultiHeadAttention(16, 2), torch.randn(1, 4, 16), []

    def observer(owner, vectors, again, kind, call):
        calls.append((owner, kind, call["is_causal"]))
        assert all(torch.equal(a, b) for a, b in zip(vectors, again(), strict=True))
        return attention(*vectors, **call)

    plain = module(x, is_causal=True)
    module.observers = (observer,)
    assert torch.equal(module(x, is_causal=True), plain)
    module(x), module(x, x)
    assert calls == [
        (module, "decoder", True),
        (module, "encoder", False),
        (module, "cross", False),
    ]
    module.observers = ()
    module(x)
    assert len(calls) == 3
