// Keys and values of a line as the products of the gradients want them, packed once for all of its queries.
#pragma once
#include "backward_rows.h"
#include "microkernel.h"

namespace EYELINE_NAMESPACE {

template <class T, class U>
class LineKeys {
 public:
  using number = typename T::number;

  explicit LineKeys(const eyeline_call& c) : call_(c), width_(round_up(c.head_dim, U::PANEL)) {}

  void place(Cutter& cut) {
    const int64_t d = call_.head_dim, e = call_.value_dim, keys = round_up(call_.kv_len, KEYS);
    some_sum_ = cut.take(round_up(d, WIDTH));
    sums_ = cut.take(keys / KEYS * round_up(d, WIDTH));
    keys_ = cut.take(keys / KEYS * KEY_ROOM * units<U>(d));
    values_ = cut.take(keys / KEYS * KEY_ROOM * units<U>(e));
    columns_ = cut.take(units<U>(keys) * width_);
  }

  void read(int64_t batch, int64_t kv_head) {
    const eyeline_call& c = call_;
    const int64_t d = c.head_dim, e = c.value_dim;
    const auto at = [&](const void* p, const int64_t* stride) {
      return static_cast<const number*>(p) + batch * stride[0] + kv_head * stride[1];
    };
    const number *key = at(c.key, c.key_stride), *value = at(c.value, c.value_stride);
    for (int64_t j = 0; j < c.kv_len; j += KEYS) {
      const int64_t n = least<int64_t>(KEYS, c.kv_len - j), room = j / KEYS * KEY_ROOM;
      const number *k = key + j * c.key_stride[2], *v = value + j * c.value_stride[2];
      float* columns = columns_ + units<U>(j) * width_;
      add_up_rows<T>(k, c.key_stride[2], n, d, sum(j));
      if constexpr (TILED<U>) {
        pack_key_tiles(k, c.key_stride[2], n, d, keys_ + room * units<U>(d));
        pack_key_tiles(v, c.value_stride[2], n, e, values_ + room * units<U>(e));
        pack_value_tiles(k, c.key_stride[2], n, d, columns);
      } else if constexpr (U::TERMS > 1) {
        pack_unit_panels(k, c.key_stride[2], n, d, keys_ + room * units<U>(d));
        pack_unit_panels(v, c.value_stride[2], n, e, values_ + room * units<U>(e));
        pack_value_units(k, c.key_stride[2], n, d, units<U>(KEYS), columns);
      } else {
        pack_panels<T>(k, c.key_stride[2], n, d, keys_ + room * d);
        pack_panels<T>(v, c.value_stride[2], n, e, values_ + room * e);
        pack_values<T>(k, c.key_stride[2], n, d, KEYS, columns);
      }
    }
  }

  // Panels for scores and dP; `from` is a whole number of panels and units from the multiple of KEYS before it.
  const float* keys(int from) const { return keys_ + panel(from) * units<U>(call_.head_dim); }
  const float* values(int from) const { return values_ + panel(from) * units<U>(call_.value_dim); }

  // dQ += dS^T K of the keys [from, from + n), slopes in units along the keys.
  template <int Vecs>
  void add_times(const float* slopes, int from, int n, float* query_sum) const {
    vfloat one[Vecs];
    for (int v = 0; v < Vecs; v++) one[v] = splat(1.0f);
    const int j = from / KEYS * KEYS;
    output_keys<Vecs, U>(columns_ + units<U>(j) * width_ + (from - j) / U::TERMS * (TILED<U> ? width_ : ROWS),
                         units<U>(KEYS) * ROWS, ROWS, width_, slopes, units<U>(n), query_sum, one);
  }

  // Those of the keys [from, from + n) that every row of the block sees have a part in their mean.
  void count(Rows& s, int from, int n) {
    const int j = from / KEYS * KEYS;
    const int begin = most(from, s.block.full_begin), end = least(from + n, s.block.full_end);
    if (begin >= end || s.kind_of(j) != static_cast<int>(Tile::FULL)) return;
    const bool all = begin == j && end == least<int64_t>(j + KEYS, call_.kv_len);
    if (!all)
      add_up_rows<T>(key_row<T>(call_, s.block, begin), call_.key_stride[2], end - begin, call_.head_dim,
                     some_sum_);
    s.count_keys(end - begin, all ? sum(j) : some_sum_, call_.head_dim);
  }

 private:
  static int64_t panel(int from) { return from / KEYS * KEY_ROOM + from % KEYS; }
  float* sum(int64_t j) const { return sums_ + j / KEYS * round_up(call_.head_dim, WIDTH); }

  const eyeline_call& call_;
  int64_t width_;            // of `columns_`
  float *keys_, *values_;
  float* columns_;           // panels for dQ
  float *sums_, *some_sum_;  // of KEYS keys each; of fewer
};

}  // namespace EYELINE_NAMESPACE
