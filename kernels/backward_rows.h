// What the backward pass keeps of a block of queries while it walks over the keys.
#pragma once
#include <string.h>

#include "derivative.h"
#include "online.h"
#include "scratch.h"

namespace EYELINE_NAMESPACE {

// KEYS rounded up.
constexpr int KEY_ROOM = (KEYS + WHOLE_KEYS - 1) / WHOLE_KEYS * WHOLE_KEYS;

// What a walk over the keys leaves behind of a block: [keys][LANES] each.
struct Panels {
  float *weights, *gradients;  // e, dP
  float* cap_slopes;           // a third one with softcap, else NULL

  void place(Cutter& cut, const eyeline_call& c) {
    const int64_t size = (round_up(c.kv_len, KEYS) + WHOLE_KEYS) * LANES;
    weights = cut.take(size);
    gradients = cut.take(size);
    cap_slopes = c.softcap != 0 ? cut.take(size) : nullptr;
  }
};

struct Rows : Online {
  Block block;
  bool recalled;                      // whether maximum, sum and D are those that the forward pass left,
  bool peaked;                        // but for D of some rows, `own_delta`
  int first_key;                      // the panels begin with it, a multiple of KEYS
  float *query, *gradient;            // Q, dO: [width][LANES], in units along the width
  float *query_rows, *gradient_rows;  // the same as [LANES][stride], in units along the lanes
  float* query_sum;                   // dQ: [head_dim, rounded up][LANES]
  Panels panels;
  float* parts;                       // [keys / KEYS][3][LANES], see below
  int* kind;                          // [keys / KEYS]: Tile
  vfloat delta[VECS], factor[VECS];   // D; what e must be multiplied by when the maximum is the last one
  vfloat rest[VECS];                  // the sum of dS: 0 but for what was rounded
  vfloat known_top[VECS], known_total[VECS], own_delta[VECS];
  vfloat first[VECS], second[VECS];   // what log-sum-exp and entropy add to dS (derivative.h)
  vfloat sink_delta[VECS];            // -dsink / s, with s the weight of the sink
  float* key_sum;                     // [head_dim, rounded up], of so many keys that every row sees:
  float counted;
  alignas(64) int hash[LANES];        // dropout's

  void place(Cutter& cut, const eyeline_call& c) {
    const int64_t d = c.head_dim, e = c.value_dim, keys = round_up(c.kv_len, KEYS);
    query = cut.take(round_up(d, WHOLE_KEYS) * LANES);
    gradient = cut.take(round_up(e, WHOLE_KEYS) * LANES);
    query_rows = cut.take(row_stride(d) * LANES);
    gradient_rows = cut.take(row_stride(e) * LANES);
    query_sum = cut.take(sum_rows(d) * LANES);
    key_sum = cut.take(round_up(d, WIDTH));
    parts = cut.take(keys / KEYS * 3 * LANES);
    kind = reinterpret_cast<int*>(cut.take(keys / KEYS));
  }

  // An odd number of vectors: rows a power of two apart would throw each other out of the cache.
  static int64_t row_stride(int64_t width) { return (ceil_div(width, WIDTH) | 1) * WIDTH; }

  static int64_t sum_rows(int64_t width) { return round_up(width, 2 * ROWS); }

  // Read the block's queries and the gradients of its outputs.
  template <class T, class U>
  void read(const eyeline_backward& g, const Dropout& dropout) {
    const eyeline_call& c = g.call;
    const int64_t* stride = g.output_gradient_stride;
    const typename T::number *q[LANES], *out[LANES];
    for (int lane = 0; lane < block.count; lane++) {
      q[lane] = query_row<T>(c, block, lane);
      out[lane] = static_cast<const typename T::number*>(g.output_gradient) +
                  block.batch * stride[0] + block.head[lane] * stride[1] + block.row[lane] * stride[2];
    }
    pack_lanes<T, U>(q, block.count, c.head_dim, Scale(c.scale).power, query);
    pack_lanes<T, U>(out, block.count, c.value_dim, 1, gradient);
    if constexpr (U::TERMS == 1) {
      gather_rows<T>(q, block.count, c.head_dim, 1, row_stride(c.head_dim), query_rows);
      gather_rows<T>(out, block.count, c.value_dim, 1, row_stride(c.value_dim), gradient_rows);
    } else {
      const int64_t filled = round_up(ceil_div(block.count, 2), U::DEPTH / U::TERMS);
      gather_unit_rows(q, block.count, c.head_dim, row_stride(c.head_dim), filled, query_rows);
      gather_unit_rows(out, block.count, c.value_dim, row_stride(c.value_dim), filled, gradient_rows);
    }
    memset(query_sum, 0, static_cast<size_t>(sum_rows(c.head_dim)) * LANES * sizeof(float));
    if (dropout.on()) dropout.begin(block, hash);
    for (vfloat& x : rest) x = splat(0.0f);
    recalled = peaked = false;
    counted = 0;
    memset(key_sum, 0, static_cast<size_t>(round_up(c.head_dim, WIDTH)) * sizeof(float));
    begin();
  }

