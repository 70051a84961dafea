"""How one number was made: its formula with the numbers put in, its inputs, and Python for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from eyeline._stages.stage import Arithmetic, Stage, dot, paren

__all__ = ["Cell", "Input", "explain", "inputs_of"]


@dataclass(frozen=True)
class Input:
    """Numbers that a number was made of.

    Attributes:
        stage: The stage that they stand in.
        which: "same" index, "all" of the stage, the "row" of the same key, the "column" of the same
            feature, or the "pair" of features that a rotation turns.
    """

    stage: str
    which: str


@dataclass(frozen=True)
class Cell:
    """One number and how it was made.

    Attributes:
        stage: Its stage.
        key: Index of its key, or None.
        feature: Index of its feature, or None.
        value: The number.
        formula: How it was made, with the numbers put in.
        inputs: What it was made of.
        python: Lines that compute it again from its inputs, given `steps`; the last prints it.
    """

    stage: str
    key: int | None
    feature: int | None
    value: float
    formula: str
    inputs: tuple[Input, ...]
    python: str


@dataclass(frozen=True)
class _Asked:
    stages: Sequence[Stage]
    arithmetic: Arithmetic
    stage: Stage
    key: int | None
    feature: int | None

    @property
    def value(self) -> float:
        return float(self.stage.values[self.index])

    @property
    def index(self) -> tuple[int, ...]:
        return tuple(i for i in (self.key, self.feature) if i is not None)

    def before(self) -> Stage:
        """The stage that this one continues."""
        return self.stages[self.stages.index(self.stage) - 1]

    def last(self, family: str) -> Stage:
        """The last stage of q, k or v: after norms, rotation and whatever else there was."""
        found = [s for s in self.stages if s.name == family or s.name.startswith(f"{family}_")]
        return found[-1]

    def previous(self) -> Stage:
        """The stage of the same vector before this one."""
        family = self.stage.name.split("_")[0]
        found = [s for s in self.stages if s.name == family or s.name.startswith(f"{family}_")]
        return found[found.index(self.stage) - 1]


def explain(
    stages: Sequence[Stage],
    arithmetic: Arithmetic,
    stage: Stage,
    key: int | None,
    feature: int | None,
) -> Cell:
    """Explain one number of a stage; see `Steps.explain`."""
    key = key if "key" in stage.per else None
    feature = feature if "feature" in stage.per else None
    asked = _Asked(stages, arithmetic, stage, key, feature)
    if len(asked.index) != stage.values.dim():
        raise IndexError(f"{stage.name} has numbers per {stage.per}: say which")
    asked.value  # noqa: B018 - an IndexError where there is no such number
    formula, python = _explainer(stage.name)(asked)
    inputs = inputs_of(stages, stage)
    return Cell(stage.name, key, feature, asked.value, formula, inputs, python)


def inputs_of(stages: Sequence[Stage], stage: Stage) -> tuple[Input, ...]:
    """Which numbers of which stages every number of this stage is made of."""
    asked = _Asked(stages, Arithmetic(), stage, None, None)
    name = stage.name
    if name in ("input", "key", "value") or name.endswith("_adjusted"):
        return ()  # keys and values come from all tokens' vectors, which are no stage
    if name == "query":
        return (Input("input", "all"),) if stages[0].name == "input" else ()
    if name.endswith("_norm"):
        return (Input(asked.previous().name, "row"),)
    if name.endswith("_rotary"):
        return (Input(asked.previous().name, "pair"),)
    if name == "query_scaled":
        return (Input(asked.previous().name, "same"),)
    if name == "scores":
        return (Input(asked.last("query").name, "all"), Input(asked.last("key").name, "row"))
    if name == "weights":
        return (Input("mask", "all"),)
    if name == "weighted_sum":
        return (Input("weights", "all"), Input(asked.last("value").name, "column"))
    if name == "concat":
        return (Input("weighted_sum", "slice"),)
    if name == "output":
        return (Input("concat", "all"),)
    return (Input(asked.before().name, "same"),)


_Explanation: TypeAlias = tuple[str, str]


def _explainer(name: str) -> Callable[[_Asked], _Explanation]:
    for ending, explainer in _BY_ENDING.items():
        if name.endswith(ending):
            return explainer
    return _BY_NAME.get(name, _given)


def _values(stage: Stage) -> str:
    return f'steps["{stage.name}"].values'


def _given(asked: _Asked) -> _Explanation:
    at = ", ".join(map(str, asked.index))
    formula = f"{asked.stage.name}[{at}] = {asked.value:.6g}, as the model made it"
    return formula, f"print(float({_values(asked.stage)}[{at}]))"


def _projected(asked: _Asked) -> _Explanation:
    name, arithmetic = asked.stage.name, asked.arithmetic
    linear = arithmetic.linear.get(name)
    i, j = asked.feature or 0, asked.key
    if linear is None:
        return _given(asked)
    if j is None:
        x, source = asked.stages[0].values, 'steps["input"].values'
    elif arithmetic.sources is not None:
        x, source = arithmetic.sources[j], f"steps.arithmetic.sources[{j}]"
    else:
        return _given(asked)
    bias = None if linear.bias is None else float(linear.bias[i])
    at = f"{i}" if j is None else f"{j}, {i}"
    formula = dot(f"{name[0]}[{at}]", linear.weight[i].double(), x, stage_value(asked), bias)
    plus = "" if bias is None else f" + w.bias[{i}].double()"
    python = (
        f'w, x = steps.arithmetic.linear["{name}"], {source}\n'
        f"print(float(w.weight[{i}].double() @ x{plus}))"
    )
    return formula, python


def stage_value(asked: _Asked) -> Tensor:
    """The number as a tensor."""
    return asked.stage.values[asked.index]


def _normed(asked: _Asked) -> _Explanation:
    before = asked.previous()
    at = ", ".join(map(str, asked.index))
    number = float(before.values[asked.index])
    formula = f"{asked.stage.formula}: {number:.4g} becomes {asked.value:.4g}"
    return formula, f"print(float({_values(asked.stage)}[{at}]))  # {asked.stage.formula}"


def _rotated(asked: _Asked) -> _Explanation:
    if asked.arithmetic.rotation is None:
        return _given(asked)
    cos, sin, interleaved = asked.arithmetic.rotation
    before, i = asked.previous(), asked.feature or 0
    width = cos.shape[1]
    at = [] if asked.key is None else [asked.key]
    if i >= width:  # the rest is not turned
        where = ", ".join(map(str, [*at, i]))
        return f"= {asked.value:.4g}, not turned", f"print(float({_values(before)}[{where}]))"
    half = 1 if interleaved else width // 2
    is_first = i % 2 == 0 if interleaved else i < half
    other, sign = (i + half, "-") if is_first else (i - half, "+")
    position = "steps.query.index" if asked.key is None else str(asked.key)
    vector = before.values if asked.key is None else before.values[asked.key]
    row = _row_of(asked, cos)
    terms = (
        f"{vector[i]:.3g}×{paren(cos[row, i])}"
        f" {'−' if sign == '-' else '+'} {paren(vector[other])}×{paren(sin[row, i])}"
    )
    name = f"{asked.stage.name[0]}'[{i}]"
    get = _values(before) + ("" if asked.key is None else f"[{asked.key}]")
    python = (
        f"x, (cos, sin, _) = {get}, steps.arithmetic.rotation\n"
        f"at = {position} if len(cos) > 1 else 0\n"
        f"print(float(x[{i}] * cos[at, {i}] {sign} x[{other}] * sin[at, {i}]))"
    )
    return f"{name} = {terms} = {asked.value:.4g}", python


def _row_of(asked: _Asked, cos: Tensor) -> int:
    """Which position's angle: of the key, or of the query."""
    if asked.key is not None:
        return asked.key if len(cos) > 1 else 0
    return asked.arithmetic.position if len(cos) > 1 else 0


