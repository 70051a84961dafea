"""One of eyeline's own networks with its tokenizer: what `eyeline.load` gives for five families."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from eyeline._errors import EyelineError
from eyeline.models.generation import Choice, Writer, generate, steps
from eyeline.models.loaded import LoadedModel
from eyeline.models.tokenizer import Encoding
from eyeline.nn import Rotary

__all__ = ["OwnModel"]


class OwnModel(LoadedModel):
    """An eyeline network, its tokenizer, and where both came from.

    Example:
        >>> model = eyeline.load("smollm2")                                     # doctest: +SKIP
        >>> model.generate("The capital of France is", max_new_tokens=2)        # doctest: +SKIP
        ' Paris.'
    """

    @property
    def limit(self) -> int | None:
        return getattr(self.config, "max_length", None)

    @property
    def num_layers(self) -> int:
        config = self.config
        return max(config.num_layers, getattr(config, "num_decoder_layers", None) or 0)

    @property
    def end_ids(self) -> tuple[int, ...]:
        ends = getattr(self.config, "eos_token_id", None)
        if ends is None:
            ends = self.tokenizer.eos_token_id
        return () if ends is None else (ends,) if isinstance(ends, int) else tuple(ends)

    def encode(self, text: str, *, truncate: bool = False) -> Encoding:
        return self.tokenizer.encode(text, self.limit if truncate else None)

    def inputs(self, encoding: Encoding) -> dict[str, Any]:
        self._check_numbers(encoding.ids)
        tokens = torch.tensor([encoding.ids], device=self._device)
        return {"source" if self.family == "seq2seq" else "tokens": tokens}

    def target_ids(self, text: str) -> list[int]:
        ids = self.tokenizer.encode(text).ids
        self._check_numbers(ids)
        return [self._start, *ids]

    def with_target(self, inputs: dict[str, Any], ids: Sequence[int]) -> dict[str, Any]:
        return inputs | {"target": torch.tensor([list(ids)], device=self._device)}

    @property
    def has_rotary_positions(self) -> bool:
        return any(isinstance(module, Rotary) for module in self.network.modules())

    @torch.no_grad()
    def run(self, inputs: dict[str, Any], *, last: bool = False) -> Float[Tensor, "length width"]:
        if self.family == "seq2seq":
            return self.network(**inputs)[0, -1:] if last else self.network(**inputs)[0]
        (hidden,) = self.network.hidden(**inputs)
        if self.family == "encoder":
            return hidden
        return self.network.logits(hidden[-1:] if last and self.family == "causal" else hidden)

    def continuing(self) -> Callable[[Sequence[int]], Float[Tensor, " vocabulary"]]:
        writer: Writer | None = None

        @torch.no_grad()
        def read(ids: Sequence[int]) -> Tensor:
            nonlocal writer
            writer = writer or Writer(self.network, [ids])
            return writer.read(torch.tensor([list(ids)], device=writer.device))[0]

        return read

    def write(self, inputs: dict[str, Any], count: int) -> list[int]:
        source = inputs["source"].tolist()
        (new,) = generate(self.network, [[self._start]], count, source=source, stop=self.end_ids)
        return [self._start, *new]

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
        choice = Choice(temperature, top_k, top_p, seed)
        prompts, source = self._prompts(text, max_new_tokens)
        stop = self.end_ids
        made = steps(self.network, prompts, max_new_tokens, choice, source=source, stop=stop)
        before = () if source is not None else prompts[0]
        return self.tokenizer.stream((int(token[0]) for token in made), before)

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
        if num_beams == 1:
            how: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
            return "".join(self.stream(text, max_new_tokens, seed=seed, **how))
        prompts, source = self._prompts(text, max_new_tokens)
        (new,) = generate(
            self.network,
            prompts,
            max_new_tokens,
            Choice(temperature, top_k, top_p, seed),
            source=source,
            stop=self.end_ids,
            num_beams=num_beams,
            length_penalty=length_penalty,
        )
        before = () if source is not None else prompts[0]
        return "".join(self.tokenizer.stream(iter(new), before))

    def save(self, folder: str | Path) -> None:
        """Write network and tokenizer in Hugging Face layout: transformers opens it, and we do.

        Args:
            folder: Made if it is missing. What was saved there before stays until all is written.

        Raises:
            EyelineError: It cannot be written (the disk is full, …).
        """
        from eyeline.models.saving import save

        save(self.network, Path(folder), self.tokenizer, self.family)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def _start(self) -> int:
        """What a decoder reads first."""
        start = self.config.start_token_id
        return start if start is not None else (self.config.pad_token_id or 0)

    def _prompts(self, text: str, count: int) -> tuple[list[list[int]], list[list[int]] | None]:
        if self.family not in ("causal", "seq2seq"):
            raise EyelineError(
                f"{self.name} reads and does not write: generate() needs a model like smollm2, "
                "which says what comes next, or an encoder-decoder"
            )
        ids = self.tokenizer.encode(text).ids
        self._check_numbers(ids)
        if self.family == "seq2seq":
            return [[self._start]], [ids]
        if not ids:
            raise EyelineError(f"{self.name} finds no token in this text: give at least one word")
        if self.limit is not None and len(ids) + count > self.limit:
            raise EyelineError(
                f"the text is {len(ids)} tokens and {count} are to come: {self.name} reads at most "
                f"{self.limit}; shorten the text, or lower max_new_tokens"
            )
        return [ids], None

    def _check_numbers(self, ids: Sequence[int]) -> None:
        size = self.config.vocab_size
        unknown = [n for n in ids if n >= size]
        if unknown:
            piece = self.tokenizer.convert_ids_to_tokens(unknown[:1])[0]
            raise EyelineError(
                f"the tokenizer gives {piece!r} the number {unknown[0]}, {self.name} has vectors "
                f"for numbers below {size}: tokenizer and weights are not of one model"
            )
