// The derivative of softmax, dS = P (dP - D) with D = sum over the keys of P dP, where P = e * norm
// and e is what a walk over the keys has left in a panel [keys][LANES].
//
// D is summed from the very numbers that it is subtracted from, so that a row with a single live key
// gets a gradient of exactly 0. With dropout, a dropped weight keeps its place in dS although it does
// not reach the output: e is stored with its sign turned, and dP as 0.
#pragma once
#include "dropout.h"
#include "sums.h"

namespace EYELINE_NAMESPACE {

// Whether all sums are finite.
template <int Vecs>
inline bool finite(const vfloat* sum) {
  vfloat probe = splat(0.0f);  // 0 * x is NaN for NaN and infinity
  for (int v = 0; v < Vecs; v++) probe = fma(sum[v], splat(0.0f), probe);
  return !any(negated(equal(probe, splat(0.0f))));
}

// delta = sum over the keys of e dP. False if it is not finite.
template <int Vecs>
[[gnu::noinline]] bool find_delta(const float* weights, const float* gradients, int keys,
                                  vfloat* delta) {
  vfloat sum[Vecs];
  for (int v = 0; v < Vecs; v++) sum[v] = splat(0.0f);
  for (int k = 0; k < keys; k++, weights += LANES, gradients += LANES)
#pragma GCC unroll 3
    for (int v = 0; v < Vecs; v++)
      sum[v] = fma(load(weights + v * WIDTH), load(gradients + v * WIDTH), sum[v]);
  for (int v = 0; v < Vecs; v++) delta[v] = sum[v];
  return finite<Vecs>(sum);
}

// rest += norm * sum over the keys of e (dP - D).
template <int Vecs, bool Dropped>
[[gnu::noinline]] void add_rest(const float* weights, const float* gradients, int keys,
                                const vfloat* norm, const vfloat* delta, vfloat* rest) {
  vfloat sum[Vecs];
  for (int v = 0; v < Vecs; v++) sum[v] = splat(0.0f);
  for (int k = 0; k < keys; k++, weights += LANES, gradients += LANES)
#pragma GCC unroll 3
    for (int v = 0; v < Vecs; v++) {
      vfloat e = load(weights + v * WIDTH);
      if (Dropped) e = vmax(e, splat(0.0f) - e);
      sum[v] = fma(e, load(gradients + v * WIDTH) - delta[v], sum[v]);
    }
  for (int v = 0; v < Vecs; v++) rest[v] = fma(sum[v], norm[v], rest[v]);
}

// Mark the weights of keys [j, j + keys) that are dropped, and take dP through dropout.
template <int Vecs>
[[gnu::noinline]] void drop_gradients(const Dropout& dropout, const int* hash, int j, int keys,
                                      float* weights, float* gradients) {
  const vfloat zero = splat(0.0f), scale = splat(dropout.scale());
  for (int v = 0; v < Vecs; v++) {
    const vint row = load(hash + v * WIDTH);
    for (int k = 0; k < keys; k++) {
      float* e = weights + k * LANES + v * WIDTH;
      float* g = gradients + k * LANES + v * WIDTH;
      const vmask dropped = dropout.dropped(row, j + k);
      store(e, pick(dropped, zero - load(e), load(e)));
      store(g, pick(dropped, zero, load(g) * scale));
    }
  }
}

// From e and dP: the weights that reached the output, and dS. Both get 0 in the rows that round the
// keys up. They may take the places of e and dP. Adds the sum of dS to `rest`, unless it is not finite:
// then false.
template <int Vecs, bool Dropped>
[[gnu::noinline]] bool differentiate(const float* weights, const float* gradients, int keys,
                                     const vfloat* norm, const vfloat* delta, float scale,
                                     float* applied, float* slopes, vfloat* rest) {
  const vfloat zero = splat(0.0f);
  vfloat sum[Vecs];
  for (int v = 0; v < Vecs; v++) sum[v] = zero;
  for (int k = 0; k < keys; k++) {
#pragma GCC unroll 3
    for (int v = 0; v < Vecs; v++) {
      const int64_t at = k * LANES + v * WIDTH;
      vfloat e = load(weights + at), p = e * norm[v];
      const vfloat gradient = load(gradients + at);
      if (Dropped) {
        store(applied + at, vmax(e, zero) * norm[v] * splat(scale));
        p = vmax(p, zero - p);
      } else {
        store(applied + at, p);
      }
      const vfloat slope = p * (gradient - delta[v]);
      sum[v] = sum[v] + slope;
      store(slopes + at, slope);
    }
  }
  for (int k = keys; k % WHOLE_KEYS; k++)
    for (int v = 0; v < Vecs; v++) {
      store(applied + k * LANES + v * WIDTH, zero);
      store(slopes + k * LANES + v * WIDTH, zero);
    }
  if (!finite<Vecs>(sum)) return false;
  for (int v = 0; v < Vecs; v++) rest[v] = rest[v] + sum[v];
  return true;
}

// dS += P (first - second log P), from e: what numbers of the rows add.
template <int Vecs>
[[gnu::noinline]] void add_row_slopes(const float* weights, int keys, const vfloat* norm,
                                      const vfloat* first, const vfloat* second, float* slopes) {
  for (int v = 0; v < Vecs; v++) {
    const vfloat log_norm = log_of(norm[v]), zero = splat(0.0f);
    for (int k = 0; k < keys; k++) {
      const int64_t at = k * LANES + v * WIDTH;
      vfloat e = load(weights + at);
      e = vmax(e, zero - e);  // a dropped one has its sign turned
      const vfloat log_p = log_of(e) + log_norm;
      const vfloat slope = e * norm[v] * fma(zero - second[v], log_p, first[v]);
      store(slopes + at, load(slopes + at) + slope);
    }
  }
}

#if defined(EYELINE_PAIRS)
// P and dS rounded to bfloat16 at once, without dropout: both in units along the queries [ROW_UNITS],
// dS also in units along the keys. Adds the sum of the latter to `rest`, unless it is not
// finite: then false.
template <int Vecs>
[[gnu::noinline]] bool differentiate_units(const float* weights, const float* gradients, int keys,
                                           const vfloat* norm, const vfloat* delta, float* applied,
                                           float* slopes, float* columns, vfloat* rest) {
  vfloat sum[Vecs];
  for (int v = 0; v < Vecs; v++) sum[v] = splat(0.0f);
  const auto row = [&](int64_t k, int v) {
    vfloat p = splat(0.0f), slope = p;
    if (k < keys) {
      const int64_t at = k * LANES + v * WIDTH;
      p = load(weights + at) * norm[v];
      slope = p * (load(gradients + at) - delta[v]);
    }
    store_halves(applied + k * ROW_UNITS + v * WIDTH / 2, p);
    store_halves(slopes + k * ROW_UNITS + v * WIDTH / 2, slope);
    return slope;
  };
  for (int64_t k = 0; k < round_up(keys, WHOLE_KEYS); k += 2)
#pragma GCC unroll 3
    for (int v = 0; v < Vecs; v++) {
      const vfloat low = row(k, v), high = row(k + 1, v);
      const vint pair = to_pairs(low, high);
      sum[v] = add_pair(pair, sum[v]);
      store(columns + k / 2 * LANES + v * WIDTH, as_float(pair));
    }
  if (!finite<Vecs>(sum)) return false;
  for (int v = 0; v < Vecs; v++) rest[v] = rest[v] + sum[v];
  return true;
}
#else
// Only named, where a build has no pairs.
template <int Vecs>
bool differentiate_units(const float* weights, const float* gradients, int keys, const vfloat* norm,
                         const vfloat* delta, float* applied, float* slopes, float* columns, vfloat* rest);
#endif

}  // namespace EYELINE_NAMESPACE