def _scaled_query(asked: _Asked) -> _Explanation:
    before, i = asked.previous(), asked.feature or 0
    d = len(before.values)
    formula = f"{paren(before.values[i])} ÷ {d**0.5:.4g} = {asked.value:.4g}"
    return formula, f"print(float({_values(before)}[{i}] / {d} ** 0.5))"


def _score(asked: _Asked) -> _Explanation:
    q, k, j = asked.last("query"), asked.last("key"), asked.key or 0
    formula = dot(f"q · k[{j}]", q.values, k.values[j], stage_value(asked))
    return formula, f"q, k = {_values(q)}, {_values(k)}[{j}]\nprint(float(q @ k))"


def _scaled(asked: _Asked) -> _Explanation:
    before, j, scale = float(asked.before().values[asked.index]), asked.key, asked.arithmetic.scale
    divisor = f"{1 / scale:.4g}" if scale else "∞"
    formula = f"{before:.4g} ÷ {divisor} = {asked.value:.4g}"
    return formula, f'print(float(steps["scores"].values[{j}] * steps.arithmetic.scale))'


def _capped(asked: _Asked) -> _Explanation:
    cap, before = asked.arithmetic.softcap or 1.0, asked.before()
    number = float(before.values[asked.index])
    formula = f"{cap:g} × tanh({number:.4g} ÷ {cap:g}) = {asked.value:.4g}"
    get = f"{_values(before)}[{asked.key}]"
    return (
        formula,
        f"s, cap = {get}, steps.arithmetic.softcap\nprint(float(cap * (s / cap).tanh()))",
    )


