"""The Transformer of 2017 against `torch.nn.Transformer`."""

import math

import pytest
import torch
from torch import nn

import _hf_twin as twin
from eyeline.models.opening import open_network
from eyeline.models.saving import save
from eyeline.models.transformer import Transformer, TransformerConfig
from eyeline.nn import KVCache

pytestmark = pytest.mark.filterwarnings(
    "ignore:enable_nested_tensor is True"
)  # torch's, norm_first

SMALL = {"vocab_size": 99, "embed_dim": 32, "num_heads": 4, "hidden_dim": 48, "num_layers": 2}


def pair(seed, **fixed):
    """Ours, and torch's with the same weights; torch's has no embeddings."""
    options = twin.pick(
        seed,
        norm_first=(False, True),
        activation=("relu", "gelu"),
        num_decoder_layers=(None, 1, 3),
        norm_eps=(1e-5, 1e-3),
    )
    config = TransformerConfig(**SMALL | options | fixed, final_norm=True)
    torch.manual_seed(seed)
    own = Transformer(config).eval()
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    theirs = nn.Transformer(
        config.embed_dim,
        config.num_heads,
        config.num_layers,
        config.num_decoder_layers or config.num_layers,
        config.hidden_dim,
        activation=config.activation,
        layer_norm_eps=config.norm_eps,
        norm_first=config.norm_first,
        batch_first=True,
    ).eval()
    theirs.load_state_dict(as_torch(own))
    return own, theirs


def as_torch(own):
    """Our parameters under the names of `torch.nn.Transformer`."""
    found = {}

    def copy(name, module):
        for kind, parameter in module.named_parameters():
            found[f"{name}.{kind}"] = parameter

    def attention(name, module):
        sides = (module.q_proj, module.k_proj, module.v_proj)
        found[f"{name}.in_proj_weight"] = torch.cat([s.weight for s in sides])
        found[f"{name}.in_proj_bias"] = torch.cat([s.bias for s in sides])
        copy(f"{name}.out_proj", module.o_proj)

    for stack, norms in (("encoder", (1, None, 2)), ("decoder", (1, 2, 3))):
        for layer, block in enumerate(getattr(own, stack)):
            name = f"{stack}.layers.{layer}"
            attention(f"{name}.self_attn", block.attention)
            copy(f"{name}.norm{norms[0]}", block.attention_norm)
            if norms[1] is not None:
                attention(f"{name}.multihead_attn", block.cross_attention)
                copy(f"{name}.norm{norms[1]}", block.cross_attention_norm)
            copy(f"{name}.linear1", block.feed_forward.up_proj)
            copy(f"{name}.linear2", block.feed_forward.down_proj)
            copy(f"{name}.norm{norms[2]}", block.feed_forward_norm)
        copy(f"{stack}.norm", getattr(own, f"{stack}_norm"))
    return {name: tensor.detach().clone() for name, tensor in found.items()}


@pytest.mark.parametrize("seed", range(8))
def test_equal_to_torch(seed):
    own, theirs = pair(seed)
    source, target = twin.tokens(seed, 3, 14), twin.tokens(seed + 1, 3, 9)
    seen, mask = twin.padding([14, 8, 2], 14)
    hidden, real = seen == 0, seen.bool()
    causal = nn.Transformer.generate_square_subsequent_mask(9)
    source_x, target_x = own._embed(own.tokens, source), own._embed(own.tokens, target)
    memory = theirs.encoder(source_x, src_key_padding_mask=hidden)
    twin.close(own.encode(source, attn_mask=mask)[real], memory[real])
    output = theirs.decoder(target_x, memory, tgt_mask=causal, memory_key_padding_mask=hidden)
    found = own.decode(target, own.encode(source, attn_mask=mask), memory_mask=mask)
    twin.close(found, output)
    twin.close(own(source, target, source_mask=mask), output @ own.tokens.weight.T)

    own.zero_grad()
    upstream = torch.randn_like(output)
    found.backward(upstream, retain_graph=True)
    output.backward(upstream)
    for stack in ("encoder", "decoder"):
        ours = getattr(own, stack)[-1].feed_forward.up_proj.weight.grad
        twin.close(ours, getattr(theirs, stack).layers[-1].linear1.weight.grad, 1e-4)
        packed = getattr(theirs, stack).layers[0].self_attn.in_proj_weight.grad
        attention = getattr(own, stack)[0].attention
        sides = (attention.q_proj, attention.k_proj, attention.v_proj)
        twin.close(torch.cat([s.weight.grad for s in sides]), packed, 1e-4)


def test_positions_are_the_papers():
    own = Transformer(TransformerConfig(**SMALL)).eval()
    (vectors,) = own._embed(own.tokens, torch.tensor([[5, 5, 5]]))
    plain = own.tokens.weight[5] * math.sqrt(32)
    for place in range(3):
        for i in range(16):
            angle = place / 10000 ** (2 * i / 32)
            added = vectors[place] - plain
            assert added[2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert added[2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_cache_changes_nothing(seed):
    own, _ = pair(seed)
    source, target = twin.tokens(seed, 2, 9), twin.tokens(seed + 1, 2, 14)
    cache = KVCache(len(own.decoder))
    with torch.no_grad():
        memory = own.encode(source)
        parts = [own.decode(p, memory, cache=cache) for p in target.split([5, 1, 1, 7], 1)]
        twin.close(torch.cat(parts, 1), own.decode(target, memory))


def test_two_vocabularies_and_the_loss(tmp_path):
    config = TransformerConfig(**SMALL, source_vocab_size=30, label_smoothing=0.1)
    torch.manual_seed(0)
    own = Transformer(config).eval()
    source, labels = torch.randint(3, 30, (2, 6)), twin.tokens(0, 2, 5)
    labels[1, 3:] = -100
    assert own.shifted(labels)[1].tolist() == [1, *labels[1, :3].tolist(), 0]
    logits = own(source, own.shifted(labels))
    expected = nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), label_smoothing=0.1
    )
    twin.close(own.loss(source, labels), expected)
    save(own, tmp_path)
    again, content = open_network(tmp_path)
    assert again.config == config and content["model_type"] == "eyeline-transformer"
    assert torch.equal(again(source, own.shifted(labels)), logits)


def test_it_learns_to_copy_backwards():
    """Deterministic by its seed, dropout included."""
    config = TransformerConfig(**SMALL | {"vocab_size": 20}, dropout=0.1, norm_first=True)

    def train():
        torch.manual_seed(5)
        own = Transformer(config)
        optimizer = torch.optim.AdamW(own.parameters(), 3e-3)
        losses = []
        for _ in range(120):
            source = torch.randint(3, 20, (32, 5))
            labels = torch.cat([source.flip(1), torch.full((32, 1), 2)], 1)
            optimizer.zero_grad()
            loss = own.loss(source, labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    losses = train()
    assert losses[-1] < 0.5 * losses[0]
    assert losses == train()