  // Maximum, sum and D as the forward pass left them. If a row has nearly all of its weight on one key it is
  // `peaked`: its gradient is what is left of dP - D when nearly all of it is gone, and wants a D made of the same dP.
  // (Row by row: what another row of the block sees must change no bit, N2.)
  template <class T>
  void recall(const eyeline_backward& g) {
    constexpr float PEAKED = 0.99f;
    alignas(64) float tops[LANES] = {}, totals[LANES] = {}, factors[LANES] = {}, own[LANES] = {};
    recalled = true;
    for (int lane = 0; lane < block.count; lane++) {
      const int64_t at = block.statistic(g.call, lane);
      tops[lane] = g.forward_max[at];
      const float sum = totals[lane] = g.forward_sum[at];
      factors[lane] = sum == 0 ? 0 : 1 / sum;
      own[lane] = sum > 0 && 1 > sum * PEAKED ? 1 : 0;  // e of the largest score is 1
      peaked |= own[lane] > 0;
    }
    for (int v = 0; v < block.vecs; v++) {
      top[v] = known_top[v] = load(tops + v * WIDTH);
      total[v] = known_total[v] = load(totals + v * WIDTH);
      factor[v] = load(factors + v * WIDTH);
      own_delta[v] = load(own + v * WIDTH);
      vfloat x[WIDTH];
      for (int r = 0; r < WIDTH; r++) x[r] = output_product<T>(g, v * WIDTH + r);
      transpose(x);
      delta[v] = x[0];
      for (int r = 1; r < WIDTH; r++) delta[v] = delta[v] + x[r];
    }
  }

  // A row's dO * O, added up to one vector.
  template <class T>
  vfloat output_product(const eyeline_backward& g, int lane) const {
    vfloat sum = splat(0.0f);
    if (lane >= block.count) return sum;
    const auto at = [&](const int64_t* stride) {
      return block.batch * stride[0] + block.head[lane] * stride[1] + block.row[lane] * stride[2];
    };
    const auto* gradient =
        static_cast<const typename T::number*>(g.output_gradient) + at(g.output_gradient_stride);
    const float* output = g.forward_output + at(g.forward_output_stride);
    for (int64_t d = 0; d < g.call.value_dim; d += WIDTH) {
      const int64_t left = g.call.value_dim - d;
      sum = fma(load_part<T>(gradient + d, left), load_part<Float32>(output + d, left), sum);
    }
    return sum;
  }

  // The part of the keys from j on that the block sees, its begin a whole number of panels and units from j.
  bool part(int j, int* from, int* n) const {
    *from = j + most(0, block.begin - j) / WHOLE_KEYS * WHOLE_KEYS;
    *n = least(j + KEYS, block.end) - *from;
    return *n > 0;
  }
  float* weights(int j) const { return panels.weights + at(j); }
  float* gradients(int j) const { return panels.gradients + at(j); }
  float* cap_slopes(int j) const { return panels.cap_slopes ? panels.cap_slopes + at(j) : nullptr; }

  // Of KEYS keys: the maximum that e was made with, the sums of e and of e dP; when all are known,
  // what e must be multiplied by.
  int& kind_of(int j) const { return kind[(j - first_key) / KEYS]; }
  bool empty(int j) const { return kind_of(j) == static_cast<int>(Tile::EMPTY); }
  float* top_of(int j) const { return parts + (j - first_key) / KEYS * 3 * LANES; }
  float* shrink_of(int j) const { return top_of(j); }
  float* total_of(int j) const { return top_of(j) + LANES; }
  float* delta_of(int j) const { return top_of(j) + 2 * LANES; }

  // Where the rows are recalled: what e of the keys from j on must be multiplied by, right after they were
  // weighed. Scores that the forward pass summed in another order (decode.h) may lie a little above its maximum.
  void adjust(int j) const {
    for (int v = 0; v < block.vecs; v++) {
      const vfloat above = finite_or_zero(top[v]) - finite_or_zero(known_top[v]);
      // unused lanes may be far above
      store(shrink_of(j) + v * WIDTH, exp_or_zero(vmin(above, splat(80.0f))));
    }
  }

  // The sums of all keys from those of KEYS each. They shrink by the same factors as e: otherwise the
  // weights of a row would not add up to exactly what D is divided by. False if not finite.
  bool conclude(const eyeline_call& c) {
    vfloat sum[VECS];
    for (int v = 0; v < block.vecs; v++) {
      const vfloat highest = finite_or_zero(top[v]);
      total[v] = sum[v] = splat(0.0f);
      for (int j = block.begin / KEYS * KEYS; j < block.end; j += KEYS) {
        if (empty(j)) continue;
        const vfloat shrink =
            recalled ? load(shrink_of(j) + v * WIDTH) : exp_or_zero(load(top_of(j) + v * WIDTH) - highest);
        total[v] = fma(shrink, load(total_of(j) + v * WIDTH), total[v]);
        sum[v] = fma(shrink, load(delta_of(j) + v * WIDTH), sum[v]);
        store(shrink_of(j) + v * WIDTH, shrink);
      }
    }
    if (!recalled && !normalizer(c, block, top, total, factor)) return false;
    for (int v = 0; v < block.vecs; v++) {
      const vfloat found = sum[v] * factor[v];
      if (!recalled) {
        delta[v] = found;
        continue;
      }
      top[v] = known_top[v];
      total[v] = known_total[v];
      delta[v] = pick(own(v), found, delta[v]);
    }
    return true;
  }