def _biased(asked: _Asked) -> _Explanation:
    before = asked.before()
    number = float(before.values[asked.index])
    added = asked.value - number
    formula = f"{number:.4g} + {paren(added, 4)} = {asked.value:.4g}"
    return formula, f"print(float({_values(before)}[{asked.key}]) + {added!r})"


def _masked(asked: _Asked) -> _Explanation:
    before = asked.before()
    if asked.value == float("-inf"):
        formula = f"{float(before.values[asked.index]):.4g}, but this key may not be seen: −∞"
        return formula, "print(-float('inf'))  # masked"
    get = f"{_values(before)}[{asked.key}]"
    return f"{asked.value:.4g} stays: this key may be seen", f"print(float({get}))"


def _softmax(asked: _Asked) -> _Explanation:
    scores = next(s for s in asked.stages if s.name == "mask").values
    sink, own = asked.arithmetic.sink, float(scores[asked.index])
    largest = float(scores.max())
    if largest == float("-inf"):
        return "nothing may be seen: every weight is 0", "print(0.0)"
    total = float((scores - largest).exp().sum())
    lines = [
        'import torch\n\ns = steps["mask"].values',
        "e = torch.exp(s - s.max())",
        "total = e.sum()",
    ]
    more = ""
    if sink is not None:
        total += float((scores.new_tensor(sink) - largest).exp())
        lines.append("total = total + torch.exp(steps.arithmetic.sink - s.max())")
        more = " with the sink"
    formula = f"e^({own:.4g} − {paren(largest, 4)}) ÷ {total:.4g}{more} = {asked.value:.4g}"
    return formula, "\n".join([*lines, f"print(float(e[{asked.key}] / total))"])


def _summed(asked: _Asked) -> _Explanation:
    weights = next(s for s in asked.stages if s.name == "weights").values
    v, i = asked.last("value"), asked.feature or 0
    seen = weights > 0
    column = v.values[:, i].where(seen, 0)
    formula = dot(f"o[{i}]", weights, column, stage_value(asked))
    python = (
        f'w, v = steps["weights"].values, {_values(v)}[:, {i}]\n'
        "print(float((w * v.where(w > 0, 0)).sum()))"
    )
    return formula, python


def _concatenated(asked: _Asked) -> _Explanation:
    own = next(s for s in asked.stages if s.name == "weighted_sum").values
    i = asked.feature or 0
    offset = slice_start(asked.stages)
    if offset <= i < offset + len(own):
        formula = f"number {i - offset} of this head: {asked.value:.4g}"
        return formula, f'print(float(steps["weighted_sum"].values[{i - offset}]))'
    formula = f"{asked.value:.4g}: number {i % len(own)} of head {i // len(own)}"
    return formula, f'print(float(steps["concat"].values[{i}]))'


def slice_start(stages: Sequence[Stage]) -> int:
    """Where this head's numbers stand in the concatenation."""
    for stage in stages:
        if stage.name == "concat":
            return int(stage.example.split()[1])
    return 0


def _mixed(asked: _Asked) -> _Explanation:
    linear = asked.arithmetic.linear.get("output")
    concat, i = asked.last("concat"), asked.feature or 0
    if linear is None:
        return _given(asked)
    bias = None if linear.bias is None else float(linear.bias[i])
    weight = linear.weight[i].double()
    formula = dot(f"y[{i}]", weight, concat.values, stage_value(asked), bias)
    plus = "" if bias is None else f" + w.bias[{i}].double()"
    python = (
        f'w, x = steps.arithmetic.linear["output"], {_values(concat)}\n'
        f"print(float(w.weight[{i}].double() @ x{plus}))"
    )
    return formula, python


_BY_ENDING = {
    "_adjusted": _given,
    "_norm": _normed,
    "_rotary": _rotated,
    "query_scaled": _scaled_query,
}
_BY_NAME = {
    "query": _projected,
    "key": _projected,
    "value": _projected,
    "scores": _score,
    "scaled": _scaled,
    "softcap": _capped,
    "bias": _biased,
    "mask": _masked,
    "weights": _softmax,
    "weighted_sum": _summed,
    "concat": _concatenated,
    "output": _mixed,
}
