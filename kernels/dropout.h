// Dropout by counting: whether a weight is kept is a hash of (seed, batch, head, row, column), so
// that every implementation, and the backward pass, drops the same weights. The hash is that of
// src/eyeline/impl/_dropout.py: MurmurHash3's 32-bit finaliser plus a constant.
#pragma once
#include "block.h"

namespace EYELINE_NAMESPACE {

class Dropout {
 public:
  explicit Dropout(const eyeline_call& c) : call_(c), on_(c.dropout_threshold != 0) {
    const uint64_t most_hash = 0xffffffff;
    all_ = c.dropout_threshold > most_hash;
    threshold_ = static_cast<int>(ordered(static_cast<uint32_t>(least(c.dropout_threshold, most_hash))));
  }

  bool on() const { return on_; }
  // What a kept weight is multiplied by: one over the share that is kept.
  float scale() const { return !on_ ? 1.0f : all_ ? 0.0f : call_.dropout_scale; }

  // The part of the hash that a query's keys have in common, for each lane.
  void begin(const Block& b, int* hash) const {
    const uint32_t item = mix(call_.dropout_seed ^ static_cast<uint32_t>(b.batch));
    for (int lane = 0; lane < LANES; lane++) {
      uint32_t head = mix(item ^ static_cast<uint32_t>(b.head[lane]));
      hash[lane] = static_cast<int>(mix(head ^ static_cast<uint32_t>(b.row[lane])));
    }
  }

  // Which lanes drop their weight of key j.
  vmask dropped(vint hash, int j) const {
    vint x = plus(exclusive_or(hash, splat(j)), constant(ADDED));
    x = times(exclusive_or(x, shift_right<16>(x)), constant(FIRST));
    x = times(exclusive_or(x, shift_right<13>(x)), constant(SECOND));
    x = exclusive_or(x, shift_right<16>(x));
    return less(exclusive_or(x, constant(SIGN)), splat(threshold_));
  }

  // Set the dropped weights of keys [j, j + n) to 0.
  template <int Vecs>
  [[gnu::noinline]] void drop(const int* hash, int j, int n, float* weights) const {
    for (int v = 0; v < Vecs; v++) {
      const vint row = load(hash + v * WIDTH);
      for (int k = 0; k < n; k++) {
        float* at = weights + k * LANES + v * WIDTH;
        store(at, pick(dropped(row, j + k), splat(0.0f), load(at)));
      }
    }
  }

 private:
  static constexpr uint32_t ADDED = 0x9e3779b9, FIRST = 0x85ebca6b, SECOND = 0xc2b2ae35;
  static constexpr uint32_t SIGN = 0x80000000;

  static vint constant(uint32_t x) { return splat(static_cast<int>(x)); }
  // Unsigned numbers in the order of signed ones: vectors compare signed integers only.
  static uint32_t ordered(uint32_t x) { return x ^ SIGN; }
  static uint32_t mix(uint32_t x) {
    x += ADDED;
    x = (x ^ (x >> 16)) * FIRST;
    x = (x ^ (x >> 13)) * SECOND;
    return x ^ (x >> 16);
  }

  const eyeline_call& call_;
  bool on_, all_;
  int threshold_;
};

}  // namespace EYELINE_NAMESPACE
