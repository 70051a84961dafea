"""Known-wrong attentions, planted one by one in a copy of the source: do the tests notice?

    python bench/mutation.py [--jobs 2] [--only NAME ...] [--timeout 180] [--source src/eyeline]
    python bench/mutation.py --kernels        the mistakes in the C++ sources: each is compiled

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

import torch

ROOT = Path(__file__).resolve().parent.parent
QUICK = ["reference", "top_k", "strips", "statistics", "dropout", "hazards", "windows", "tiling"]
KERNEL_CALLERS = [
    "native_rules",
    "native_operands",
    "native_window",
    "native_library",
    "native_quick",
    "native",
    "native_ops",
]
TESTS = [  # the quickest first
    "tests/masks",
    *[f"tests/impl/test_{name}.py" for name in [*QUICK, "complete", *KERNEL_CALLERS]],
    *["tests/test_functional.py", "tests/test_special_values.py", "tests/test_biases.py"],
    *["tests/impl/test_tiled_backward.py", "tests/impl/test_tiled.py", "tests/impl/test_rows.py"],
    "tests/test_maps.py",
    *["tests/impl/test_tiled_measure.py", "tests/test_contract.py", "tests/test_properties.py"],
]
KERNEL_TESTS = [
    *[
        f"tests/impl/test_{name}.py"
        for name in ["native_quick", "native", "native_panels", "native_observed", "native_threads"]
    ],
    *[
        f"tests/impl/test_{name}.py"
        for name in [
            "native_bfloat16",
            "native_backward",
            "native_known",
            "native_window",
            "native_library",
            "rows",
            "dropout",
        ]
    ],
    *["tests/test_contract.py", "tests/test_special_values.py"],
]
COMPILE = "-std=c++17 -O2 -march=native -fPIC -shared -fopenmp -fvisibility=hidden -w".split()
"""This CPU's instruction set is enough: the vectors differ, the sources that use them do not."""

NO_TILES = ["-mno-amx-tile", "-mno-amx-bf16"] * torch.cpu._is_amx_tile_supported()

ONLY_THE_COPY = """\
import os
import sys
from importlib.machinery import PathFinder


class Copy:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "eyeline":
            return PathFinder.find_spec(name, path or [os.path.dirname(__file__)])


sys.meta_path.insert(0, Copy)
"""
"""`sitecustomize.py` of the copy: an editable install has a finder that precedes PYTHONPATH."""


