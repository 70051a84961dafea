"""Recorders: passes, names, kinds and layers of attention calls, without any model of a library."""

import threading

import pytest
import torch
from torch import nn

import eyeline
from eyeline.capture.keeping import Wanted
from eyeline.capture.recording import Recorder, recording, slots_for


class Attention(nn.Module):
    def __init__(self, **attributes):
        super().__init__()
        vars(self).update(attributes)

    def forward(self, x, causal=False, cross=None):
        output, seen = eyeline.observe(x, x, x)
        for slot in slots_for(self, causal=causal, cross=cross):
            slot.keep(seen, output, "")
        return output


X = torch.randn(1, 2, 3, 4)


def model(*names, **attributes):
    """A module that contains an attention under each dotted name."""
    root = nn.Module()
    for name in names:
        *path, last = name.split(".")
        here = root
        for part in path:
            if not hasattr(here, part):
                here.add_module(part, nn.Module())
            here = getattr(here, part)
        here.add_module(last, Attention(**attributes))
    return root


def watched(root, *calls, layers=None, **options):
    """Make one pass in which the named attentions are called."""
    recorder = Recorder(root, layers, Wanted(**options))
    with recording(recorder):
        recorder.begin(root, ())
        for name, keywords in calls:
            root.get_submodule(name)(X, **keywords)
        recorder.end(root, (), "done")
    return recorder


@pytest.mark.parametrize(
    "name, keywords, kind, layer",
    [
        ("h.3.attn", {}, "encoder", 3),
        ("h.3.attn", {"causal": True}, "decoder", 3),
        ("decoder.block.12.layer.0.attention", {}, "decoder", 12),
        ("decoder.2.encoder_attn", {"causal": True}, "cross", 2),
        ("cross_stack.2.attn", {}, "encoder", 2),  # what stands before the number is the stack
        ("h.1.crossattention", {}, "cross", 1),
        ("h.1.attn", {"cross": True}, "cross", 1),
        ("h.1.encoder_attn", {"cross": False}, "encoder", 1),
        ("attn", {}, "encoder", 0),
    ],
)
def test_kind_and_layer_of_a_name(name, keywords, kind, layer):
    (record,) = watched(model(name), (name, keywords)).maps.records.values()
    assert (record.name, record.kind, record.layer) == (name, kind, layer)


def test_what_the_module_says_goes_before_its_name():
    root = model("h.3.attn", layer_idx=7, is_cross_attention=True)
    (record,) = watched(root, ("h.3.attn", {})).maps.records.values()
    assert (record.kind, record.layer) == ("cross", 7)


def test_a_module_that_is_called_again_is_the_next_layer():
    records = watched(model("attn"), *[("attn", {})] * 3).maps.records
    assert {n: r.layer for n, r in records.items()} == {"attn": 0, "attn@1": 1, "attn@2": 2}


def test_chosen_layers():
    names = [f"h.{n}.attn" for n in range(3)]
    recorder = watched(model(*names), *((n, {}) for n in names), layers=[2, 0])
    assert list(recorder.maps) == ["h.0.attn", "h.2.attn"]
    assert recorder.layers_met == {0, 1, 2}


def test_outputs_only_when_asked():
    for asked in (False, True):
        recorder = watched(model("attn"), ("attn", {}), outputs=asked)
        assert (recorder.maps.records["attn"].output is not None) == asked


def test_a_reason_to_keep_vectors_is_recorded():
    recorder = watched(model("attn"), ("attn", {}), keep="inputs")
    assert recorder.maps.records["attn"].keeps == "query, key and value: "
    assert watched(model("attn"), ("attn", {})).maps.records["attn"].keeps == "query, key and value"


def test_a_pass_that_raised_is_forgotten_and_one_without_calls_is_noticed():
    root = model("attn")
    recorder = Recorder(root, None)
    with recording(recorder):
        recorder.begin(root, ())
        root.attn(X)
        recorder.end(root, (), None)  # as a hook is called after an exception
        assert len(recorder.maps.passes) == 0 and not recorder.silent_pass
        recorder.begin(root, ())
        recorder.end(root, (), "done")
    assert recorder.silent_pass


def test_passes_inside_of_a_pass_are_one():
    root = model("h.0.attn", "h.1.attn")
    recorder = Recorder(root, None)
    with recording(recorder):
        recorder.begin(root, ())
        root.h.get_submodule("0.attn")(X)
        recorder.begin(root, ())
        root.h.get_submodule("1.attn")(X)
        recorder.end(root, (), "inner")
        assert recorder.maps.passes == []
        recorder.end(root, (), "outer")
    assert [list(p) for p in recorder.maps.passes] == [["h.0.attn", "h.1.attn"]]


def test_calls_before_a_pass_belong_to_it_and_those_after_it_are_one_of_their_own():
    root = model("encoder.attn", "decoder.attn")
    recorder = Recorder(root, None)
    with recording(recorder):
        root.encoder.attn(X)
        recorder.begin(root, ())
        root.decoder.attn(X)
        recorder.end(root, (), "done")
        root.encoder.attn(X)
        root.encoder.attn(X)
    assert [list(p) for p in recorder.maps.passes] == [
        ["encoder.attn", "decoder.attn"],
        ["encoder.attn"],
        ["encoder.attn"],
    ]


def test_nobody_listens_outside_of_the_block_or_to_other_modules():
    root, other = model("attn"), model("attn")
    recorder = Recorder(root, None)
    with recording(recorder):
        assert slots_for(other.attn, causal=False) == []
        assert len(slots_for(root.attn, causal=False)) == 1
    assert slots_for(root.attn, causal=False) == []
    assert recorder.knows(root.attn) and not recorder.knows(other.attn)


def test_a_thread_reports_to_its_own_watchers_first():
    root = model("attn")
    ours, theirs = Recorder(root, None), Recorder(root, None)

    def work():
        with recording(theirs):
            root.attn(X)

    with recording(ours):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        thread = threading.Thread(target=lambda: root.attn(X))  # has none of its own
        thread.start()
        thread.join()
    assert (len(ours.maps.passes), len(theirs.maps.passes)) == (1, 1)
