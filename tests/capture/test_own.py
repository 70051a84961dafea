"""eyeline's own networks under `watch`: every map, its kind, what it keeps, and nothing changed."""

import threading

import pytest
import torch

import _tiny_models as tiny
import eyeline
from eyeline.capture.records import VECTORS
from eyeline.models.bert import Bert, BertConfig
from eyeline.models.generation import generate, steps
from eyeline.models.gpt2 import GPT2, GPT2Config
from eyeline.models.llama import Llama, LlamaConfig
from eyeline.models.t5 import T5, T5Config
from eyeline.models.transformer import Transformer, TransformerConfig
from eyeline.nn import MultiHeadAttention, MultiheadAttention

SMALL = {"vocab_size": 50, "embed_dim": 16, "num_layers": 2, "num_heads": 2}
HIDDEN = {"hidden_dim": 24}
NETWORKS = {
    "bert": lambda: Bert(BertConfig(**SMALL, **HIDDEN)),
    "gpt2": lambda: GPT2(GPT2Config(**SMALL)),
    "gpt2 with cross-attention": lambda: GPT2(GPT2Config(**SMALL, cross_attention=True)),
    "llama": lambda: Llama(LlamaConfig(**SMALL | {"num_heads": 4}, **HIDDEN, num_kv_heads=2)),
    "t5": lambda: T5(T5Config(**SMALL, **HIDDEN, head_dim=8)),
    "transformer": lambda: Transformer(TransformerConfig(**SMALL, **HIDDEN)),
}
PAIRS = ("t5", "transformer")
KINDS = {
    "bert": ["encoder"] * 2,
    "gpt2": ["decoder"] * 2,
    "gpt2 with cross-attention": ["decoder", "cross"] * 2,
    "llama": ["decoder"] * 2,
    "t5": ["encoder"] * 2 + ["decoder", "cross"] * 2,
    "transformer": ["encoder"] * 2 + ["decoder", "cross"] * 2,
}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    made = NETWORKS[request.param]().eval()
    made.name = request.param
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def inputs(network, batch=2):
    tokens = torch.randint(3, 50, (batch, 9), generator=torch.Generator().manual_seed(1))
    if network.name in PAIRS:
        return {"source": tokens, "target": tokens[:, :5]}
    if "cross" in network.name:
        memory = torch.randn(batch, 6, 16, generator=torch.Generator().manual_seed(2))
        return {"tokens": tokens, "memory": memory}
    return {"tokens": tokens}


def test_every_layer_and_kind(network):
    given = inputs(network)
    with torch.no_grad():
        plain = network(**given)
        with eyeline.watch(network, outputs=True) as maps:
            watched = network(**given)
        again = network(**given)
    assert torch.allclose(plain, watched, atol=1e-6) and torch.equal(plain, again)
    records = list(maps.records.values())
    assert [r.kind for r in records] == KINDS[network.name]
    for kind in set(KINDS[network.name]):
        assert [r.layer for r in records if r.kind == kind] == [0, 1]
    for record in records:
        assert network.get_submodule(record.name) is record.module
        query, _, value = (getattr(record.map.problem, n) for n in ("query", "key", "value"))
        weights = record.map.dense()
        group = query.shape[1] // value.shape[1]
        assert torch.allclose(weights @ value.repeat_interleave(group, 1), record.output, atol=1e-5)
        if record.kind == "decoder":
            assert weights.triu(1).abs().max() == 0
        if record.kind == "cross":
            assert weights.shape[-2:] == ((5, 9) if network.name in PAIRS else (9, 6))
    assert not any(m.observers for m in network.modules() if hasattr(m, "observers"))


@pytest.mark.parametrize("layers", [[1], [0, 1], [0]])
def test_only_some_layers(network, layers):
    with torch.no_grad(), eyeline.watch(network, layers=layers) as maps:
        network(**inputs(network))
    assert {r.layer for r in maps.records.values()} == set(layers)