@dataclass(frozen=True)
class Mutant:
    """One mistake: in `file`, `old` becomes `new`."""

    name: str
    file: str
    old: str
    new: str

    @property
    def compiled(self) -> bool:
        """Whether this CPU's compiler sees the mutant's code: a build of its own may be needed."""
        if self.name.endswith("_avx512"):
            return torch.cpu._is_avx512_supported()
        if self.in_tiles:
            return torch.cpu._is_amx_tile_supported()
        if "pair" in self.name:  # pairs of bfloat16
            return torch.cpu._is_avx512_bf16_supported()
        return True

    @property
    def in_tiles(self) -> bool:
        """Whether it is a mistake in the products of whole tiles, which are compiled for it alone."""
        return self.name.startswith("tiles_")

    @property
    def flags(self) -> list[str]:
        """What the compiler must be told to see the mutant's code."""
        if self.name.endswith("_generic"):
            return ["-mno-avx512f", "-mno-avx2"] * torch.cpu._is_avx2_supported()
        return ["-mno-avx512f"] * (self.name.endswith("_avx2") and torch.cpu._is_avx512_supported())

    @property
    def needs_kernels(self) -> bool:
        """Whether only tests of the kernels can notice it."""
        return "native" in self.file

    def plant(self, folder: Path) -> None:
        """Make the mistake in a copy of the package, or of the kernels."""
        path = folder / self.file
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
NATIVE, LOWER, LIBRARY = "impl/native.py", "impl/_native_rules.py", "impl/_native_library.py"
QUICKLY, RUN, OPERANDS = "impl/_native_quick.py", "impl/_native_run.py", "impl/_native_operands.py"
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
    # what is said of whole rows
    Mutant("band_limits_left", BAND, "first if self.left is None else position - self.left", "first if self.left is None else position - self.left + 1"),
    Mutant("band_limits_right", BAND, "position + self.right + 1", "position + self.right"),
    Mutant("band_limits_offset", BAND, "position = torch.arange(q_len)[None] + self.offset", "position = torch.arange(q_len)[None]"),
    Mutant("keys_limits_despite_gaps", RULES, "(first, first + count) if torch.equal(run, self.keep) else None", "(first, first + count)"),
    Mutant("keys_limits_never", RULES, "(first, first + count) if torch.equal(run, self.keep) else None", "None"),
    Mutant("documents_limits_unsorted", RULES, "bool((self.key_ids[:, 1:] < self.key_ids[:, :-1]).any())", "False"),
    Mutant("documents_limits_wrap", RULES, "(self.key_ids[:, 1:] < self.key_ids[:, :-1])", "(self.key_ids.diff(dim=-1) < 0)"),
    Mutant("documents_limits_strict", RULES, "torch.searchsorted(key_ids, ids, right=True)", "torch.searchsorted(key_ids, ids + 1, right=True)"),
    Mutant("documents_limits_in_compiled", RULES, "if is_compiling() or bool((self", "if bool((self"),
    Mutant("and_limits_widest", BASE, "torch.maximum(left[0], right[0]), torch.minimum(left[1], right[1])", "torch.minimum(left[0], right[0]), torch.minimum(left[1], right[1])"),
    Mutant("or_limits_despite_gap", BASE, "(torch.maximum(a, c) <= torch.minimum(b, d))", "(torch.maximum(a, c) <= torch.minimum(b, d) + 1)"),
    Mutant("or_limits_touching", BASE, "(torch.maximum(a, c) <= torch.minimum(b, d))", "(torch.maximum(a, c) < torch.minimum(b, d))"),
    Mutant("or_limits_of_nothing", BASE, "torch.where(no_left, c, torch.where(no_right, a, torch.minimum(a, c)))", "torch.minimum(a, c)"),
    Mutant("or_limits_last_of_nothing", BASE, "torch.where(no_left, d, torch.where(no_right, b, torch.maximum(b, d)))", "torch.maximum(b, d)"),
    Mutant("or_limits_not_cut", BASE, "(a, b), (c, d) = (_within(side, kv_len) for side", "(a, b), (c, d) = (torch.broadcast_tensors(*side) for side"),
    Mutant("not_limits_both_sides", BASE, "if not bool((from_start | to_end).all()):", "if False:"),
    Mutant("not_limits_of_nothing", BASE, "begin = torch.where(nothing, 0, torch", "begin = torch.where(nothing, kv_len, torch"),
    Mutant("not_limits_end", BASE, "torch.where(nothing | (first <= 0), kv_len, first)", "torch.where(nothing, kv_len, first)"),
    Mutant("rows_kind_empty", RULES, "(last <= tile.cols.start) | (first >= last)", "(last < tile.cols.start) | (first >= last)"),
    Mutant("rows_full", RULES, "(first <= tile.cols.start) & (last >= tile.cols.stop)", "(first <= tile.cols.start)"),
    # the kernels' callers
    Mutant("native_width", NATIVE, "max(query.shape[-1], problem.value.shape[-1]) > WIDEST", "query.shape[-1] > WIDEST"),
    Mutant("native_top_k_refused", NATIVE, "wants.top_k > MOST_TOP_K", "wants.top_k >= MOST_TOP_K"),
    Mutant("native_window_of_a_group_member", "impl/_native_window.py", "found[:, tile.heads.start - wide.heads.start :][:, : tile.shape[1]]", "found[:, : tile.shape[1]]"),
    Mutant("native_window_keeps_nan_rows", "impl/_native_window.py", "result.masked_fill_(found.isnan(), torch.nan)", "result"),
    Mutant("native_maximum_for_sum", "impl/_native_window.py", 'int(reduce == "max")', "0"),
    Mutant("native_size_not_asked", NATIVE, "missing() or _native_rules.too_large(problem)", "missing()"),
    Mutant("native_float64", LIBRARY, "{torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}", "{torch.float32: 0, torch.bfloat16: 2, torch.float16: 1}"),
    Mutant("native_narrower", LIBRARY, "WIDEST = 256", "WIDEST = 255"),
    Mutant("library_codes_ignored", LIBRARY, "if code not in (OK, SPECIAL_VALUES):", "if False:"),
    Mutant("library_special_is_ok", LIBRARY, "return code == OK", "return True"),
    Mutant("library_version_ignored", LIBRARY, "if self._attend(ctypes.byref(nothing)) == BAD_STRUCT:", "if False:"),
    Mutant("library_damage_raises", LIBRARY, "except (OSError, AttributeError) as error:", "except AttributeError as error:"),
    Mutant("library_foreign_raises", LIBRARY, "except (OSError, AttributeError) as error:", "except OSError as error:"),
    Mutant("library_variable_ignored", LIBRARY, 'if given := os.environ.get("EYELINE_LIBRARY"):', "if given := None:"),
    Mutant("library_swapped_fields", LIBRARY, '("has_first", ctypes.c_int32),\n        ("has_last", ctypes.c_int32),', '("has_last", ctypes.c_int32),\n        ("has_first", ctypes.c_int32),'),
    Mutant("lowered_first", LOWER, "firsts.append(part.offset - part.left)", "firsts.append(part.offset - part.left + 1)"),
    Mutant("lowered_last", LOWER, "lasts.append(part.offset + part.right)", "lasts.append(part.right)"),
    Mutant("lowered_widest_first", LOWER, "max(firsts) if firsts", "min(firsts) if firsts"),
    Mutant("lowered_widest_last", LOWER, "min(lasts) if lasts", "max(lasts) if lasts"),
    Mutant("lowered_limits_replaced", LOWER, "if limits is not None:\n                found", "if False:\n                found"),
    Mutant("lowered_written_replaced", LOWER, "cells if written is None else written & cells", "cells"),
    Mutant("lowered_everything_written", LOWER, "elif (found := part.row_limits(*problem.shape[2:])) is not None:", "elif (found := None) is not None:"),
    Mutant("lowered_half_conjunction", LOWER, "_conjunction(mask.left) + _conjunction(mask.right)", "_conjunction(mask.left)"),
    Mutant("lowered_diagonals_replaced", LOWER, "values if diagonals is None else diagonals + values", "values"),
    Mutant("lowered_biases_replaced", LOWER, "values if explicit is None else explicit + values", "values"),
    Mutant("lowered_bias_in_half", LOWER, "values = bias.values.float()", "values = bias.values"),
    Mutant("lowered_detached", LOWER, "values = bias.diagonals(*shape[2:]).float()", "values = bias.diagonals(*shape[2:]).float().detach()"),
    Mutant("too_large_broadcast", LOWER, "[1 if n == 1 else length for n, length in zip(corner, shape, strict=True)]", "shape"),
    Mutant("too_large_for_one", LOWER, "if math.prod(sizes) > WRITTEN_CELLS:", "if math.prod(sizes) >= WRITTEN_CELLS:"),
    Mutant("too_large_dense", LOWER, "if isinstance(part, Band | Dense) or part", "if isinstance(part, Band) or part"),
    Mutant("quick_ignores_scale", QUICKLY, "1 / math.sqrt(head_dim) if scale is None else scale", "1 / math.sqrt(head_dim)"),
    Mutant("quick_ignores_causal", "impl/_native_quick.py", "call.has_last, call.last_offset = 1, last", "call.has_last, call.last_offset = 0, last"),
    Mutant("quick_band_mirrored", "functional.py", "None if left is None else offset - left", "None if left is None else left - offset"),
    Mutant("quick_loses_gradients", QUICKLY, "if torch.is_grad_enabled() and (", "if False and ("),
    Mutant("quick_is_quiet_about_nan", QUICKLY, "return output if kernels.attend(call) else None", "kernels.attend(call)\n    return output"),
    Mutant("quick_groups_unasked", QUICKLY, "(not enable_gqa or heads % kv_heads)", "heads % kv_heads"),
    Mutant("careful_not_asked", RUN, "return careful if found is None else _nan_from(careful, found)", "return careful"),
    Mutant("nan_not_copied", RUN, "tensor.masked_fill_(getattr(careful, name).isnan(), torch.nan)", "pass"),
    Mutant("nan_normalizer_forgotten", RUN, "tensor.masked_fill_(bad, torch.nan)", "pass"),
    Mutant("nan_top_k_forgotten", RUN, "tensor[bad] = other[bad]", "pass"),
    Mutant("mean_is_sum", RUN, 'if wants.pooled is not None and wants.pooled.reduce == "mean":', "if False:"),
    Mutant("spread_rows_not_copied", RUN, "if tensor.stride(-1) != 1:", "if False:"),
    Mutant("strides_of_broadcast", RUN, "0 if n == 1 else stride for n, stride", "stride for n, stride"),
    Mutant("diagonal_stride_batch", RUN, "(0, diagonals.stride(0))", "(0, 0)"),
    Mutant("operands_lose_softcap", OPERANDS, "*(problem.scale, problem.softcap or 0.0)", "*(problem.scale, 0.0)"),
    Mutant("operands_band_sign", OPERANDS, "Band(-self.first_offset, None, 0)", "Band(self.first_offset, None, 0)"),
    Mutant("operands_sinks_in_half", OPERANDS, "problem.sinks.to(torch.float32)", "problem.sinks"),
    Mutant("gradient_nan_forgotten", "impl/_native_backward.py", "gradient.masked_fill_(other.isnan(), torch.nan)", "pass"),
    Mutant("gradient_of_spread_rows", "impl/_native_backward.py", "if output_gradient.stride(-1) != 1:", "if False:"),
    Mutant("diagonals_not_learnt", "impl/_native_ops.py", "ctx.needs_input_grad[4:6]", "ctx.needs_input_grad[4:5]"),
    Mutant("gradient_of_hidden_nan", "impl/_native_backward.py", "finite = output_gradient.nan_to_num(0, 0, 0)", "finite = output_gradient"),
    # complete panels
    Mutant("piece_begins_at_zero", "impl/_complete.py", "pieces.append(Piece(span, begin, end))", "pieces.append(Piece(span, 0, end))"),
    Mutant("complete_without_scale", "impl/_complete.py", "panels.fold(problem.query, rows) * problem.scale", "panels.fold(problem.query, rows)"),
    Mutant("bad_rows_all", "impl/_complete.py", "bad.any(-1).view(n, m, 1)", "bad.all(-1).view(n, m, 1)"),
    Mutant("minus_infinity_denied", "impl/_complete.py", "bool(problem.biases) or self.live is not None or partial", "bool(problem.biases) or partial"),
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
    Mutant("sinks_dropped", REFERENCE, "extended = torch.cat([scores_BHLS, _sink_column(problem, scores_BHLS)], -1)", "extended = scores_BHLS"),
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
    Mutant("rows_of_a_short_sum_lost", BACKWARD, "left_NMS.split(_LONGEST_SUM, 1)", "left_NMS[:, :_LONGEST_SUM].split(_LONGEST_SUM, 1)"),
    Mutant("dk_scaled_twice", BACKWARD, "_add_over_rows(self.key_NSD[:, cols], part, query_NMD)", "_add_over_rows(self.key_NSD[:, cols], part, query_NMD * problem.scale)"),
    Mutant("delta_omitted", "impl/_strips.py", "grads[rows].sub_(mean).mul_(flat[rows])", "grads[rows].mul_(flat[rows])"),
    Mutant("softcap_slope_missing", BACKWARD, "raw.div_(panels.problem.softcap).tanh_().square_().neg_().add_(1)", "torch.ones_like(raw)"),
    Mutant("sink_gradient_sign", BACKWARD, "(-sink * delta)", "(sink * delta)"),
    Mutant("row_numbers_forget_the_sink", BACKWARD, "lse - slope * (entropy + sink)", "lse - slope * entropy"),
    Mutant("sink_forgets_row_numbers", BACKWARD, "delta = delta - (lse + slope * (1 - sink - entropy))", "pass"),
    Mutant("entropy_slope_sign", "impl/_strips.py", "log_().mul_(-twos[rows])", "log_().mul_(twos[rows])"),
    Mutant("entropy_of_the_sink", REFERENCE, "entropy_BHL = -(weights_BHLS * logs_BHLS).sum(-1)", "entropy_BHL = logsumexp_BHL - (weights_BHLS * scores_BHLS.where(live, 0)).sum(-1)"),
    Mutant("graph_without_bias", "impl/_problem.py", "value=self.key.detach()[..., :0], dropout_p=0.0", "value=self.key.detach()[..., :0], biases=(), dropout_p=0.0"),
    Mutant("dropout_forgotten_backward", BACKWARD, "drop_(panels.unfold(grad_weights, rows)[..., columns], problem, tile)", "pass"),
    Mutant("second_order_mask", BACKWARD, "weights = weights.where(live, 0)", "weights = weights * 1.01"),
    # statistics
    Mutant("tiled_entropy", MEASURE, "log_norm * sums.total", "log_norm"),
    Mutant("tiled_top_k_ties", "impl/_top_k.py", "if rows.numel():", "if False:"),
    Mutant("top_k_rest_forgotten", "impl/_top_k.py", "if whole == columns:", "if True:"),
    Mutant("pooled_rounding", "impl/_statistics.py", "* count // max(length, 1)", "// max(length // count, 1)"),
    Mutant("mean_by_other_area", "impl/_statistics.py", "counts[0][:, None] * counts[1]", "counts[0][:, None] * counts[1].flip(0)"),
    Mutant("received_unnormalised", MEASURE, "by_cell = _sum_rows(weights_BHLS, norm_BHL1, torch.arange", "by_cell = _sum_rows(weights_BHLS, torch.ones_like(norm_BHL1), torch.arange"),
    # biases
    Mutant("relative_bias_sign", "biases.py", "first = tile.cols.start - (tile.rows.stop - 1 + offset)", "first = tile.cols.start - (tile.rows.stop - 1 - offset)"),
    Mutant("relative_bias_direction", "biases.py", "(relative_position > 0) * num_buckets", "(relative_position < 0) * num_buckets"),
    Mutant("alibi_sign", "biases.py", "-slopes[:, None] * self._distances", "slopes[:, None] * self._distances"),
    Mutant("alibi_in_half", "biases.py", "torch.promote_types(self.slopes.dtype, torch.float32)", "self.slopes.dtype"),
    Mutant("diagonals_one_short", "biases.py", "slice(0, 1), slice(0, 1), slice(0, q_len), slice(0, kv_len)", "slice(0, 1), slice(0, 1), slice(0, q_len), slice(1, kv_len)"),
    Mutant("diagonals_of_table_flipped", "biases.py", "self.table[self._buckets(_all_cells(q_len, kv_len))].T", "self.table[self._buckets(_all_cells(q_len, kv_len))].T.flip(-1)"),
    Mutant("diagonals_shifted", "biases.py", "- (tile.rows.stop - 1) + self.q_len - 1", "- (tile.rows.stop - 1) + self.q_len"),
    Mutant("diagonals_of_wrong_length", "biases.py", "if tuple(self.values.shape) != wanted or self.q_len != q_len:", "if tuple(self.values.shape) != wanted:"),
    Mutant("alibi_gradient_sign", "biases.py", "gradient[tile.heads] -= by_distance", "gradient[tile.heads] += by_distance"),
    Mutant("bias_nan_accepted", "biases.py", "if math.isnan(low) or high == math.inf:", "if high == math.inf:"),
    # maps
    Mutant("window_head_shift", "impl/_windows.py", "weights[:, first - heads.start : last - heads.start]", "weights[:, : last - first]"),
    Mutant("select_wrong_kv_head", "impl/_windows.py", "slice(heads.start // group, -(-heads.stop // group))\n    key", "slice(heads.start % group, heads.start % group + 1)\n    key"),
    Mutant("negative_index", "_map_index.py", "return number % size", "return abs(number) % size"),
    Mutant("stale_map_shown", "maps.py", "self._versions is not None and _versions", "False and _versions"),
]  # fmt: skip


