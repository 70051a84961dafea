"""The study's networks and tasks are what it says they are."""

import pytest
import torch
from bench.why_attention.__main__ import right, written
from bench.why_attention.networks import READERS, count, make
from bench.why_attention.tasks import Asked, Copy, Recall


@pytest.mark.parametrize("vocabulary, parameters", [(33, 60_000), (129, 60_000), (75, 250_000)])
def test_all_have_about_as_many_parameters(vocabulary, parameters):
    counts = [count(make(name, vocabulary, parameters, 0)) for name in READERS]
    assert max(counts) < 1.06 * min(counts)


@pytest.mark.parametrize("reader", READERS)
def test_nothing_is_told_before_it_is_asked(reader):
    """Not the answer, not what comes after it, not the padding of a shorter source."""
    network = make(reader, 40, 20_000, 1).eval()
    source = torch.tensor([[3, 4, 5, 0], [6, 7, 8, 9]])
    asked = Asked(source, torch.tensor([3, 4]), torch.tensor([[3, 4, 5], [6, 7, 8]]))
    said = written(network, asked)
    later = written(network, asked._replace(target=torch.tensor([[3, 4, 9], [6, 7, 9]])))
    torch.testing.assert_close(said, later)
    padded = asked._replace(source=torch.tensor([[3, 4, 5, 11], [6, 7, 8, 9]]))
    torch.testing.assert_close(said, written(network, padded), atol=1e-5, rtol=1e-5)
    earlier = written(network, asked._replace(target=torch.tensor([[9, 4, 5], [9, 7, 8]])))
    assert not torch.allclose(said[:, 1], earlier[:, 1])


def test_recall_asks_for_the_value_of_a_key_that_is_there_once():
    asked = Recall().of(8, torch.Generator().manual_seed(0), 50)
    keys, values = asked.source.unbind(-1)
    assert keys.max() < values.min()
    for step in range(8):
        given, blank = asked.given[:, 2 * step : 2 * step + 2].unbind(1)
        hit = keys == given[:, None]
        assert (hit.sum(1) == 1).all() and not blank.any()
        assert (asked.target[:, 2 * step] == -100).all()
        assert torch.equal(values[hit], asked.target[:, 2 * step + 1])


@pytest.mark.parametrize("name", READERS)
def test_two_tokens_at_one_place_are_added(name):
    network = make(name, 20, 20_000, seed=0).eval()
    pairs = torch.tensor([[[1, 9], [2, 10]]])
    given = torch.tensor([[1, 0]])
    said = network(pairs, torch.tensor([2]), given)
    torch.testing.assert_close(said, network(pairs.flip(-1), torch.tensor([2]), given))
    alone = pairs.clone()
    alone[..., 1] = 0  # nothing is there
    torch.testing.assert_close(
        network(alone, torch.tensor([2]), given), network(pairs[..., 0], torch.tensor([2]), given)
    )


def test_copy_asks_for_the_source_and_right_counts_tokens():
    asked = Copy().of(5, torch.Generator().manual_seed(0), 4)
    assert torch.equal(asked.source, asked.target)

    class Echo(torch.nn.Module):
        def forward(self, source, lengths, target):
            said = torch.nn.functional.one_hot(source, 33).float()
            said[:, 0] = 0  # it misses the first of five
            return said

    assert right(Echo(), asked) == pytest.approx(0.8)


def test_the_figure_takes_curves_of_any_length():
    from bench.why_attention.figure import whole

    assert whole([(1, 0.5), (2, 1.0)], 4) == [0.5, 1.0, 1.0, 1.0]
