"""What an installed wheel must do: `make wheel` runs it where nothing else is eyeline."""

import sys
from pathlib import Path

import torch

import eyeline
from eyeline.impl import native
from eyeline.impl._native_library import library

home = Path(eyeline.__file__).resolve()
if not home.is_relative_to(Path(sys.prefix).resolve()):
    sys.exit(f"this is another eyeline: {home}")
if (reason := native.missing()) is not None:
    sys.exit(reason)
query, key, value = torch.randn(3, 1, 4, 40, 16)
output, seen = eyeline.observe(query, key, value, is_causal=True, impl="native")
expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
torch.testing.assert_close(output, expected)
torch.testing.assert_close(seen.dense().sum(-1), torch.ones(1, 4, 40))
print(f"the wheel works: {library().isa}, {home.parent}")