KERNEL_MUTANTS = [
    Mutant("exponential_digit_generic", "exponential.h", "2.402224243e-1f", "2.402324243e-1f"),
    Mutant("exponential_cubic_avx2", "exponential.h", "3.754025465e-3f", "3.774025465e-3f"),
    Mutant("exponential_power_avx2", "exponential.h", "-719629, -694486", "-719629, -694386"),
    Mutant("exponential_of_the_next", "sums.h", "bent[v] = fma(e, less_top(scores, v), bent[v]);", "bent[v] = fma(e, less_top(scores + LANES, v), bent[v]);"),
    Mutant("exponential_slope_avx512", "exponential.h", "2.1661168e-2f", "2.1671168e-2f"),
    Mutant("exponential_power_avx512", "exponential.h", "-152893", "-152793"),
    Mutant("tanh_bound", "exponential.h", "const float bound = 7.9988117f;", "const float bound = 1.9988117f;"),
    Mutant("ties_to_the_later", "topk.h", "const vmask both_below = less(held[i - 1], x);", "const vmask both_below = negated(less(x, held[i - 1]));"),
    Mutant("ties_of_many_to_the_later", "topk.h", "const vmask both_below = less(above, x);", "const vmask both_below = negated(less(x, above));"),
    Mutant("top_k_of_stale", "topk.h", "less(splat(i), load(count_ + v))", "less(splat(-1), load(count_ + v))"),
    Mutant("top_k_key_stays", "topk.h", "const vfloat moved = pick(both_below, as_float(load(best_key + i - LANES)), key);", "const vfloat moved = key;"),
    Mutant("top_k_collects_once", "topk.h", "count_[v + lane]++ * LANES", "count_[v + lane] * LANES"),
    Mutant("top_k_listed_by_the_first_key", "topk.h", "plus(lane_numbers(), splat(i * WIDTH)), list", "lane_numbers(), list"),
    Mutant("top_k_lists_what_ties_left_out", "topk.h", "const vmask here = both(hit, negated(less(load(scores + i * LANES), bound)));\n        listed", "const vmask here = negated(less(load(scores + i * LANES), bound));\n        listed"),
    Mutant("top_k_every_other_tile", "topk.h", "tiles += each * LANES", "tiles += 2 * LANES"),
    Mutant("top_k_too_few_ties", "topk.h", "less(splat(static_cast<float>(k_)), ties)", "less(splat(1.0f), ties)"),
    Mutant("top_k_group_forgotten", "topk.h", "for (int i = 1; i < here; i++) highest", "for (int i = 1; i < here - 1; i++) highest"),
    Mutant("dropout_row_for_head", "dropout.h", "mix(item ^ static_cast<uint32_t>(b.head[lane]))", "mix(item ^ static_cast<uint32_t>(b.row[lane]))"),
    Mutant("dropout_constant", "dropout.h", "SECOND = 0xc2b2ae35", "SECOND = 0xc2b2ae34"),
    Mutant("dropout_not_divided", "dropout.h", "all_ ? 0.0f : call_.dropout_scale", "1.0f"),
    Mutant("no_running_rescale", "online.h", "total[v] = total[v] * shrink[v];", ""),
    Mutant("always_plain", "online.h", "int until = most(least(b.full_end - j, n), before);", "int until = n;"),
    Mutant("softcap_not_multiplied_back", "rules.h", "s = splat(softcap_) * share;", "s = share;"),
    Mutant("masked_bias_seen", "rules.h", "live = both(live, negated(equal(added, masked)));", ""),
    Mutant("added_masked_seen", "rules.h", "s = pick(live, s, masked);\n        highest[v] = vmax", "highest[v] = vmax"),
    Mutant("hidden_seen", "rules.h", "s = pick(live, s, masked);\n          highest[v] = vmax", "highest[v] = vmax"),
    Mutant("hidden_special_heard", "rules.h", "const vmask live = any_bit(words[v], bit);\n          vfloat s = load(scores + k * LANES + v * WIDTH);\n          spoiled[v] = spoiled[v] + pick(live, s * zero, zero);", "const vmask live = any_bit(words[v], bit);\n          vfloat s = load(scores + k * LANES + v * WIDTH);\n          spoiled[v] = spoiled[v] + s * zero;"),
    Mutant("bits_of_the_first_keys", "rules.h", "begin += 32, tile += LANES", "begin += 32"),
    Mutant("full_of_some_bits", "rules.h", "every == ~0u ? Tile::FULL", "some == ~0u ? Tile::FULL"),
    Mutant("bits_of_one_row", "rules.h", "words[lane] = bits_of_bytes(here < 32 ? last : row[lane] + k);", "words[lane] = bits_of_bytes(here < 32 ? last : row[0] + k);"),
    Mutant("bits_with_limits_forgotten", "rules.h", "live = both(live, written(tile, k, v));", "live = written(tile, k, v);"),
    Mutant("bits_with_limits_unseen", "rules.h", "live = both(live, written(tile, k, v));", ""),
    Mutant("added_special_unheard", "rules.h", "return !bad;", "return true;"),
    Mutant("turned_row_of_the_first", "rules.h", "i = b.row[first + r];", "i = b.row[first];"),
    Mutant("turned_rest_lost", "rules.h", "if (whole < n) turn(b, j, whole, n, tile);", ""),
    Mutant("special_values_unheard", "rules.h", "return bad == 0;", "return true;"),
    Mutant("diagonal_off_by_one", "rules.h", "load_part<Float32>(at + j - i + c.q_len - 1, n)", "load_part<Float32>(at + j - i + c.q_len, n)"),
    Mutant("mask_gathers_ones", "rules.h", "gathered[k] = at[k * s[3]];\n    return load_bytes", "gathered[k] = at[k];\n    return load_bytes"),
    Mutant("empty_tile_of_some", "rules.h", "some |= found != 0;", "some = found != 0;"),
    Mutant("entropy_without_factor", "observe.h", "h = -f * (s.moment", "h = -(s.moment"),
    Mutant("pooled_maximum_is_sum", "observe.h", "vmax(load(cell), load(e + v * WIDTH))", "load(cell) + load(e + v * WIDTH)"),
    Mutant("rows_of_cells_run_on", "sums.h", "if (lane + 1 == lanes || (lane + 1) % WIDTH == 0 || row_cell[lane + 1] != row_cell[lane])", "if (lane + 1 == lanes || (lane + 1) % WIDTH == 0)"),
    Mutant("rows_of_cells_end_with_the_block", "sums.h", "if (lane + 1 == lanes || (lane + 1) % WIDTH == 0 || row_cell", "if (lane + 1 == lanes || row_cell"),
    Mutant("rows_of_cells_not_joined", "sums.h", "x[lane + 1] = join(x[lane], x[lane + 1]);", "{}"),
    Mutant("cells_opened_empty", "sums.h", "cell[v] = load(cells.cell() + v * WIDTH);", "cell[v] = splat(0.0f);"),
    Mutant("cells_end_a_key_late", "sums.h", "return walk->end - key;", "return walk->end - key + 1;"),
    Mutant("stretch_total_stays", "seen.h", "total[v] = total[v] * shrink[v];", "{}"),
    Mutant("stretch_logarithms_stay", "seen.h", "fma(risen, total[v], moment[v])", "moment[v]"),
    Mutant("stretch_output_stays", "seen.h", "scale(output, 0, width, shrink);", "{}"),
    Mutant("stretch_cell_in_between_stays", "seen.h", "least(walk.cell + 1, last_cell)", "least(walk.cell, last_cell)"),
    Mutant("stretch_received_by_the_last_tops", "seen.h", "factor[v] * exp_or_zero(load(tops + i * LANES + v * WIDTH) - finite_or_zero(top[v]))", "factor[v]"),
    Mutant("stretch_forgets_the_largest_before", "topk.h", "held[i] = load(best_ + i * LANES + v);\n      held_key", "held[i] = splat(-INFINITE);\n      held_key"),
    Mutant("stretch_bound_of_stale_maxima", "observe.h", "most(least(seen_[b].block.end, stop) - start, 0)", "stop - start"),
    Mutant("stretch_rows_begin_late", "seen.h", "vmax(splat(-1e4f), load(now - LANES", "vmin(splat(0.0f), load(now - LANES"),
    Mutant("received_past_the_end", "observe.h", "from[i] <= k && k + WIDTH <= to[i]", "from[i] <= k"),
    Mutant("received_before_the_begin", "observe.h", "from[i] <= k && k + WIDTH <= to[i]", "k + WIDTH <= to[i]"),
    Mutant("received_of_missing_vectors", "observe.h", "s.block.vecs == VECS && from[i]", "from[i]"),
    Mutant("cells_walk_in_whole_steps", "sums.h", "over_ -= part_;", "over_ -= 0 * part_;"),
    Mutant("values_in_place_of_the_first_keys", "packed.h", "return first_value_ + (j - first_) * stride();", "return first_value_;"),
    Mutant("last_chunk_of_queries", "chunks.h", "per_head_ = ceil_div(c.q_len, queries_);", "per_head_ = most<int64_t>(c.q_len / queries_, 1);"),
    Mutant("empty_lanes_received", "observe.h", "factor[v] = pick(less(lane_numbers(), splat(b.count - v * WIDTH)), factor[v], splat(0.0f));", "{}"),
    Mutant("window_of_row_zero", "window.h", "block_.row[lane] - all_.row_begin) / all_.pixel", "block_.row[lane]) / all_.pixel"),
    Mutant("window_keys_shifted", "window.h", "add_pixels<Vecs>(j - all_.key_begin, n);", "add_pixels<Vecs>(j, n);"),
    Mutant("window_unclamped", "window.h", "vmin(splat(0.0f), load(at) - top[v])", "load(at) - top[v]"),
    Mutant("window_masked_seen", "window.h", "const bool plain = tile == Tile::FULL && ", "const bool plain = "),
    Mutant("logarithm_digit", "exponential.h", "3.3333331174e-1f", "3.3433331174e-1f"),
    Mutant("row_slopes_sign", "derivative.h", "fma(zero - second[v], log_p, first[v])", "fma(second[v], log_p, first[v])"),
    Mutant("row_slopes_without_sink", "backward_rows.h", "dlse - dh * (h + sink)", "dlse - dh * h"),
    Mutant("sink_without_rows", "backward_rows.h", "sink_delta[v] = delta[v] - pick(", "sink_delta[v] = delta[v] - 0 * pick("),
    Mutant("key_gradient_unscaled", "key_sums.h", "count, g.call.head_dim, g.call.scale,", "count, g.call.head_dim, 1,"),
    Mutant("tile_maximum_of_one", "topk.h", "t + 1 < count ? vmax(load(tiles + v), load(tiles + LANES + v)) : load(tiles + v)", "load(tiles + v)"),
    Mutant("received_of_one_block", "observe.h", "for (int64_t i = 0; i < blocks; i++) {\n        const Seen& s", "for (int64_t i = 0; i < 1; i++) {\n        const Seen& s"),
    Mutant("lone_key_pair_repeated", "pack_pairs.h", "lone ? nothing : from + stride + d", "lone ? from + d : from + stride + d"),
    Mutant("odd_width_pair", "pack_pairs.h", "if (width % 2) *to++ = 0;", "if (width % 2) *to++ = *from;"),
    Mutant("pairs_of_other_rows", "pack_pairs.h", "memcpy(both[1], row[lane + 1] + d, here);", "memcpy(both[1], row[lane] + d, here);"),
    Mutant("pair_scaled_by_half", "pack_pairs.h", "const vint high = as_int(as_float(x) * power);", "const vint high = x;"),
    Mutant("last_pair_of_weights", "sums.h", "const vfloat last = exponential(scores + v * WIDTH, v);\n    sum[v] = sum[v] + last;", "const vfloat last = exponential(scores + v * WIDTH, v);"),
    Mutant("decode_parts_not_shrunk", "decode.h", "parts == 1 ? 1.0f : one_exp(part[r] - top[r])", "1.0f"),
    Mutant("decode_sum_not_shrunk", "decode.h", "total_[r] = total_[r] * shrink + lanes[0];", "total_[r] = total_[r] + lanes[0];"),
    Mutant("decode_first_part_lost", "decode.h", "store(sum + d, p ? load(sum + d) + x : x);", "store(sum + d, x);"),
    Mutant("decode_quiet_about_nan", "decode.h", "probe = fma(x, splat(0.0f), probe);", ""),
    Mutant("decode_values_of_first_group", "decode.h", "value_row<T>(call_, block_, j + first);", "value_row<T>(call_, block_, j);"),
    Mutant("decode_weights_of_first_group", "decode.h", "const float* weights = scores_ + first;", "const float* weights = scores_;"),
    Mutant("decode_query_not_parted", "decode.h", "T::APART && r < block_.count; r++", "T::APART && r < 0; r++"),
    Mutant("decode_sums_stay_apart", "decode.h", "c += 2) together(", "c += Chunk) together("),
    Mutant("decode_keys_not_parted", "decode.h", "add(d + e, Constant<STEP>());", "add(d + e, Constant<1>());"),
    Mutant("apart_odd_keeps_even", "simd_avx2.h", "_mm256_and_si256(both, splat(static_cast<int>(0xffff0000)))", "both"),
    Mutant("apart_halves_not_in_order", "simd_avx2.h", "_mm256_permute4x64_pd(odd, 0xd8)", "odd"),
    Mutant("decode_sum_of_half", "decode.h", "lanes[i] += lanes[i + half];", "lanes[i] += half > 1 ? lanes[i + half] : 0;"),
    Mutant("block_row_stays", "block.h", "if (++of_line == line.fold) of_line = 0, at++;", "if (++of_line == line.fold) of_line = 0;"),
    Mutant("block_begins_at_head_0", "block.h", "of_line = start % line.fold;", "of_line = 0;"),
    Mutant("tiles_lower_rows_lost", "tiles.h", "load_register<A>(a + below, ALONG);", "load_register<A>(a, ALONG);"),
    Mutant("tiles_units_not_cleared", "tiles.h", "i < round_up(from, TILE); i++)", "i < from; i++)"),
    Mutant("tiles_maximum_without_last", "tiles.h", "finish_tile_scores<Vecs>(scores + done * LANES, keys - done,", "finish_tile_scores<Vecs>(scores + done * LANES, keys - done - 1,"),
    Mutant("tiles_of_eight_maximum", "tiles.h", "if (maxima) maxima += LANES;", ""),
    Mutant("tiles_rest_forgotten", "tiles.h", "score = score * splat(rest);", ""),
    Mutant("tiles_shrink_forgotten", "tiles.h", "fma(load(at), shrink[v], load(sum + v * WIDTH))", "load(at) + load(sum + v * WIDTH)"),
    Mutant("tiles_lone_key_lost", "pack_tiles.h", "left > 0 ? load_some", "left > 1 ? load_some"),
    Mutant("tiles_gradient_below", "tiles.h", "load_register<5>(a + TILE * ROW_UNITS, DOWN);", "load_register<5>(a, DOWN);"),
    Mutant("tiles_gradient_starts_anew", "tiles.h", "load_register<0>(sum, along);", "clear_register<0>();"),
    Mutant("tiles_step_of_rules", "forward.h", "% Packed<T, U>::WHOLE;", "% U::TERMS;"),
    Mutant("panels_begun_inside_avx2", "forward.h", "% Packed<T, U>::WHOLE;", "% U::TERMS;"),
    Mutant("panel_of_unseen_keys", "microkernel.h", "rest, scores, unused, nullptr);", "rest, scores, top, nullptr);"),
    Mutant("panel_last_key_lost", "microkernel.h", "for (int k = 1; k < keys; k++) highest", "for (int k = 1; k < keys - 1; k++) highest"),
    Mutant("panel_maxima_stay_avx2", "microkernel.h", "scores, top, maxima);\n    if (maxima) maxima += LANES;\n  }\n  if (keys == 0)", "scores, top, maxima);\n  }\n  if (keys == 0)"),
    Mutant("panel_rest_of_width_avx2", "pack.h", "(width - d) * ROWS) * sizeof *to);", "(width - d) * ROWS));"),
    Mutant("peaked_rows_known", "backward_rows.h", "1 > sum * PEAKED ? 1 : 0;", "1 > sum * PEAKED ? 0 : 0;"),
    Mutant("known_sum_of_15_lanes", "backward_rows.h", "for (int r = 1; r < WIDTH; r++) delta[v] = delta[v] + x[r];", "for (int r = 2; r < WIDTH; r++) delta[v] = delta[v] + x[r];"),
    Mutant("peaked_rows_of_others", "backward_rows.h", "delta[v] = pick(own(v), found, delta[v]);", "delta[v] = found;"),
    Mutant("refined_rows_of_others", "backward_rows.h", "(recalled ? pick(own(v), rest[v], splat(0.0f)) : rest[v])", "rest[v]"),
    Mutant("known_rows_that_see_nothing", "backward_rows.h", "factors[lane] = sum == 0 ? 0 : 1 / sum;", "factors[lane] = 1 / sum;"),
    Mutant("known_for_what_is_not_rounded", "backward.h", "g.forward_output && !(PAIRED", "g.forward_output && !(false"),
    Mutant("known_overflow_not_cleared", "backward.h", "        weigh<Vecs>(s, j);\n        clear<Vecs>(s, j);", "        weigh<Vecs>(s, j);"),
    Mutant("known_overflow_not_weighed", "backward.h", "        weigh<Vecs>(s, j);\n        clear<Vecs>(s, j);", "        clear<Vecs>(s, j);"),
    Mutant("one_panel_for_two_walks", "backward.h", "group.rows[i]->panels = panels_[i];", "group.rows[i]->panels = panels_[0];"),
    Mutant("centered_the_wrong_way", "backward_rows.h", "fma(splat(-key_sum[d] / counted), rest[v], load(at))", "fma(splat(key_sum[d] / counted), rest[v], load(at))"),
    Mutant("centered_around_unseen_keys", "line_keys.h", "begin = most(from, s.block.full_begin), end = least(from + n, s.block.full_end);", "begin = from, end = from + n;"),
    Mutant("centered_around_masked_keys", "line_keys.h", "begin >= end || s.kind_of(j) != static_cast<int>(Tile::FULL)", "begin >= end"),
    Mutant("centered_around_the_first_keys", "line_keys.h", "key_row<T>(call_, s.block, begin), call_.key_stride[2], end - begin", "key_row<T>(call_, s.block, 0), call_.key_stride[2], end - begin"),
    Mutant("unrounded_output_of_rounded_weights", "finish.h", "share[v] = share[v] * factor[v];", "share[v] = factor[v];"),
    Mutant("centered_with_sinks", "backward.h", "centers_(!g.call.sinks && ", "centers_("),
    Mutant("centered_with_softcap", "backward.h", " && g.call.softcap == 0 && !numbers())", " && !numbers())"),
    Mutant("centered_with_numbers", "backward.h", "g.call.softcap == 0 && !numbers())", "g.call.softcap == 0)"),
    Mutant("rest_before_rounding", "backward.h", "*rest = PAIRED ? unrounded : s.rest;", "*rest = s.rest;"),
    Mutant("unrounded_output_rounded", "finish.h", "lanes_to_rows<Float32>(output, share, b.count, c.value_dim, row);", ";"),
    Mutant("struct_size_unchecked", "dispatch.cpp", "if (!c || c->size != static_cast<int32_t>(sizeof *c)) return EYELINE_BAD_STRUCT;", "if (!c) return EYELINE_BAD_STRUCT;"),
]  # fmt: skip


