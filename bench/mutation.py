"""Known-wrong attentions, planted one by one in a copy of the source: do the tests notice?

    python bench/mutation.py [--jobs 2] [--only NAME] [--timeout 180] [--source src/eyeline]

Each mutant replaces one piece of text that must occur exactly once. First the source as it is must
pass. Then one line per mutant: the test that caught it, or SURVIVED. Exit status 1 if any survives.
"""

# ruff: noqa: E501 (the list is a table: one mistake a line)
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QUICK = ["reference", "top_k", "strips", "statistics", "dropout", "hazards", "windows", "tiling"]
TESTS = [  # the quickest first
    "tests/masks",
    *[f"tests/impl/test_{name}.py" for name in QUICK],
    *["tests/test_functional.py", "tests/test_special_values.py", "tests/test_biases.py"],
    *["tests/impl/test_tiled_backward.py", "tests/impl/test_tiled.py", "tests/test_maps.py"],
    *["tests/impl/test_tiled_measure.py", "tests/test_contract.py", "tests/test_properties.py"],
]


@dataclass(frozen=True)
class Mutant:
    """One mistake: in `file`, `old` becomes `new`."""

    name: str
    file: str
    old: str
    new: str

    def plant(self, package: Path) -> None:
        """Make the mistake in a copy of the package."""
        path = package / self.file
        text = path.read_text()
        self.check(text)
        path.write_text(text.replace(self.old, self.new))

    def check(self, text: str) -> None:
        """The original must occur exactly once, else source and list have drifted apart."""
        count = text.count(self.old)
        if count != 1 or self.old == self.new:
            raise ValueError(f"mutant {self.name}: {self.old!r} occurs {count}× in {self.file}")


