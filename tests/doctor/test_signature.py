"""Parameters are understood by their names, or by their places where names say nothing."""

import pytest
import torch
from torch import nn

from eyeline import EyelineError
from eyeline.doctor._signature import cannot_map, read_signature, role_of

PLACES = ("query", "key", "value", "mask")


def f(q, k, v, attn_mask=None, *, is_causal=False, scale=1.0):
    pass


def g(a, b, c):
    pass


def h(q, k, v, my_mask):
    pass


def strange(q, k, v, rel_pos, extra=None):
    pass


def test_by_name():
    found = read_signature(f, PLACES)
    assert found.parameters["query"] == "q" and found.parameters["mask"] == "attn_mask"
    assert "is_causal" in found and found.required == {"query", "key", "value"}
    assert found.strangers == ()
    places, named = found.arguments({"query": 1, "mask": 2})
    assert (places, named) == ([], {"q": 1, "attn_mask": 2})


def test_by_place_where_names_say_nothing():
    assert read_signature(g, PLACES).parameters == {"query": "a", "key": "b", "value": "c"}
    assert read_signature(h, PLACES).parameters["mask"] == "my_mask"


def test_strangers_with_a_default_are_left_alone():
    assert read_signature(strange, PLACES).strangers == ("rel_pos",)
    message = str(cannot_map("strange", read_signature(strange, PLACES), "f(q)", "lambda f: f"))
    assert "rel_pos" in message and "adapter=lambda f: f" in message


def test_what_is_written_in_c():
    sdpa = read_signature(torch.nn.functional.scaled_dot_product_attention, PLACES)
    assert {"query", "key", "value", "mask", "is_causal"} <= set(sdpa.parameters)
    other = read_signature(torch.baddbmm, PLACES)
    assert other.arguments({"query": 1, "key": 2, "value": 3}) == ([1, 2, 3], {})


def test_modules_and_anything_that_takes_what_comes():
    assert "query" in read_signature(nn.MultiheadAttention(4, 2), PLACES)
    assert read_signature(lambda *all_of_it: 0, PLACES).parameters == {
        "query": 0,
        "key": 1,
        "value": 2,
    }


@pytest.mark.parametrize(
    "name, role",
    [("Q", "query"), ("n_heads", "num_heads"), ("d_model", "embed_dim"), ("W_q", "w_query")],
)
def test_names_of_the_field(name, role):
    assert role_of(name) == role
    assert role_of("something") is None


def test_the_error_is_one_of_ours():
    assert isinstance(cannot_map("f", read_signature(f, PLACES), "", ""), EyelineError)
