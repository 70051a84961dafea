"""The block itself: what it records, what it refuses, and that it leaves the model as it was."""

import subprocess
import sys

import pytest
import torch
import transformers as hf

from eyeline._errors import EyelineError
from eyeline.capture import Maps, UnsupportedModel, watch


def implementations(model) -> list[str | None]:
    return [m.config._attn_implementation for m in model.modules() if hasattr(m, "config")]


def hooks(model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("name", ["bert", "t5", "bert-pair", "whisper"])
@pytest.mark.parametrize("before", ["eager", "sdpa"])
def test_every_config_gets_its_own_back(tiny, inputs, name, before):
    model = tiny(name)
    model.set_attn_implementation(before)
    if name == "bert-pair":
        model.decoder.set_attn_implementation("eager")  # parts may differ
    expected = implementations(model), hooks(model)
    with watch(model):
        assert set(implementations(model)) == {"eyeline"}
        model(**inputs(model))
    assert (implementations(model), hooks(model)) == expected


def test_and_also_when_the_block_raises(tiny, inputs):
    model = tiny("t5")
    expected = implementations(model), hooks(model)
    with pytest.raises(ZeroDivisionError), watch(model):
        model(**inputs(model))
        raise ZeroDivisionError
    assert (implementations(model), hooks(model)) == expected


def test_nested_blocks(tiny, inputs):
    model = tiny("bert")
    given = inputs(model)
    with watch(model) as outer:
        with watch(model, layers=[1]) as inner:
            model(**given)
        assert set(implementations(model)) == {"eyeline"}
        model(**given)
    assert set(implementations(model)) == {"eager"}
    assert (len(outer.passes), len(inner.passes)) == (2, 1)
    assert list(inner) == ["encoder.layer.1.attention.self"]


def test_blocks_of_a_model_and_its_part(tiny, inputs):
    model = tiny("llama")
    with watch(model) as whole, watch(model.model) as part:
        model(**inputs(model))
    assert list(whole) == [f"model.{name}" for name in part]
    assert set(implementations(model)) == {"eager"}


def test_maps_are_a_mapping_in_order(tiny, inputs):
    model = tiny("bert")
    with watch(model) as maps:
        assert len(maps) == 0 and not maps.records
        model(**inputs(model))
    assert isinstance(maps, Maps)
    assert list(maps) == [f"encoder.layer.{n}.attention.self" for n in (0, 1)]
    assert maps["encoder.layer.1.attention.self"].shape == (2, 4, 11, 11)
    assert "nothing" not in maps and maps.get("nothing") is None
    with pytest.raises(KeyError, match=r"no map is named 'nothing'.*layer\.0\.attention"):
        maps["nothing"]
    assert repr(maps) == "Maps(2 maps, 1 passes)"


def test_maps_show_the_last_pass(tiny, inputs):
    model = tiny("gpt2")
    with watch(model) as maps:
        model(**inputs(model, length=5))
        model(**inputs(model, length=8))
    assert [next(iter(p.values())).shape[-1] for p in maps.passes] == [5, 8]
    assert maps["transformer.h.0.attn"].shape[-1] == 8


def test_layers(tiny, inputs):
    model = tiny("t5")
    with watch(model, layers={1}) as maps:
        model(**inputs(model))
    assert {(r.kind, r.layer) for r in maps.records.values()} == {
        ("encoder", 1),
        ("decoder", 1),
        ("cross", 1),
    }


def test_layers_that_do_not_exist(tiny, inputs):
    model = tiny("bert")
    with pytest.raises(EyelineError, match=r"layers=\[7\] chose nothing.*layers \[0, 1\]"):
        with watch(model, layers=[7]):
            model(**inputs(model))
    with pytest.raises(TypeError, match=r"layers=\[3\]"), watch(model, layers=3):
        pass


def test_shared_modules_are_numbered(tiny, inputs):
    model = tiny("albert")
    with watch(model) as maps:
        model(**inputs(model))
    first, second = maps
    assert second == f"{first}@1"
    assert [r.layer for r in maps.records.values()] == [0, 1]


def test_parts_run_alone_are_passes_too(tiny, inputs):
    model = tiny("t5")
    given = inputs(model)
    given.pop("decoder_input_ids")
    with watch(model) as maps:
        model.encoder(**given)
        model.encoder(**given)
    assert [len(p) for p in maps.passes] == [2, 2]


def test_a_pass_that_raised_is_no_pass(tiny, inputs):
    model = tiny("gpt2")
    with watch(model) as maps:
        with pytest.raises(IndexError):
            model(torch.full((1, 3), 1000))
        model(**inputs(model))
    assert len(maps.passes) == 1


def test_models_inside_other_modules(tiny, inputs):
    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = tiny("bert")
            self.mix = torch.nn.MultiheadAttention(32, 4, batch_first=True)

        def forward(self, **given):
            hidden = self.body(**given).last_hidden_state
            return self.mix(hidden, hidden, hidden)[0]

    model = Classifier()
    with watch(model) as maps:
        model(**inputs(model.body))
    assert list(maps) == [*(f"body.encoder.layer.{n}.attention.self" for n in (0, 1)), "mix"]


class Silent(hf.PreTrainedModel):
    config_class = hf.BertConfig

    def __init__(self, config):
        super().__init__(config)
        self.linear = torch.nn.Linear(2, 2)
        self.post_init()

    def forward(self, x):
        return self.linear(x)


def test_a_forward_pass_without_any_map_is_an_error():
    model = Silent(hf.BertConfig())
    with pytest.raises(UnsupportedModel, match="Silent made a forward pass without"):
        with watch(model):
            model(torch.zeros(1, 2))
    assert "eyeline" not in implementations(model)


def test_a_file_whose_attention_is_its_own_is_refused(monkeypatch):
    monkeypatch.setattr(Silent, "_can_set_attn_implementation", classmethod(lambda cls: False))
    with pytest.raises(UnsupportedModel, match="Silent"), watch(Silent(hf.BertConfig())):
        pass


def test_not_a_module():
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"), watch("bert"):
        pass


def test_importing_does_not_import_transformers():
    code = "import sys, eyeline.capture, eyeline; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