@dataclass(frozen=True)
class Copy:
    """A copy of the package, and of the kernels if they are compiled from it."""

    folder: Path

    @property
    def package(self) -> Path:
        return self.folder / "src/eyeline"

    @property
    def kernels(self) -> Path:
        return self.folder / "kernels"

    @classmethod
    def of(cls, package: Path, folder: Path) -> "Copy":
        copy = cls(folder)
        ignored = shutil.ignore_patterns("__pycache__", "static")
        shutil.copytree(package, copy.package, ignore=ignored)
        (copy.package.parent / "sitecustomize.py").write_text(ONLY_THE_COPY)
        return copy

    def environment(self) -> dict[str, str]:
        """What Python needs to import the copy, compiled kernels among it."""
        found = os.environ | {
            "PYTHONPATH": str(self.package.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }
        if self.kernels_file.exists():
            found["EYELINE_LIBRARY"] = str(self.kernels_file)
        return found

    @property
    def kernels_file(self) -> Path:
        return self.folder / "libmutant.so"

    def compile(self, flags: list[str], tiles: bool = False) -> None:
        compiler = [os.environ.get("CXX", "c++"), *COMPILE, *flags]
        attend, dispatch = (self.kernels / name for name in ("attend.cpp", "dispatch.cpp"))
        base = ["-DEYELINE_NAMESPACE=generic", "-DEYELINE_GENERIC", *NO_TILES]
        if not tiles:
            subprocess.run(
                [*compiler, *base, attend, dispatch, "-o", self.kernels_file], check=True
            )
            return
        # a build of its own: who does not ask for tiles, as the generic one, may not touch them
        with_tiles = [*compiler, "-DEYELINE_NAMESPACE=amx", "-DEYELINE_AMX", "-DEYELINE_GENERIC"]
        objects = [self.folder / name for name in ("generic.o", "tiles.o")]
        subprocess.run([*compiler, *base, "-c", attend, "-o", objects[0]], check=True)
        subprocess.run([*with_tiles, "-c", attend, "-o", objects[1]], check=True)
        subprocess.run([*with_tiles, *objects, dispatch, "-o", self.kernels_file], check=True)

    def ask(self, code: str) -> str:
        """What a Python that imports the copy prints."""
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=self.environment(), stdout=subprocess.PIPE
        )
        return done.stdout.decode().strip()

    def check(self) -> None:
        """Raise unless it is the copy that tests would import."""
        found = self.ask("import eyeline.impl.native as n; print(n.__file__)")
        if not Path(found or "nothing").is_relative_to(self.folder):
            raise RuntimeError(f"Python imports {found or 'nothing'}, not the copy with the mutant")


