// The gradients' work, shared out. A task is every n-th round of a line: within a line the sums over
// the queries are kept apart and added up in order at the end. The cut depends on the number of
// threads, never on which of them is faster (contract N9).
#pragma once
#include "collect.h"
#include "key_sums.h"
#include "scratch.h"

namespace EYELINE_NAMESPACE {

class Shares {
 public:
  Shares(const eyeline_backward& g, const Line& line, int64_t rounds, int threads)
      : all_(g), line_(line), sums_(g.call) {
    const eyeline_call& c = g.call;
    // lines that add to the same numbers of the bias follow each other in one task
    const int64_t* stride = g.bias_gradient_stride;
    one_batch_ = g.bias_gradient && !stride[0];
    one_head_ = g.bias_gradient && !stride[1];
    groups_ = (one_batch_ ? 1 : c.batch) * (one_head_ ? 1 : line.heads);
    const bool one_row = g.bias_gradient && !stride[2];
    const int64_t wanted = threads == 1 || one_row ? 1 : ceil_div(4 * threads, groups_);
    parts_ = most<int64_t>(1, least(rounds, wanted));

    diagonals_ = g.diagonal_gradient ? c.q_len + c.kv_len - 1 : 0;
    const int64_t sinks = g.sinks_gradient ? 1 : 0;
    side_size_ = round_up(line.fold * (diagonals_ + sinks), 16);
    const int64_t side = line.count * parts_ * side_size_;
    fine_ = (!side || (sides_ = zeros(side))) &&
            (parts_ == 1 || (memory_ = aligned_floats(line.count * parts_ * sums_.size)));
  }
  ~Shares() {
    free(sides_);
    free(memory_);
  }
  Shares(const Shares&) = delete;

  bool fine() const { return fine_; }
  int64_t count() const { return groups_ * parts_; }
  int64_t parts() const { return parts_; }
  bool apart() const { return parts_ > 1; }
  int64_t part(int64_t task) const { return task / groups_; }

  // f(line, sums or NULL, side) for each line of a task, until one is false.
  template <class F>
  bool each_line(int64_t task, F f) const {
    const int64_t group = task % groups_, n = line_.count / groups_;
    const int64_t first = one_head_ ? group * line_.heads : group;
    const int64_t step = one_batch_ && !one_head_ ? line_.heads : 1;
    for (int64_t i = 0; i < n; i++) {
      const int64_t index = first + i * step, place = index * parts_ + part(task);
      if (!f(index, apart() ? memory_ + place * sums_.size : nullptr, side(place))) return false;
    }
    return true;
  }

  // Hand over a stretch of a line's sums, for the `i`-th of `stretches()`.
  int64_t stretches() const { return apart() ? line_.count * per_line() : 0; }
  template <class T>
  bool merge(int64_t i) const {
    const int64_t index = i / per_line(), begin = i % per_line() * STRETCH;
    return sums_.hand_over<T>(all_, memory_ + index * parts_ * sums_.size, parts_, index / line_.heads,
                              index % line_.heads, begin, least(begin + STRETCH, all_.call.kv_len));
  }

  // What is one number per diagonal or head.
  void merge_sides() const {
    for (int64_t place = 0; sides_ && place < line_.count * parts_; place++) {
      const int64_t head = place / parts_ % line_.heads * line_.fold;
      const Side from = side(place);
      for (int64_t i = 0; i < line_.fold * diagonals_; i++)
        all_.diagonal_gradient[head * diagonals_ + i] += from.diagonal[i];
      for (int64_t h = 0; from.sinks && h < line_.fold; h++)
        all_.sinks_gradient[head + h] += from.sinks[h];
    }
  }

 private:
  static constexpr int64_t STRETCH = 128;  // keys

  int64_t per_line() const { return ceil_div(all_.call.kv_len, STRETCH); }
  Side side(int64_t place) const {
    float* at = sides_ + place * side_size_;
    return {diagonals_ ? at : nullptr, all_.sinks_gradient ? at + line_.fold * diagonals_ : nullptr};
  }
  static float* zeros(int64_t n) {
    return static_cast<float*>(calloc(static_cast<size_t>(n), sizeof(float)));
  }

  const eyeline_backward& all_;
  const Line& line_;
  KeySums sums_;
  bool one_batch_, one_head_, fine_;
  int64_t groups_, parts_, diagonals_, side_size_;
  float *sides_ = nullptr, *memory_ = nullptr;
};

}  // namespace EYELINE_NAMESPACE
