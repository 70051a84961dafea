"""torch.nn.MultiheadAttention judges what is called right."""

import torch
from torch import nn

from eyeline.doctor import forge


def test_right_is_torchs_module_with_the_same_weights():
    ours = forge("multi-head attention").double()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double().eval()
    with torch.no_grad():
        parts = [ours.q_proj, ours.k_proj, ours.v_proj]
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
        theirs.out_proj.load_state_dict(ours.o_proj.state_dict())
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])
