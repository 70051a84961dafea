"""A folder or file as a model and its tokenizer: eyeline's own network, or one of transformers'."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eyeline._errors import CheckpointError, EyelineError
from eyeline.models.cache import read_record
from eyeline.models.checkpoint import open_checkpoint
from eyeline.models.families import FAMILIES
from eyeline.models.generation import Choice
from eyeline.models.loaded import Family, LoadedModel
from eyeline.models.opening import Unsupported, open_own
from eyeline.models.tokenizer import TextTokenizer

__all__ = ["Family", "HuggingFaceModel", "LoadedModel", "load_huggingface", "open_model"]


def open_model(
    path: Path, name: str, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> LoadedModel:
    """Open a model: by one of eyeline's own networks where there is one, else by transformers.

    Args:
        path: A folder in Hugging Face layout, or a .safetensors or .gguf file.
        name: What the user called it.
        dtype: What the weights become.
        device: Where they go.

    Raises:
        CheckpointError: A file is missing, damaged, dangerous, or does not fit the others.
        EyelineError: eyeline has no such network, and transformers is not there or has none either.
    """
    try:
        return open_own(path, name, dtype=dtype, device=device, read_tokenizer=_tokenizer)
    except Unsupported as reason:
        missing = reason
    if not path.is_dir():
        raise CheckpointError(
            path,
            "architecture",
            missing,
            limit=f"one of eyeline's own: {', '.join(FAMILIES)}",
            fix="give the folder: transformers may have a network for it",
        )
    try:
        import transformers as transformers
    except ImportError:
        raise EyelineError(
            f"{path} has {missing}, of which eyeline has no network of its own (it has "
            f"{', '.join(FAMILIES)}); with transformers it opens: pip install 'eyeline[hf]', and "
            "eyeline.watch takes any model of it"
        ) from None
    return load_huggingface(path, name, dtype=dtype, device=device)


def _tokenizer(folder: Path) -> TextTokenizer:
    """The folder's tokenizer; a sentencepiece model is converted by transformers, if it can be."""
    pieces = any((folder / name).is_file() for name in ("spiece.model", "tokenizer.model"))
    if pieces and not (folder / "tokenizer.json").is_file():
        try:
            import transformers
        except ImportError:
            raise EyelineError(
                f"{folder} has a sentencepiece tokenizer and no tokenizer.json: converting it "
                "needs transformers, pip install 'eyeline[hf]'"
            ) from None
        with _explained(folder, "sentencepiece tokenizer"), _quiet(transformers):
            made = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        roles = {
            role: getattr(made, f"{role}_token", None) for role in ("bos", "eos", "unk", "pad")
        }
        return TextTokenizer(made.backend_tokenizer, {r: t for r, t in roles.items() if t})
    return TextTokenizer.from_folder(folder)


