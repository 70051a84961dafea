// The end of a block: sinks, dead rows, and the division by the sum.
#pragma once
#include "block.h"
#include "exponential.h"

namespace EYELINE_NAMESPACE {

// A row whose every key is masked has the maximum -inf; subtracting 0 instead keeps NaN away.
inline vfloat finite_or_zero(vfloat top) {
  return pick(equal(top, splat(-INFINITE)), splat(0.0f), top);
}

// Turn (maximum, sum) of the live keys into those with the sink, store them, and find what each
// lane must be multiplied by: 1 / sum, or 0 if it saw nothing. False if a sum is not finite.
inline bool normalizer(const eyeline_call& c, const Block& b, vfloat* top, vfloat* total,
                       vfloat* factor) {
  const vfloat nothing = splat(-INFINITE), zero = splat(0.0f);
  bool fine = true;
  for (int v = 0; v < b.vecs; v++) {
    vmask dead = equal(top[v], nothing);
    vfloat keep = splat(1.0f);
    if (c.sinks) {
      alignas(64) float logit[WIDTH];
      for (int i = 0; i < WIDTH; i++) logit[i] = c.sinks[b.head[v * WIDTH + i]];
      vfloat sink = load(logit), highest = vmax(top[v], sink);
      keep = exp_or_zero(top[v] - highest);
      total[v] = fma(total[v], keep, exp_or_zero(sink - highest));
      top[v] = pick(dead, nothing, highest);
    }
    total[v] = pick(dead, zero, total[v]);
    factor[v] = pick(dead, zero, keep / total[v]);

    int lanes = least(WIDTH, b.count - v * WIDTH);
    alignas(64) float tops[WIDTH], totals[WIDTH];
    store(tops, top[v]);
    store(totals, total[v]);
    for (int i = 0; i < lanes; i++) {
      fine &= totals[i] < INFINITE;
      int64_t at = b.statistic(c, v * WIDTH + i);
      if (c.row_max) c.row_max[at] = tops[i];
      if (c.row_sum) c.row_sum[at] = totals[i];
    }
  }
  return fine;
}

// Hand over the output, times scale. If the weights that it was made of were rounded, `rounded` is their sum: what the
// unrounded output is divided by, so that it is a mean of the values, whatever they have in common.
template <class T>
inline bool finish(const eyeline_call& c, const Block& b, vfloat* top, vfloat* total, const vfloat* rounded,
                   const float* output, float scale) {
  vfloat factor[VECS], share[VECS];
  for (int v = 0; v < b.vecs; v++)
    share[v] = rounded ? pick(equal(rounded[v], splat(0.0f)), splat(1.0f), total[v] / rounded[v]) : splat(1.0f);
  if (!normalizer(c, b, top, total, factor)) return false;
  if (!c.output) return true;
  for (int v = 0; v < b.vecs; v++) factor[v] = factor[v] * splat(scale);
  if (c.unrounded_output) {
    float* row[LANES];
    for (int lane = 0; lane < b.count; lane++)
      row[lane] = c.unrounded_output + b.statistic(c, lane) * c.value_dim;
    for (int v = 0; v < b.vecs; v++) share[v] = share[v] * factor[v];
    lanes_to_rows<Float32>(output, share, b.count, c.value_dim, row);
  }
  typename T::number* row[LANES];
  for (int lane = 0; lane < b.count; lane++) row[lane] = output_row<T>(c, b, lane);
  return lanes_to_rows<T>(output, factor, b.count, c.value_dim, row);
}

}  // namespace EYELINE_NAMESPACE
