// Gradients of what is added to the scores: an explicit bias, one number per diagonal, sinks.
#pragma once
#include "block.h"
#include "exponential.h"
#include "rules.h"

namespace EYELINE_NAMESPACE {

// Where a task adds up what other tasks add to as well; merged in a fixed order (contract N9).
struct Side {
  float* diagonal;  // [heads of the line][q_len + kv_len - 1], NULL if not wanted
  float* sinks;     // [heads of the line], NULL if not wanted
};

class Collect {
 public:
  Collect(const eyeline_backward& g, const Line& line) : all_(g), call_(g.call), line_(line) {}

  bool on() const { return all_.bias_gradient || all_.diagonal_gradient; }

  // Add dS of keys [j, j + n). `turned` has room for [LANES][KEYS].
  void add(const Block& b, int j, int n, const float* slopes, float* turned, const Side& side) const {
    for (int first = 0; first < b.count; first += WIDTH) {
      for (int k = 0; k < n; k += WIDTH) {
        vfloat x[WIDTH];
        for (int r = 0; r < WIDTH; r++)
          x[r] = k + r < n ? load(slopes + (k + r) * LANES + first) : splat(0.0f);
        transpose(x);
        for (int r = 0; r < WIDTH; r++) store(turned + (first + r) * KEYS + k, x[r]);
      }
    }
    if (all_.bias_gradient)
      for (int lane = 0; lane < b.count; lane++) add_bias(b, lane, j, n, turned + lane * KEYS);
    if (side.diagonal)
      for (int64_t h = 0; h < line_.fold; h++) add_diagonals(b, h, j, n, turned, side.diagonal);
  }

  // Add -p D for each row, with p the weight of the sink.
  void add_sinks(const Block& b, const vfloat* top, const vfloat* total, const vfloat* delta,
                 const Side& side) const {
    alignas(64) float share[LANES];
    for (int v = 0; v < b.vecs; v++) {
      for (int i = 0; i < WIDTH; i++) share[i] = call_.sinks[b.head[v * WIDTH + i]];
      const vmask dead = equal(top[v], splat(-INFINITE));
      const vfloat p = exp_or_zero(load(share) - pick(dead, splat(0.0f), top[v])) / total[v];
      store(share, pick(dead, splat(0.0f), p * delta[v]));
      for (int i = 0; i < WIDTH && v * WIDTH + i < b.count; i++)
        side.sinks[b.head[v * WIDTH + i] % line_.fold] -= share[i];
    }
  }

 private:
  void add_bias(const Block& b, int lane, int j, int n, const float* row) const {
    const int64_t* s = all_.bias_gradient_stride;
    float* to =
        all_.bias_gradient + b.batch * s[0] + b.head[lane] * s[1] + b.row[lane] * s[2] + j * s[3];
    if (s[3] == 1) return add_row(row, n, to);
    float sum = 0;
    for (int k = 0; k < n; k++)
      if (s[3]) to[k * s[3]] += row[k];
      else sum += row[k];
    if (!s[3]) *to += sum;
  }

  // The diagonals that a tile crosses are summed by themselves first: a sum of short sums rounds less.
  void add_diagonals(const Block& b, int64_t h, int j, int n, const float* turned,
                     float* diagonal) const {
    float sum[LANES + KEYS + WIDTH] = {};
    const int64_t last = b.row[b.count - 1];
    for (int lane = 0; lane < b.count; lane++)
      if (b.head[lane] % line_.fold == h) {
        float* to = sum + (last - b.row[lane]);
        for (int k = 0; k < n; k += WIDTH)
          store(to + k, load(to + k) + load(turned + lane * KEYS + k));
      }
    const int64_t length = call_.q_len + call_.kv_len - 1;
    const int crossed = n + static_cast<int>(last - b.row[0]);
    add_row(sum, crossed, diagonal + h * length + j - last + call_.q_len - 1);
  }

  static void add_row(const float* row, int n, float* to) {
    for (int k = 0; k < n; k += WIDTH)
      store_part<Float32>(to + k, load_part<Float32>(to + k, n - k) + load(row + k), n - k);
  }

  const eyeline_backward& all_;
  const eyeline_call& call_;
  const Line& line_;
};

}  // namespace EYELINE_NAMESPACE
