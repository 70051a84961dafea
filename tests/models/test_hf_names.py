"""Saved under the names of Hugging Face: those that transformers itself writes."""

import pytest
from safetensors import safe_open

import _tiny_models as tiny


def names_in(folder):
    with safe_open(folder / "model.safetensors", "pt") as file:
        return set(file.keys())


@pytest.mark.parametrize("family", tiny.OWN)
def test_names_are_those_of_the_checkpoint(family, tmp_path):
    tiny.opened(family).save(tmp_path)
    saved, original = names_in(tmp_path), names_in(tiny.folder(family))
    missing = {n for n in original - saved if "pooler" not in n}
    assert not missing and len(saved) == len({n.lower() for n in saved})
