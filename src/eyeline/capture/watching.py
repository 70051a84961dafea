"""`watch`: the attention maps of a running model."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from eyeline._compiling import outside_graphs
from eyeline._errors import EyelineError
from eyeline.capture import huggingface, own, torch_mha
from eyeline.capture.keeping import Keep, Wanted
from eyeline.capture.recording import Recorder, recording
from eyeline.capture.records import Maps, UnsupportedModel
from eyeline.measuring import Measure

__all__ = ["watch"]


@contextmanager
def watch(
    model: nn.Module,
    layers: Collection[int] | None = None,
    *,
    outputs: bool = False,
    keep: Keep = "vectors",
    measure: Measure | None = None,
) -> Iterator[Maps]:
    """Record the attention of every forward pass that `model` makes in the block.

    Hugging Face models that go through `AttentionInterface` run on eyeline's attention meanwhile:
    same numbers, no n×n weights, no eager fallback. Attention modules of `eyeline.nn` hand their
    calls over by themselves. `torch.nn.MultiheadAttention` modules anywhere in a model run their
    own code, and their maps are made from the same inputs. Afterwards the model is as it was, also
    when the block raises. Blocks may be nested.

    Args:
        model: Any module that contains attention of `eyeline.nn`, a Hugging Face model, or
            `torch.nn.MultiheadAttention`.
        layers: Numbers of the layers to keep, from 0; None keeps all.
        outputs: Keep each attention's output too, in `maps.records[name].output`.
        keep: What maps are made of. "vectors": queries and keys. "inputs": what each attention
            module was given, a third of the memory or less; its projections run again when a map
            is asked. Such a map raises when the module's parameters have changed since. Where it
            would not be safe (a cache, gradients, training mode) the vectors are kept all the
            same, and `maps.records[name].keeps` says why. "statistics": nothing but what `measure`
            asks for; such a map raises when it is asked for anything else.
        measure: Statistics of every map, taken in the same pass as the model's own attention.

    Yields:
        The maps by module name, filled while the model runs.

    Raises:
        ValueError: `keep` is unknown, or says "statistics" and `measure` does not say which.
        UnsupportedModel: There is no attention in the model that can be watched, or a forward pass
            of it gave no map.

    Example:
        >>> with eyeline.watch(model) as maps:                      # doctest: +SKIP
        ...     model(**inputs)
        >>> maps["encoder.layer.3.attention.self"][0, 5, 7]         # doctest: +SKIP
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"watch() takes a torch.nn.Module, got {type(model).__name__}")
    if isinstance(layers, int):
        raise TypeError(f"layers is a collection of layer numbers: write layers=[{layers}]")
    pretrained = huggingface.pretrained_models(model)
    modules = torch_mha.attention_modules(model)
    ours = own.watched_modules(model)
    reasons = {id(part): huggingface.refusal(part) for part in pretrained}
    willing = [part for part in pretrained if reasons[id(part)] is None]
    if not willing and not modules and not ours:
        raise UnsupportedModel(
            next((r for r in reasons.values() if r), None)
            or f"{type(model).__name__} contains neither attention of eyeline.nn, nor a Hugging "
            "Face model, nor torch.nn.MultiheadAttention: there is no attention in it that can be "
            "watched"
        )
    recorder = Recorder(model, layers, Wanted(outputs, keep, measure))
    with ExitStack() as stack:
        stack.enter_context(recording(recorder))
        for part in willing:
            stack.enter_context(huggingface.installed(part, note_inputs=keep == "inputs"))
        for module in ours:
            stack.enter_context(own.listening(module))
        handles = [torch_mha.listen(module) for module in modules]
        # what the recorder does is for us alone: no part of a compiled graph
        begin: Any = outside_graphs(recorder.begin)
        end: Any = outside_graphs(recorder.end)
        handles.append(model.register_forward_pre_hook(begin))
        handles.append(model.register_forward_hook(end, always_call=True))
        for handle in handles:
            stack.callback(handle.remove)
        yield recorder.maps
    _check_not_silent(model, recorder)


def _check_not_silent(model: nn.Module, recorder: Recorder) -> None:
    if recorder.silent_pass:
        raise UnsupportedModel(
            f"{type(model).__name__} made a forward pass without calling any attention that can be "
            "watched: it computes attention in its own code"
        )
    if recorder.layers is not None and recorder.layers_met and not recorder.maps.record_passes:
        raise EyelineError(
            f"layers={sorted(recorder.layers)} chose nothing: "
            f"{type(model).__name__} has layers {sorted(recorder.layers_met)}"
        )