def test_keeping_inputs(network):
    given = inputs(network)
    with torch.no_grad():
        with eyeline.watch(network) as full:
            network(**given)
        with eyeline.watch(network, keep="inputs") as lean:
            network(**given)
    for name, record in lean.records.items():
        assert record.keeps == "inputs" and "made again from" in repr(record.map)
        assert torch.equal(record.map.dense(), full[name].dense())
        assert record.map.nbytes < full[name].nbytes
    with torch.no_grad():
        next(network.parameters()).add_(1)
        module = next(iter(lean.records.values())).module
        module.q_proj.weight.add_(1)
    with pytest.raises(RuntimeError, match=r"a parameter of .* was changed"):
        next(iter(lean.values())).dense()


def test_why_inputs_would_not_do(network):
    given = inputs(network)
    with eyeline.watch(network, keep="inputs") as maps:
        network(**given)
    assert {r.keeps for r in maps.records.values()} == {
        f"{VECTORS}: gradients are on, and an optimizer may change what they were made of"
    }
    network.train()
    with torch.no_grad(), eyeline.watch(network, keep="inputs") as maps:
        network(**given)
    assert all("training mode" in r.keeps for r in maps.records.values())


def test_statistics_in_the_same_pass(network):
    wanted = eyeline.Measure(top_k=2, entropy=True, received=True)
    given = inputs(network)
    with torch.no_grad():
        with eyeline.watch(network) as full:
            network(**given)
        with eyeline.watch(network, keep="statistics", measure=wanted) as lean:
            network(**given)
    for name, record in lean.records.items():
        assert record.keeps == "statistics"
        assert torch.allclose(record.map.entropy(), full[name].entropy(), atol=1e-5)
        assert torch.allclose(record.map.received(), full[name].received(), atol=1e-5)
        with pytest.raises(RuntimeError, match="keeps statistics alone"):
            record.map.dense()


def test_gradients_flow_while_somebody_watches(network):
    given = inputs(network)
    network(**given).square().sum().backward()
    expected = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    with eyeline.watch(network) as maps:
        network(**given).square().sum().backward()
    assert len(maps) == len(KINDS[network.name])
    for name, parameter in network.named_parameters():
        if name in expected:
            assert torch.allclose(parameter.grad, expected[name], rtol=1e-3, atol=1e-4), name


def test_watchers_within_watchers(network):
    given = inputs(network)
    part = network.get_submodule("decoder" if network.name in PAIRS else "blocks")
    with torch.no_grad(), eyeline.watch(network) as outer:
        network(**given)
        with eyeline.watch(part, layers=[1]) as inner:
            network(**given)
        network(**given)
    assert len(outer.passes) == 3
    assert {r.layer for r in inner.records.values()} == {1}
    own_kind = "encoder" if network.name == "bert" else "decoder"
    whole = next(n for n, r in outer.records.items() if (r.kind, r.layer) == (own_kind, 1))
    prefix = "decoder." if network.name in PAIRS else "blocks."
    assert torch.equal(inner[whole.removeprefix(prefix)].dense(), outer[whole].dense())


def test_nobody_else_is_watched(network):
    other = NETWORKS[network.name]().eval()
    other.name = network.name
    given = inputs(network)
    with torch.no_grad(), eyeline.watch(network) as maps:
        other(**given)
        thread = threading.Thread(target=lambda: other(**given))
        thread.start()
        thread.join()
    assert len(maps) == 0


