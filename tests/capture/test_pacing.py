"""Layers tell when they begin, and a network can be stopped between two of them."""

import threading

import pytest
import torch

import _tiny_models as tiny
from eyeline.capture.pacing import paced
from eyeline.readings import read


class Enough(Exception):
    pass


@pytest.mark.parametrize("family, layers", [("bert", 2), ("gpt2", 2), ("t5", 4), ("bart", 4)])
def test_every_layer_is_told_of(family, layers):
    told = []
    target = {"target": "the dog"} if family in tiny.PAIRS else {}
    read("the cat", tiny.loaded(family), tick=lambda *one: told.append(one), **target)
    assert told == [(n, layers) for n in range(layers)]


def test_raising_stops_the_network_and_leaves_no_hook():
    network = tiny.loaded("bert").network
    count = sum(len(m._forward_pre_hooks) for m in network.modules())

    def tick(done, total):
        if done == 1:
            raise Enough

    with pytest.raises(Enough):
        read("the cat", tiny.loaded("bert"), tick=tick)
    assert sum(len(m._forward_pre_hooks) for m in network.modules()) == count


def test_another_threads_pass_is_not_counted():
    network, told = tiny.loaded("bert").network, []
    with paced(network, lambda *one: told.append(one)):
        thread = threading.Thread(target=lambda: network(input_ids=torch.tensor([[2, 5, 3]])))
        thread.start()
        thread.join()
    assert told == []
