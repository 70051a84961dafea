"""What a reading came from: the model and its inputs, to run again and listen to."""

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from eyeline.capture import watch
from eyeline.capture.loading import LoadedModel
from eyeline.capture.pacing import Tick, paced
from eyeline.capture.projections import Projections, Seen, find_projections, listen
from eyeline.capture.records import Record
from eyeline.maps import AttentionMap

__all__ = ["Origin"]

_LONG = 512
"""Tokens beyond which the layers behind the one that is listened to do not run."""


@dataclass
class Origin:
    """A model, and the text that it was given.

    Attributes:
        loaded: The model.
        inputs: What its network was given.
        names: Kind and number of each kept layer → the name of its attention module.
        length: Tokens of the text.
    """

    loaded: LoadedModel
    inputs: dict[str, Any]
    names: Mapping[tuple[str, int], str]
    length: int
    _said: Tensor | None = field(default=None, repr=False)
    _heard: tuple[tuple[str, int], dict[str, Any]] | None = field(default=None, repr=False)

    def run(self, tick: Tick | None = None) -> Float[Tensor, "length width"]:
        """What the model says, on eyeline's attention as when it read.

        Args:
            tick: Called as `(layers done, layers)`; it may raise to stop the model.

        Returns:
            As `loaded.run(inputs, last=True)`.
        """
        network, layer = self.loaded.network, next(n for _, n in self.names)
        with torch.no_grad(), paced(network, tick), watch(network, layers=[layer]):
            return self.loaded.run(self.inputs, last=True)

    def said(self, tick: Tick | None = None) -> Float[Tensor, "length width"]:
        """`run`, once: the answer is kept."""
        if self._said is None:
            self._said = self.run(tick)
        return self._said

    def hear(
        self, kind: str, layer: int, attention_map: AttentionMap, tick: Tick | None = None
    ) -> dict[str, Any]:
        """Run the model as far as one layer, and listen to its projections.

        Args:
            kind: "encoder", "decoder" or "cross".
            layer: Number of the layer.
            attention_map: The layer's map.
            tick: As for `run`.

        Returns:
            What `make_steps` wants besides: `projections`, `seen`, `output`, and the `map`. Those
            of the last layer are kept; two at a time would be one too many.
        """
        if self._heard is not None and self._heard[0] == (kind, layer):
            return dict(self._heard[1])
        self._heard = None
        network, name = self.loaded.network, self.names[kind, layer]
        heads, kv_heads = attention_map.shape[1], attention_map.problem.key.shape[1]
        parts = find_projections(network, name, heads, kv_heads)
        seen, record = self._listen(name, layer, parts, tick)
        if record is not None:
            context = {"output": record.output, "map": record.map}
        else:  # stopped behind the layer: what entered W_O are the heads' outputs
            assert seen is not None and seen.concat is not None
            output = seen.concat.unflatten(-1, (heads, -1)).transpose(1, 2)
            context = {"output": output, "map": attention_map}
        context |= {"projections": parts, "seen": seen}
        self._heard = ((kind, layer), context)
        return dict(context)

    def _listen(
        self, name: str, layer: int, parts: Projections | None, tick: Tick | None
    ) -> tuple[Seen | None, Record | None]:
        """What goes through one layer's projections; of a long text the layers behind do not run.

        Returns:
            What was seen, and the attention call's record; None where the pass was stopped.
        """
        network, (module, _, call) = self.loaded.network, name.partition("@")
        long = parts is not None and not call and self.length > _LONG
        seen, maps = None, None
        # the pass must be left before it is known that it was enough: `watch` then asks nothing
        with suppress(_Enough), ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(paced(network, tick))
            maps = stack.enter_context(watch(network, layers=[layer], outputs=True))
            if parts is not None:
                attention = network.get_submodule(module)
                seen = stack.enter_context(listen(parts, attention, int(call or 0)))
            if long and parts is not None:
                handle = parts.output.module.register_forward_hook(_stop)
                stack.callback(handle.remove)
            self.loaded.run(self.inputs, last=True)
        return seen, None if maps is None else maps.records.get(name)


class _Enough(Exception):
    """The layer that somebody listens to is done."""


def _stop(_module: nn.Module, _args: object, _output: object) -> None:
    raise _Enough