BAND, RULES, BASE = "masks/rules.py", "masks/rules.py", "masks/base.py"
REFERENCE, TILED, BACKWARD = "impl/reference.py", "impl/tiled.py", "impl/_tiled_backward.py"
MEASURE, TILING, SCORES = "impl/_tiled_measure.py", "impl/_tiling.py", "impl/_scores.py"
MUTANTS = [
    # masks
    Mutant("causal_off_by_one", BAND, "allowed &= col <= row + self.right", "allowed &= col < row + self.right"),
    Mutant("causal_kind_off_by_one", BAND, "begin > last + self.right", "begin >= last + self.right"),
    Mutant("causal_full_off_by_one", BAND, "end <= first + self.right", "end <= first + self.right + 1"),
    Mutant("causal_offset_sign", "masks/__init__.py", "right=0, offset=int(offset)", "right=0, offset=-int(offset)"),
    Mutant("window_off_by_one", "masks/__init__.py", "window_size - 1, 0", "window_size, 0"),
    Mutant("window_left_ignored", BAND, "allowed &= col >= row - self.left", "allowed &= col >= row - self.left - 1"),
    Mutant("window_kind", BAND, "end < first - self.left", "end <= first - self.left"),
    Mutant("padding_off_by_one", RULES, "(col < stop)", "(col <= stop)"),
    Mutant("padding_start_ignored", RULES, "(col >= start)", "(col > start)"),
    Mutant("documents_differ", RULES, "(low == high) & (key_low == key_high) & (low == key_low)", "(low == high) & (key_low == key_high)"),
    Mutant("documents_empty", RULES, "(high < key_low) | (key_high < low)", "(high <= key_low) | (key_high < low)"),
    Mutant("and_is_or", BASE, "return self.left.tile(tile, device) & self", "return self.left.tile(tile, device) | self"),
    Mutant("not_forgotten_in_part", BASE, "return Not(self.mask.part(batch, heads))", "return self.mask.part(batch, heads)"),
    Mutant("predicate_part_head", RULES, "mask_mod(b + b0, h + h0, q, k)", "mask_mod(b + b0, h, q, k)"),
    # the call
    Mutant("scale_by_d", "functional.py", "1 / math.sqrt(head_dim)", "1 / head_dim"),
    Mutant("is_causal_ignored_with_mask", "functional.py", "masks.causal() if mask is None else mask & masks.causal()", "masks.causal() if mask is None else mask"),
    Mutant("bias_twice", "functional.py", "    return mask, tuple(biases)", "    return mask, tuple(biases + biases[-1:])"),
    Mutant("float_mask_dropped", "functional.py", "biases.append(TensorBias(attn_mask))", "pass"),
    Mutant("group_repeat", "functional.py", "tensor.repeat_interleave(leading[-1] // tensor.shape[-3], -3)", "tensor.repeat_interleave(leading[-1] // tensor.shape[-3], -3).flip(-3)"),
    # reference
    Mutant("softmax_over_queries", REFERENCE, "torch.softmax(extended.where(seen, 0), -1)", "torch.softmax(extended.where(seen, 0), -2)"),
    Mutant("gqa_tiled_heads", REFERENCE, "clean.key.to(dtype).repeat_interleave(problem.group, 1)", "clean.key.to(dtype).repeat(1, problem.group, 1, 1)"),
    Mutant("mask_after_softmax", REFERENCE, "return scores_BHLS.masked_fill(~live, -torch.inf), live", "return scores_BHLS, live"),
    Mutant("sinks_dropped", REFERENCE, "extended = torch.cat([scores_BHLS, sink.expand(*scores_BHLS.shape[:3], 1)], -1)", "extended = scores_BHLS"),
    Mutant("softcap_without_scale_back", REFERENCE, "problem.softcap * torch.tanh(scores_BHLS / problem.softcap)", "torch.tanh(scores_BHLS / problem.softcap)"),
    Mutant("nan_silenced", REFERENCE, "masked_fill(bad, torch.nan)", "masked_fill(bad, 0)"),
    Mutant("entropy_in_bits", REFERENCE, "torch.special.entr(weights_BHLS).sum(-1)", "torch.special.entr(weights_BHLS).sum(-1) / 0.6931471805599453"),
    Mutant("received_over_rows", REFERENCE, "weights_BHLS.sum(-2)", "weights_BHLS.sum(-1)"),
    Mutant("top_k_smallest", REFERENCE, "descending=True, stable=True", "descending=False, stable=True"),
    # tiled, forward
    Mutant("no_rescale", TILED, "acc.mul_(old_share).add_(", "acc.add_("),
    Mutant("sum_not_rescaled", TILED, "old_total * old_share + total", "old_total + total"),
    Mutant("no_running_max", TILED, "new_top = torch.maximum(old_top, top)", "new_top = top"),
    Mutant("strip_without_max", "impl/_strips.py", "strip.sub_(finite[rows]).exp_()", "strip.exp_()"),
    Mutant("strip_moment_unclamped", "impl/_strips.py", "shifted.clamp_(min=-1e4)", "pass"),
    Mutant("logsumexp_without_max", "impl/_statistics.py", "self.maximum + torch.log(self.total)", "torch.log(self.total)"),
    Mutant("one_logsumexp", "impl/_statistics.py", "shifted.exp_().div_(self.total.masked_fill(nothing, 1)[..., None])", "shifted.add_(maximum).sub_((maximum + self.total.masked_fill(nothing, 1)[..., None].log())).exp_()"),
    Mutant("tiled_sink_dropped", TILING, "total * share + torch.exp(sink - finite).masked_fill(dead, 0)", "total * share"),
    Mutant("dead_row_not_dead", TILED, "return query_NMD.new_zeros(n, m, panels.value_NSD.shape[-1]), none - torch.inf, none", "return query_NMD.new_zeros(n, m, panels.value_NSD.shape[-1]), none, none + 1"),
    Mutant("tiled_nan_silenced", TILED, "(output / panels.shrink).masked_fill(bad_row, torch.nan)", "(output / panels.shrink).masked_fill(bad_row, 0)"),
    Mutant("large_values_overflow", TILING, "if self.shrink != 1:", "if False:"),
    Mutant("not_grown_back", TILED, "(output / panels.shrink)", "output"),
    Mutant("tiled_mask_shifted", TILING, "begin = cols.start - span.cols.start", "begin = 0"),
    Mutant("span_lost", TILING, "spans[-1].cols.stop == cols.start", "spans[-1].cols.stop <= cols.start"),
    Mutant("softcap_before_scale", SCORES, "scores.div_(problem.softcap).tanh_()", "scores.div_(problem.softcap * problem.scale).tanh_()"),
    Mutant("bias_infinity_seen", SCORES, "live &= bias_tile(problem, tile) != -torch.inf", "pass"),
    Mutant("masked_nan_leaks", "impl/_hazards.py", "return live & (queries", "return live | (queries"),
    Mutant("dropout_scale_missing", "impl/_dropout.py", "weights.mul_(keep).mul_(kept_scale(problem.dropout_p))", "weights.mul_(keep)"),
    Mutant("dropout_by_tile", "impl/_dropout.py", "torch.arange(span.start, span.stop, dtype", "torch.arange(0, span.stop - span.start, dtype"),
    # tiled, backward
    Mutant("dq_without_scale", BACKWARD, "query_grad.mul_(problem.scale)", "query_grad"),
    Mutant("dk_scaled_twice", BACKWARD, "baddbmm_(part.transpose(1, 2), query_NMD)", "baddbmm_(part.transpose(1, 2), query_NMD * problem.scale)"),
    Mutant("delta_omitted", "impl/_strips.py", "grads[rows].sub_(mean).mul_(flat[rows])", "grads[rows].mul_(flat[rows])"),
    Mutant("softcap_slope_missing", BACKWARD, "raw.div_(panels.problem.softcap).tanh_().square_().neg_().add_(1)", "torch.ones_like(raw)"),
    Mutant("sink_gradient_sign", BACKWARD, "(-p_sink * delta)", "(p_sink * delta)"),
    Mutant("dropout_forgotten_backward", BACKWARD, "drop_(panels.unfold(grad_weights, rows)[..., columns], problem, tile)", "pass"),
    Mutant("second_order_mask", BACKWARD, "weights = weights.where(live, 0)", "weights = weights * 1.01"),
    # statistics
    Mutant("tiled_entropy", MEASURE, "log_norm * sums.total", "log_norm"),
    Mutant("tiled_top_k_ties", "impl/_top_k.py", "if rows.numel():", "if False:"),
    Mutant("top_k_rest_forgotten", "impl/_top_k.py", "if whole == columns:", "if True:"),
    Mutant("pooled_rounding", "impl/_statistics.py", "* count // max(length, 1)", "// max(length // count, 1)"),
    Mutant("mean_by_other_area", "impl/_statistics.py", "counts[0][:, None] * counts[1]", "counts[0][:, None] * counts[1].flip(0)"),
    Mutant("received_unnormalised", MEASURE, "by_cell = norm_BHL1.transpose(-2, -1) @ weights_BHLS if", "by_cell = torch.ones_like(norm_BHL1).transpose(-2, -1) @ weights_BHLS if"),
    # biases
    Mutant("relative_bias_sign", "biases.py", "first = tile.cols.start - (tile.rows.stop - 1 + offset)", "first = tile.cols.start - (tile.rows.stop - 1 - offset)"),
    Mutant("relative_bias_direction", "biases.py", "(relative_position > 0) * num_buckets", "(relative_position < 0) * num_buckets"),
    Mutant("alibi_sign", "biases.py", "-self.slopes[tile.heads, None] * distances", "self.slopes[tile.heads, None] * distances"),
    Mutant("alibi_gradient_sign", "biases.py", "gradient[tile.heads] -= by_distance", "gradient[tile.heads] += by_distance"),
    Mutant("bias_nan_accepted", "biases.py", "if math.isnan(low) or high == math.inf:", "if high == math.inf:"),
    # maps
    Mutant("window_head_shift", "impl/_windows.py", "weights[:, h - heads.start : stop - heads.start]", "weights[:, : stop - h]"),
    Mutant("select_wrong_kv_head", "impl/_windows.py", "kv = [h // group for h in picked]", "kv = [h % problem.key.shape[1] for h in picked]"),
    Mutant("negative_index", "_map_index.py", "return number % size", "return abs(number) % size"),
    Mutant("stale_map_shown", "maps.py", "self._versions is not None and _versions", "False and _versions"),
]  # fmt: skip


