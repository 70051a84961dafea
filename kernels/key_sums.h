// Sums of the gradients of a head's keys and values, in float whatever the caller's numbers are.
#pragma once
#include "block.h"
#include "products.h"

namespace EYELINE_NAMESPACE {

// [kv_len + WHOLE_KEYS][key_width] of the keys, then [kv_len + WHOLE_KEYS][value_width] of the values; the
// widths are whole vectors, the last rows give the products room to round up.
struct KeySums {
  int64_t key_width, value_width, value_at, size;

  explicit KeySums(const eyeline_call& c)
      : key_width(round_up(c.head_dim, WIDTH)), value_width(round_up(c.value_dim, WIDTH)),
        value_at((c.kv_len + WHOLE_KEYS) * key_width), size(value_at + (c.kv_len + WHOLE_KEYS) * value_width) {}

  float* keys(float* sums) const { return sums; }
  float* values(float* sums) const { return sums + value_at; }

  // Add up `count` sums that lie one after the other, in order, times scale where they are of keys, and
  // round them to the caller's gradients of the keys [begin, end). False if any is not finite.
  template <class T>
  bool hand_over(const eyeline_backward& g, const float* sums, int64_t count, int64_t batch,
                 int64_t kv_head, int64_t begin, int64_t end) const {
    const auto to = [&](void* p, const int64_t* stride) {
      return static_cast<typename T::number*>(p) + batch * stride[0] + kv_head * stride[1];
    };
    vfloat probe = splat(0.0f);  // 0 * x is NaN for NaN and infinity
    for (int64_t j = begin; j < end; j++) {
      add_row<T>(sums + j * key_width, count, g.call.head_dim, g.call.scale,
                 to(g.key_gradient, g.key_gradient_stride) + j * g.key_gradient_stride[2], &probe);
      add_row<T>(sums + value_at + j * value_width, count, g.call.value_dim, 1,
                 to(g.value_gradient, g.value_gradient_stride) + j * g.value_gradient_stride[2], &probe);
    }
    return !any(negated(equal(probe, splat(0.0f))));
  }

 private:
  template <class T>
  void add_row(const float* row, int64_t count, int64_t width, float factor, typename T::number* to,
               vfloat* probe) const {
    for (int64_t d = 0; d < width; d += WIDTH) {
      vfloat x = load(row + d);
      for (int64_t i = 1; i < count; i++) x = x + load(row + i * size + d);
      x = x * splat(factor);
      *probe = fma(x, splat(0.0f), *probe);
      store_part<T>(to + d, x, width - d);
    }
  }
};

}  // namespace EYELINE_NAMESPACE