def run(
    mutant: Mutant | None, package: Path, timeout: float, kernels: bool = False
) -> tuple[str | None, float]:
    """Plant the mutant in a copy of the package, run the tests; who caught it, or None."""
    name = mutant.name if mutant else "the source as it is"
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Copy.of(package, Path(folder).resolve())
        if kernels:
            shutil.copytree(ROOT / "kernels", copy.kernels)
        if mutant is not None:
            mutant.plant(copy.kernels if kernels else copy.package)
        if kernels:
            copy.compile(mutant.flags if mutant else [], mutant is not None and mutant.in_tiles)
        if mutant is None:
            copy.check()
        tests = KERNEL_TESTS if kernels else nearest_first(mutant)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no"]
        command += ["-p", "no:cacheprovider", *tests]
        environment = copy.environment()
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            return "timeout", time.monotonic() - begin
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode == 1 and found:
        return found[1], time.monotonic() - begin
    if done.returncode < 0:
        return f"signal {-done.returncode}", time.monotonic() - begin
    if done.returncode == 0:
        return None, time.monotonic() - begin
    raise RuntimeError(f"{name}: pytest ended with {done.returncode}\n{done.stdout}")


def nearest_first(mutant: Mutant | None) -> list[str]:
    """The tests, those of the mutant's own file before the others."""
    if mutant is None:
        return TESTS
    source = Path("tests") / mutant.file
    own = {str(source.parent), str(source.with_name(f"test_{source.name.lstrip('_')}"))}
    return sorted(TESTS, key=lambda test: test not in own)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1, help="mutants at the same time")
    parser.add_argument("--only", nargs="+", help="mutants whose name contains one of these")
    parser.add_argument("--timeout", type=float, default=180, help="seconds per mutant")
    parser.add_argument("--source", type=Path, default=ROOT / "src/eyeline", help="the package")
    parser.add_argument("--kernels", action="store_true", help="mutants of the C++ sources")
    options = parser.parse_args()
    known = KERNEL_MUTANTS if options.kernels else MUTANTS
    only = options.only or [""]
    chosen = [m for m in known if any(part in m.name for part in only)]
    failed, seconds = run(None, options.source, 3 * options.timeout, options.kernels)
    if failed is not None:
        print(f"the source as it is fails: {failed}")
        return 1
    print(f"{'the source as it is':<28} {seconds:5.1f} s  passes", flush=True)
    if not options.kernels and (reason := why_no_kernels(options.source)):
        print(f"{sum(m.needs_kernels for m in chosen)} mutants are left out: {reason}")
        chosen = [m for m in chosen if not m.needs_kernels]
    if options.kernels and not all(m.compiled for m in chosen):
        print(f"{sum(not m.compiled for m in chosen)} mutants are left out: not for this CPU")
        chosen = [m for m in chosen if m.compiled]
    survivors = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(
            lambda m: run(m, options.source, options.timeout, options.kernels), chosen
        )
        for mutant, (caught, seconds) in zip(chosen, results, strict=True):
            survivors += caught is None
            verdict = "SURVIVED" if caught is None else f"caught by {caught}"
            print(f"{mutant.name:<28} {seconds:5.1f} s  {verdict}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return 1 if survivors or not chosen else 0


def why_no_kernels(package: Path) -> str:
    """Why tests of the kernels would skip, and mutants of what calls them survive; or ''."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        code = "from eyeline.impl import native; print(native.missing() or '')"
        return Copy.of(package, Path(folder)).ask(code)


if __name__ == "__main__":
    raise SystemExit(main())