def run(mutant: Mutant | None, package: Path, timeout: float) -> tuple[str | None, float]:
    """Plant the mutant in a copy of the package, run the tests; who caught it, or None."""
    name = mutant.name if mutant else "the source as it is"
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(
            package,
            source / "eyeline",
            ignore=shutil.ignore_patterns("__pycache__", "static"),
        )
        if mutant is not None:
            mutant.plant(source / "eyeline")
        environment = os.environ | {
            "PYTHONPATH": str(source),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no"]
        command += ["-p", "no:cacheprovider", *TESTS]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            return "timeout", time.monotonic() - begin
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode == 1 and found:
        return found[1], time.monotonic() - begin
    if done.returncode == 0:
        return None, time.monotonic() - begin
    raise RuntimeError(f"{name}: pytest ended with {done.returncode}\n{done.stdout}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1, help="mutants at the same time")
    parser.add_argument("--only", help="mutants whose name contains this")
    parser.add_argument("--timeout", type=float, default=180, help="seconds per mutant")
    parser.add_argument("--source", type=Path, default=ROOT / "src/eyeline", help="the package")
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if not options.only or options.only in m.name]
    failed, seconds = run(None, options.source, 3 * options.timeout)
    if failed is not None:
        print(f"the source as it is fails: {failed}")
        return 1
    print(f"{'the source as it is':<28} {seconds:5.1f} s  passes", flush=True)
    survivors = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda m: run(m, options.source, options.timeout), chosen)
        for mutant, (caught, seconds) in zip(chosen, results, strict=True):
            survivors += caught is None
            verdict = "SURVIVED" if caught is None else f"caught by {caught}"
            print(f"{mutant.name:<28} {seconds:5.1f} s  {verdict}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return 1 if survivors or not chosen else 0


if __name__ == "__main__":
    raise SystemExit(main())
