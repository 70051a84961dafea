"""`eyeline models`."""

import json


def test_models_list(eyeline):
    code, out, _ = eyeline("models", "list")
    assert code == 0 and "minilm" in out and "smollm2" in out
    code, out, _ = eyeline("models", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert {"minilm", "smollm2"} <= set(rows) and rows["minilm"]["cached"] is None