def test_an_error_in_the_block_leaves_the_network_alone(network):
    with pytest.raises(KeyError), eyeline.watch(network):
        raise KeyError
    assert not any(m.observers for m in network.modules() if hasattr(m, "observers"))


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "transformer"])
def test_every_step_of_writing_is_a_pass(name):
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    prompts, source = ([[1]], [[3, 4, 5, 6]]) if name in PAIRS else ([[3, 4, 5, 6]], None)
    with eyeline.watch(network) as maps:
        (written,) = generate(network, prompts, 6, source=source)
    passes = maps.record_passes
    assert len(passes) == 6
    assert written == generate(network, prompts, 6, source=source)[0]
    decoders = [[r for r in p.values() if r.kind == "decoder"] for p in passes]
    first = len(prompts[0])
    assert [d[0].map.shape[2:] for d in decoders] == [(first, first)] + [
        (1, first + n) for n in range(1, 6)
    ]
    if name in PAIRS:
        assert [r.kind for r in passes[0].values()][:2] == ["encoder", "encoder"]
        crosses = [[r for r in p.values() if r.kind == "cross"] for p in passes]
        assert all(c[0].map.shape[3] == 4 for c in crosses)
    # the last row of a step is that of the whole text in one pass
    text = torch.tensor([prompts[0] + written[:-1]])
    with torch.no_grad(), eyeline.watch(network) as whole:
        network(torch.tensor(source), text) if name in PAIRS else network(text)
    for record in passes[-1].values():
        if record.kind == "decoder":
            row = whole[record.name].dense()[:, :, -1:]
            assert torch.allclose(record.map.dense(), row, atol=1e-5)


def test_keeping_inputs_while_writing_keeps_vectors():
    network = NETWORKS["llama"]().eval()
    with eyeline.watch(network, keep="inputs") as maps:
        list(steps(network, [[3, 4, 5]], 3))
    reasons = {r.keeps for r in maps.records.values()}
    assert reasons == {f"{VECTORS}: a cache holds the earlier keys"}


def test_a_module_alone_and_the_drop_in():
    ours, x = MultiHeadAttention(16, 2).eval(), torch.randn(2, 5, 16)
    drop_in, theirs = MultiheadAttention(16, 2, batch_first=True), None
    theirs = torch.nn.MultiheadAttention(16, 2, batch_first=True)
    theirs.load_state_dict(drop_in.state_dict())
    both = torch.nn.ModuleDict({"ours": ours, "drop": drop_in.eval(), "theirs": theirs.eval()})
    padding = torch.tensor([[False] * 5, [False, False, True, True, True]])
    with torch.no_grad(), eyeline.watch(both) as maps:
        ours(x)
        for module in (drop_in, theirs):
            module(x, x, x, key_padding_mask=padding, need_weights=False)
    assert list(maps) == ["ours", "drop", "theirs"]
    assert torch.allclose(maps["drop"].dense(), maps["theirs"].dense(), atol=1e-6)
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    with torch.no_grad(), eyeline.watch(both, keep="inputs") as maps:
        drop_in(x, x, x, attn_mask=future)
        theirs(x, x, x, attn_mask=future)
    assert [r.kind for r in maps.records.values()] == ["decoder", "decoder"]
    assert maps.records["drop"].keeps == "inputs"


def test_the_drop_in_inside_of_torchs_encoder():
    """In evaluation mode torch's layer would compute attention by itself, past the module."""
    layer = torch.nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
    layer.self_attn = MultiheadAttention(16, 2, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(2, 5, 16)
    with torch.no_grad():
        plain = encoder(x)
        with eyeline.watch(encoder) as maps:
            watched = encoder(x)
    assert len(maps) == 2 and torch.allclose(plain, watched, atol=1e-5)


def test_a_compiled_network_is_watched_and_forgotten():
    network = NETWORKS["gpt2"]().eval()
    tokens = torch.randint(3, 50, (1, 7))
    compiled = torch.compile(network, backend="eager")
    with torch.no_grad():
        plain = compiled(tokens)
        with eyeline.watch(network) as maps:
            watched = compiled(tokens)
        after = compiled(tokens)
    assert len(maps) == 2
    assert torch.allclose(plain, watched, atol=1e-5) and torch.allclose(plain, after, atol=1e-6)


def test_transformers_sees_the_same():
    for family in ("bert", "gpt2", "llama", "t5"):
        options = {"target": tiny.TARGET} if family == "t5" else {}
        ours = eyeline.read(tiny.TEXT, tiny.opened(family), **options)
        theirs = eyeline.read(tiny.TEXT, tiny.loaded(family), **options)
        assert ours.kinds == theirs.kinds
        for kind in ours.kinds:
            for layer, seen in ours.maps(kind).items():
                other = theirs.maps(kind)[layer]
                assert torch.allclose(seen.dense(), other.dense(), atol=1e-5)