  // What the rows' own numbers add. With H the entropy and s the weight of the sink, if there is one:
  //
  //   dlse / dS_j = P_j      dH / dS_j = -P_j (log P_j + H + s)
  //   dlse / dsink = s       dH / dsink = s (1 - s - H)
  void read_numbers(const eyeline_backward& g) {
    alignas(64) float lse[LANES] = {}, share[LANES] = {}, entropy[LANES] = {}, logit[LANES] = {};
    for (int lane = 0; lane < block.count; lane++) {
      const int64_t at = block.statistic(g.call, lane);
      if (g.logsumexp_gradient) lse[lane] = g.logsumexp_gradient[at];
      if (g.entropy_gradient) share[lane] = g.entropy_gradient[at], entropy[lane] = g.entropy[at];
      if (g.call.sinks) logit[lane] = g.call.sinks[block.head[lane]];
    }
    for (int v = 0; v < block.vecs; v++) {
      const int at = v * WIDTH;
      const vfloat zero = splat(0.0f), dlse = load(lse + at), dh = load(share + at), h = load(entropy + at);
      const vmask dead = equal(top[v], splat(-INFINITE));
      vfloat sink = zero;
      if (g.call.sinks) sink = exp_or_zero(load(logit + at) - finite_or_zero(top[v])) / total[v];
      second[v] = pick(dead, zero, dh);
      first[v] = pick(dead, zero, dlse - dh * (h + sink));
      sink_delta[v] = delta[v] - pick(dead, zero, fma(dh, splat(1.0f) - sink - h, dlse));
    }
  }

  // p (dP - D) sums to 0 but for what rounding made of D: take that out of it. In a row with peaked
  // weights it would be most of the gradient. (With a sink p does not add up to 1: D stays.)
  template <bool Dropped>
  void refine() {
    vfloat rest[VECS];
    for (int v = 0; v < VECS; v++) rest[v] = splat(0.0f);
    for (int j = block.begin / KEYS * KEYS; j < block.end; j += KEYS)
      with_vecs(block.vecs, [&](auto count) {
        constexpr int Vecs = decltype(count)::value;
        int from, n;
        if (!part(j, &from, &n) || empty(j)) return true;
        vfloat norm[Vecs];
        for (int v = 0; v < Vecs; v++) norm[v] = load(shrink_of(j) + v * WIDTH) * factor[v];
        add_rest<Vecs, Dropped>(weights(from), gradients(from), n, norm, delta, rest);
        return true;
      });
    for (int v = 0; v < block.vecs; v++)
      delta[v] = delta[v] + (recalled ? pick(own(v), rest[v], splat(0.0f)) : rest[v]);
  }

  // Count keys in that every row of the block sees, whose sum is given.
  void count_keys(int keys, const float* sum, int64_t head_dim) {
    counted += static_cast<float>(keys);
    for (int64_t d = 0; d < head_dim; d += WIDTH) store(key_sum + d, load(key_sum + d) + load(sum + d));
  }

  // dS of a row adds up to 0, so that moving the keys that it sees by one vector changes no dQ. Had they been
  // moved to have their mean at 0, what they have in common would not have been multiplied by what was rounded
  // (of D, and of dS itself in bfloat16): take that back. A key that some row does not see has no part in it (N2).
  void center(int64_t head_dim) {
    if (counted == 0) return;
    for (int64_t d = 0; d < head_dim; d++)
      for (int v = 0; v < block.vecs; v++) {
        float* at = query_sum + d * LANES + v * WIDTH;
        store(at, fma(splat(-key_sum[d] / counted), rest[v], load(at)));
      }
  }

  // Hand over dQ. False if it is not finite.
  template <class T>
  bool write(const eyeline_backward& g) const {
    vfloat scale[VECS];
    for (int v = 0; v < VECS; v++) scale[v] = splat(g.call.scale);
    typename T::number* row[LANES];
    const int64_t* stride = g.query_gradient_stride;
    for (int lane = 0; lane < block.count; lane++)
      row[lane] = static_cast<typename T::number*>(g.query_gradient) + block.batch * stride[0] +
                  block.head[lane] * stride[1] + block.row[lane] * stride[2];
    return lanes_to_rows<T>(query_sum, scale, block.count, g.call.head_dim, row);
  }

 private:
  vmask own(int v) const { return less(splat(0.0f), own_delta[v]); }
  int64_t at(int j) const { return static_cast<int64_t>(j - first_key) * LANES; }
};

}  // namespace EYELINE_NAMESPACE
