"""`eyeline check`."""

import json

ATTENTION = """
import math, torch

def good(q, k, v):
    return torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), -1) @ v

def bad(q, k, v):
    return torch.softmax(q @ k.mT, -1) @ v

def mystery(one):
    return one
"""


def test_check(eyeline, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(ATTENTION)
    code, out, err = eyeline("check", f"{file}:good")
    assert (code, err) == (0, "") and "good: right (attention)" in out
    code, out, err = eyeline("check", f"{file}:bad")
    assert (code, err) == (1, "") and "not scaled" in out and "expected" in out
    code, out, _ = eyeline("check", f"{file}:bad", "--json")
    data = json.loads(out)
    assert code == 1 and data["name"] == "not scaled" and data["ok"] is False
    code, out, err = eyeline("check", f"{file}:mystery")
    assert code == 2 and out == "" and err.count("\n") == 1 and "I cannot tell" in err
    code, _, err = eyeline("check", "nowhere.py:f")
    assert code == 2 and "there is no file" in err
    code, out, _ = eyeline("check", f"{file}:good", "--causal", "yes")
    assert code == 1 and "not causal" in out
