"""torch's cross entropy judges what is called right."""

import torch

from eyeline.doctor.catalogue import NEXT_TOKEN_LOSS


def test_right_is_torchs():
    logits = torch.randn(2, 6, 11, dtype=torch.float64)
    ids = torch.randint(1, 11, (2, 6))
    ids[1, 4:] = 0
    loss = NEXT_TOKEN_LOSS.run({"x": logits, "ids": ids, "pad_id": 0}).loss
    right = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), ignore_index=0
    )
    torch.testing.assert_close(loss, right)
