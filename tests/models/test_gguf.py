import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from eyeline._errors import CheckpointError, EyelineError
from eyeline.models import _gguf_header
from eyeline.models.gguf import convert

pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def converted(tiny_llama, tmp_path_factory):
    return convert(tiny_llama, tmp_path_factory.mktemp("converted") / "tiny")


def test_the_weights_come_back_bit_for_bit(converted, tiny_weights):
    found = load_file(converted.folder / "model.safetensors")
    assert found.keys() == tiny_weights.keys()
    for name, weights in tiny_weights.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], weights, err_msg=name)
    assert converted.types == ("F32",)


def test_quantized_weights_are_expanded_exactly(tmp_path, write_tiny_llama, tiny_weights):
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    write_tiny_llama(tmp_path / "q.gguf", quantized=True)
    result = convert(tmp_path / "q.gguf", tmp_path / "q")
    assert result.types == ("F32", "Q8_0")
    name, kind = "model.layers.1.mlp.up_proj.weight", GGMLQuantizationType.Q8_0
    expected = dequantize(quantize(tiny_weights[name], kind), kind)
    np.testing.assert_array_equal(load_file(result.folder / "model.safetensors")[name], expected)


def test_the_configuration(converted):
    config = json.loads((converted.folder / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "llama" and config["tie_word_embeddings"] is True
    assert (config["hidden_size"], config["head_dim"], config["vocab_size"]) == (64, 16, 262)
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (4, 2)
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 100_000.0}
    assert config["rms_norm_eps"] == 1e-5
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (1, 2, 2)


def test_an_output_matrix_of_its_own_is_kept(tmp_path, write_tiny_llama):
    head = np.ones((262, 64), dtype=np.float32)
    write_tiny_llama(tmp_path / "u.gguf", lambda writer: writer.add_tensor("output.weight", head))
    folder = convert(tmp_path / "u.gguf", tmp_path / "u").folder
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["tie_word_embeddings"] is False
    np.testing.assert_array_equal(load_file(folder / "model.safetensors")["lm_head.weight"], head)


def test_transformers_loads_the_folder(converted, tiny_weights):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        converted.folder, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert model.dtype == torch.float32 and model.config.rope_parameters["rope_theta"] == 100_000.0
    name = "model.layers.0.self_attn.q_proj.weight"
    np.testing.assert_array_equal(model.state_dict()[name].numpy(), tiny_weights[name])


BROKEN = {
    "another architecture": (
        lambda writer: writer.kv_data[0]["general.architecture"].__setattr__("value", "gemma"),
        "architecture",
    ),
    "rotary scaling": (lambda writer: writer.add_rope_scaling_factor(2.0), "rotary scaling"),
    "a tensor too many": (
        lambda writer: writer.add_tensor("blk.0.attn_q.bias", np.ones(64, dtype=np.float32)),
        "attn_q.bias",
    ),
    "a tensor too few": (lambda writer: writer.tensors[0].pop("blk.1.ffn_up.weight"), "ffn_up"),
    "a head width that does not fit": (
        lambda writer: writer.add_rope_dimension_count(8),
        "head width",
    ),
    "another vocabulary": (lambda writer: writer.add_vocab_size(300), "vocab_size"),
    "a special token beyond the vocabulary": (
        lambda writer: writer.add_unk_token_id(262),
        "unknown_token_id",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_is_no_plain_llama_is_refused(tmp_path, write_tiny_llama, what):
    change, said = BROKEN[what]
    write_tiny_llama(tmp_path / "b.gguf", change)
    with pytest.raises(CheckpointError, match=said):
        convert(tmp_path / "b.gguf", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_counts_beyond_the_limits_are_refused(tmp_path, tiny_llama):
    data = tiny_llama.read_bytes()
    key = b"llama.block_count"
    at = data.index(key) + len(key) + 4
    path = tmp_path / "b.gguf"
    for value in (0, 5_000, 0xFFFFFFFF):
        path.write_bytes(data[:at] + value.to_bytes(4, "little") + data[at + 4 :])
        with pytest.raises(CheckpointError, match="whole number from 1 to 1000"):
            convert(path, tmp_path / "b")


def test_weights_that_are_not_finite_get_a_warning(tmp_path, write_tiny_llama, tiny_weights):
    def spoil(writer):
        weights = tiny_weights["model.norm.weight"].copy()
        weights[3] = np.nan
        writer.tensors[0]["output_norm.weight"].tensor = weights

    write_tiny_llama(tmp_path / "n.gguf", spoil)
    with pytest.warns(UserWarning, match="model.norm.weight"):
        convert(tmp_path / "n.gguf", tmp_path / "n")


def test_a_file_cut_after_its_header_was_read_is_refused(tmp_path, tiny_llama, monkeypatch):
    from eyeline.models import gguf as module

    path = tmp_path / "c.gguf"
    shutil.copy(tiny_llama, path)

    def read_then_cut(source):
        header = _gguf_header.read_header(source)
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 100)
        return header

    monkeypatch.setattr(module, "read_header", read_then_cut)
    with pytest.raises(CheckpointError, match="bytes of"):
        convert(path, tmp_path / "c")


def test_without_the_gguf_package_the_error_says_what_to_install(tmp_path, tiny_llama, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf.quants", None)
    with pytest.raises(EyelineError, match=r"eyeline\[hf\]"):
        convert(tiny_llama, tmp_path / "x")


@pytest.mark.parametrize("kind", sorted(_gguf_header.BLOCKS))
def test_every_number_type_is_expanded_as_the_package_does(kind):
    """Any bytes will do, also those of a scale that is NaN."""
    from gguf import quants
    from gguf.constants import GGMLQuantizationType

    from eyeline.models.gguf import _expand

    size, length = _gguf_header.BLOCKS[kind]
    type_id = next(i for i, t in _gguf_header._TYPES.items() if t[0] == kind)
    rows, blocks = 70, 2**13 // size
    raw = np.random.default_rng(1).integers(0, 256, rows * blocks * length, dtype=np.uint8)
    shape = (rows, blocks * size)
    info = _gguf_header.TensorInfo("t", shape, type_id, kind, 0, raw.size)
    with np.errstate(all="ignore"):
        expected = quants.dequantize(raw.reshape(rows, -1), GGMLQuantizationType[kind])
        found = _expand(quants, raw, info).reshape(shape)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_opened_as_it_is(tiny_llama, tiny_weights, converted):
    from eyeline.models.opening import open_own

    model, folder = open_own(tiny_llama, "file"), open_own(converted.folder, "folder")
    for one, other in zip(model.network.parameters(), folder.network.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())
    assert model.config == folder.config and model.family == "causal"
    assert model.encode("in  12").ids == folder.encode("in  12").ids
    assert model.tokenizer.roles == folder.tokenizer.roles
    assert model.generate("in", 5) == folder.generate("in", 5)


def test_llama_3_writes_its_rotary_positions_as_factors(tmp_path, write_tiny_llama):
    factors = np.linspace(1, 8, 8, dtype=np.float32)
    add = lambda writer: writer.add_tensor("rope_freqs.weight", factors)  # noqa: E731
    write_tiny_llama(tmp_path / "f.gguf", add)
    from eyeline.models.opening import open_own

    network = open_own(tmp_path / "f.gguf", "f").network
    plain = 100_000.0 ** -(np.arange(0, 16, 2, dtype=np.float32) / 16)
    np.testing.assert_allclose(network.rotary.frequencies().numpy(), plain / factors, rtol=1e-6)
    with pytest.raises(CheckpointError, match="rope_freqs"):  # config.json has no words for it
        convert(tmp_path / "f.gguf", tmp_path / "f")
    for wrong in (np.ones(7, dtype=np.float32), -factors, factors * np.nan):
        change = lambda writer, w=wrong: writer.add_tensor("rope_freqs.weight", w)  # noqa: E731
        write_tiny_llama(tmp_path / "w.gguf", change)
        with pytest.raises(CheckpointError, match="rope_freqs"):
            open_own(tmp_path / "w.gguf", "w")


def test_linear_scaling_is_read(tmp_path, write_tiny_llama):
    from gguf.constants import RopeScalingType

    def change(writer):
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(4.0)

    write_tiny_llama(tmp_path / "l.gguf", change)
    folder = convert(tmp_path / "l.gguf", tmp_path / "l").folder
    rope = json.loads((folder / "config.json").read_text())["rope_parameters"]
    assert rope == {"rope_type": "linear", "rope_theta": 100_000.0, "factor": 4.0}
