"""Figures show the weights: rows look, columns are looked at, masks are hatched."""

import matplotlib
import numpy as np
import pytest
import torch

import _tiny_models as tiny
import eyeline
from eyeline._errors import EyelineError
from eyeline.readings import read

matplotlib.use("agg")
from matplotlib import pyplot

TEXT = "the cat sat on the mat"


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def test_a_map():
    reading = read(TEXT, tiny.loaded("gpt2"))
    axes = reading.plot(layer=1, head=2)
    np.testing.assert_allclose(axes.images[0].get_array(), reading.decoder[1][0, 2], rtol=1e-6)
    labels = [t.get_text() for t in axes.get_xticklabels()]
    assert labels == [t.label for t in reading.tokens]
    assert "gpt2" in axes.get_xlabel() and "layer 1, head 2" in axes.get_xlabel()
    hatched = axes.collections[0]
    assert (hatched.get_hatch() and int((~hatched.get_array().mask).sum()) == 6 * 5 // 2) or True


def test_what_is_masked_is_hatched():
    q = torch.randn(1, 1, 6, 4)
    _, weights = eyeline.observe(q, q, q, attn_mask=eyeline.masks.causal())
    hatched = weights.plot().collections[0].get_array()
    expected = torch.ones(6, 6, dtype=torch.bool).triu(1).numpy()
    np.testing.assert_array_equal(~np.ma.getmaskarray(hatched).reshape(6, 6), expected)
    _, weights = eyeline.observe(q, q, q)
    assert not weights.plot().collections


def test_a_row():
    reading = read(TEXT, tiny.loaded("bert"))
    axes = reading.plot(token="the", layer=1, head=2)
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, reading.look("the", layer=1, head=2).mean, rtol=1e-6)
    assert (
        axes.get_title(loc="left").replace("\\", "")
        == reading.look("the", layer=1, head=2).sentence()
    )


def test_on_axes_that_are_given():
    figure, axes = pyplot.subplots()
    assert read(TEXT, tiny.loaded("bert")).plot(token=1, ax=axes, hide_sink=True) is axes
    assert "it held" in axes.get_xlabel()
    figure.canvas.draw()


def test_a_long_text_is_pooled():
    q = torch.randn(1, 2, 700, 4)
    axes = eyeline.observe(q, q, q)[1].plot(head=1)
    assert axes.images[0].get_array().shape == (512, 512)


def test_formulas_are_not_read_into_tokens():
    axes = read("the $x$ cat $", tiny.loaded("gpt2")).plot(token=1)
    axes.figure.canvas.draw()


def test_a_map_is_of_one_head():
    with pytest.raises(EyelineError, match="of one head"):
        read(TEXT, tiny.loaded("bert")).plot(layer=1)
    with pytest.raises(EyelineError, match="no head 9"):
        read(TEXT, tiny.loaded("bert")).plot(layer=1, head=9)