class HuggingFaceModel(LoadedModel):
    """A transformers model and its fast tokenizer."""

    @property
    def limit(self) -> int | None:
        config = self.config
        parts = [config, getattr(config, "text_config", None), getattr(config, "encoder", None)]
        names = ("max_position_embeddings", "n_positions", "n_ctx")
        bounds = (getattr(part, name, None) for part in parts for name in names)
        bound = next((b for b in bounds if isinstance(b, int) and b > 0), None)
        return None if bound is None else bound - _reserved_positions(self.network)

    @property
    def has_rotary_positions(self) -> bool:
        """Whether positions are computed rather than looked up, so that there is no last one."""
        return any(name.endswith("rotary_emb") for name, _ in self.network.named_modules())

    @property
    def num_layers(self) -> int | None:
        config = self.config
        parts = [config, *(getattr(config, n, None) for n in ("text_config", "encoder", "decoder"))]
        names = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")
        counts = [getattr(part, name, None) for part in parts for name in names]
        return max((c for c in counts if isinstance(c, int)), default=None)

    @property
    def end_ids(self) -> tuple[int, ...]:
        ends = getattr(self.config, "eos_token_id", None)
        return () if ends is None else (ends,) if isinstance(ends, int) else tuple(ends)

    def encode(self, text: str, *, truncate: bool = False) -> Any:
        return self.tokenizer(
            text,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            truncation=truncate and self.limit is not None,
            max_length=self.limit if truncate else None,
            verbose=False,
        )

    def inputs(self, encoding: Any) -> dict[str, Any]:
        names = ("input_ids", "attention_mask", "token_type_ids")
        device = self.network.device
        return {n: torch.tensor([encoding[n]], device=device) for n in names if n in encoding}

    def target_ids(self, text: str) -> list[int]:
        start = self.config.decoder_start_token_id
        return [start, *self.tokenizer(text_target=text, verbose=False)["input_ids"]]

    def with_target(self, inputs: dict[str, Any], ids: Sequence[int]) -> dict[str, Any]:
        target = torch.tensor([list(ids)], device=self.network.device)
        return inputs | {"decoder_input_ids": target}

    @torch.no_grad()
    def run(self, inputs: dict[str, Any], *, last: bool = False) -> Tensor:
        says_next = self.family in ("causal", "seq2seq")
        extra: dict[str, Any] = {"use_cache": False} if says_next else {}
        if last and "logits_to_keep" in inspect.signature(self.network.forward).parameters:
            extra |= {"logits_to_keep": 1} if says_next else {}
        result = self.network(**inputs, **extra)
        said = (result.last_hidden_state if self.family == "encoder" else result.logits)[0]
        return said[-1:] if last and says_next else said

    def continuing(self) -> Callable[[Sequence[int]], Tensor]:
        past = None

        @torch.no_grad()
        def read(ids: Sequence[int]) -> Tensor:
            nonlocal past
            fed = torch.tensor([list(ids)], device=self.network.device)
            result = self.network(input_ids=fed, past_key_values=past, use_cache=True)
            past = result.past_key_values
            return result.logits[0, -1]

        return read

    def write(self, inputs: dict[str, Any], count: int) -> list[int]:
        made = self._generate(inputs, count, do_sample=False, num_beams=1)
        return made.tolist()

    def stream(
        self,
        text: str,
        max_new_tokens: int = 20,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        raise EyelineError(
            f"{self.name} runs on transformers' {type(self.network).__name__}, which is not "
            "streamed here: use generate()"
        )

    def generate(
        self,
        text: str,
        max_new_tokens: int = 20,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        num_beams: int = 1,
        length_penalty: float = 1.0,
        seed: int | None = None,
    ) -> str:
        if self.family not in ("causal", "seq2seq"):
            raise EyelineError(f"{self.name} reads and does not write: it has no head for it")
        choice = Choice(temperature, top_k, top_p, seed)  # which checks them
        how: dict[str, Any] = {"do_sample": choice.temperature > 0, "num_beams": num_beams}
        if choice.temperature > 0:
            how |= {"temperature": temperature, "top_k": top_k or 0, "top_p": top_p or 1.0}
        if num_beams > 1:
            how["length_penalty"] = length_penalty
        inputs = self.inputs(self.encode(text))
        before = 0 if self.family == "seq2seq" else inputs["input_ids"].shape[1]
        with torch.random.fork_rng(enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            ids = self._generate(inputs, max_new_tokens, **how)[before:].tolist()
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    @torch.no_grad()
    def _generate(self, inputs: dict[str, Any], count: int, **how: Any) -> Tensor:
        return self.network.generate(**inputs, max_new_tokens=count, **how)[0]


def load_huggingface(
    folder: Path, name: str, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> HuggingFaceModel:
    """Load a folder in Hugging Face layout with transformers.

    Safetensors only; nothing is downloaded or executed.

    Raises:
        EyelineError: transformers is not installed.
        CheckpointError: The folder does not hold what transformers needs.
    """
    try:
        import transformers
    except ImportError:
        raise EyelineError(
            "Hugging Face models need transformers: pip install 'eyeline[hf]'"
        ) from None
    open_checkpoint(folder)  # whose header transformers would believe
    options = {"local_files_only": True, "trust_remote_code": False}
    wanted = "config.json, *.safetensors and tokenizer.json that transformers can open"
    with _explained(folder, "Hugging Face model", wanted), _quiet(transformers):
        config = transformers.AutoConfig.from_pretrained(folder, **options)
        family = _family(config)
        auto = {
            "encoder": transformers.AutoModel,
            "masked": transformers.AutoModelForMaskedLM,
            "causal": transformers.AutoModelForCausalLM,
            "seq2seq": transformers.AutoModelForSeq2SeqLM,
        }[family]
        network, info = auto.from_pretrained(
            folder, use_safetensors=True, dtype=dtype, output_loading_info=True, **options
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
    _check_complete(folder, network, info)
    if not tokenizer.is_fast:
        raise CheckpointError(
            folder, "tokenizer", "no tokenizer.json", limit="a fast tokenizer, for exact offsets"
        )
    return HuggingFaceModel(name, network.to(device).eval(), tokenizer, family, _source(folder))


def _family(config: Any) -> Family:
    architecture = (getattr(config, "architectures", None) or [""])[0]
    if getattr(config, "is_encoder_decoder", False):
        return "seq2seq"
    if architecture.endswith("ForMaskedLM"):
        return "masked"
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "causal"
    return "encoder"


def _check_complete(folder: Path, network: Any, info: dict[str, Any]) -> None:
    """Refuse what lacks weights: transformers would put random numbers there."""
    missing = sorted(n for n in info["missing_keys"] if "pooler" not in n)  # which nothing reads
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise CheckpointError(
            folder,
            "weights",
            f"no {', '.join(missing[:3])}{more}",
            limit=f"every weight of a {type(network).__name__}",
            fix="fetch the model again, or correct `architectures` in its config.json",
        )


@contextmanager
def _explained(folder: Path, what: str, wanted: str | None = None) -> Iterator[None]:
    """Whatever a foreign folder makes transformers stumble over, in one line."""
    try:
        yield
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        message = lines[0][:200] if lines else "no message"
        raise CheckpointError(
            folder, what, f"{type(error).__name__}: {message}", limit=wanted
        ) from None


def _reserved_positions(network: nn.Module) -> int:
    """RoBERTa and its kin count positions from behind the padding token's number."""
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0


def _source(folder: Path) -> str:
    record = read_record(folder)
    return str(folder) if record is None else f"{record.origin} {record.version}, {record.weights}"


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and advice from transformers: what matters is raised."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
