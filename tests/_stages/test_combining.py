"""From weights to what attention adds: against the same by hand."""

import torch
from torch import nn

import eyeline
from eyeline._stages import combine
from eyeline._stages.stage import Builder
from eyeline.capture.projections import Linear, Projections, Seen
from eyeline.tokens import Token

HEADS, LONG, WIDE, ROW, HEAD = 2, 4, 3, 2, 1
KEYS = [Token(i, i, f"k{i}", f"k{i}", -1, -1, False) for i in range(LONG)]


def setting(bias=True):
    query, key, value = torch.randn(3, 1, HEADS, LONG, WIDE, dtype=torch.float64)
    output, seen = eyeline.observe(query, key, value)
    build = Builder(seen, HEAD, ROW, KEYS)
    linear = nn.Linear(HEADS * WIDE, 5, bias=bias, dtype=torch.float64)
    part = Linear(linear, linear.weight.detach(), linear.bias.detach() if bias else None)
    concat = output.transpose(1, 2).flatten(2)
    went = Seen(concat=concat, output=linear(concat).detach())
    return build, value[0, HEAD], output, Projections(part, part, part, part), went


def by_name(build):
    return {s.name: s for s in build.stages}


def everybody(build):
    return build.weights, torch.ones(LONG, dtype=torch.bool)


def test_every_stage_is_what_the_model_has():
    build, value, output, parts, seen = setting()
    combine(build, *everybody(build), value, parts, seen, output)
    stages = by_name(build)
    assert list(stages) == ["weighted_sum", "concat", "output"]
    assert torch.allclose(stages["weighted_sum"].values, build.weights @ value)
    assert torch.allclose(stages["concat"].values, output[0, :, ROW].flatten())
    assert torch.allclose(stages["output"].values, seen.output[0, ROW])
    assert all(s.delta <= 1e-14 for s in stages.values()) and not build.notes


def test_formula_and_example_name_the_numbers():
    build, value, output, parts, seen = setting()
    combine(build, *everybody(build), value, parts, seen, output)
    stages = by_name(build)
    top, second = build.weights.argsort(descending=True)[:2].tolist()
    example = stages["weighted_sum"].example
    assert example.startswith(f"o[0] = {build.weights[top]:.3f}×")
    assert f" + {build.weights[second]:.3f}×" in example
    assert example.endswith(f"… = {stages['weighted_sum'].values[0]:.4g}")
    assert stages["concat"].example == "numbers 3 to 5 of 6 are this head's"
    assert stages["output"].formula == "y = W_O concat + b"
    assert stages["output"].example.endswith(f"= {stages['output'].values[0]:.4g}")


def test_without_a_bias_none_is_claimed():
    build, value, output, parts, seen = setting(bias=False)
    combine(build, *everybody(build), value, parts, seen, output)
    assert by_name(build)["output"].formula == "y = W_O concat"


def test_hidden_values_have_no_say():
    build, value, output, _, _ = setting()
    live = torch.tensor([True, True, True, False])
    value[3] = torch.nan
    combine(build, build.weights.masked_fill(~live, 0), live, value, None, None, output)
    assert by_name(build)["weighted_sum"].values.isfinite().all()


def test_without_the_models_output_it_ends_at_the_sum():
    build, value, _, parts, seen = setting()
    combine(build, *everybody(build), value, parts, seen, None)
    assert [s.name for s in build.stages] == ["weighted_sum"]
    assert build.stages[0].delta is None


def test_without_projections_it_ends_at_the_concatenation():
    build, value, output, _, _ = setting()
    combine(build, *everybody(build), value, None, None, output)
    assert [s.name for s in build.stages] == ["weighted_sum", "concat"]


def test_a_model_that_changes_the_concatenation_is_followed_and_it_is_said():
    build, value, output, parts, seen = setting()
    seen.concat = 2 * seen.concat  # a gate, say
    seen.output = parts.output(seen.concat)
    combine(build, *everybody(build), value, parts, seen, output)
    stages = by_name(build)
    assert "concat_adjusted" in stages and any("does not know" in n for n in build.notes)
    assert stages["output"].delta <= 1e-14
