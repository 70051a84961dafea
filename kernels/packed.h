// A few keys and values as the products read them.
#pragma once
#include "microkernel.h"
#include "scratch.h"

namespace EYELINE_NAMESPACE {

template <class T, class U>
class Packed {
 public:
  // Where keys may be begun with.
  static constexpr int WHOLE = most(U::DEPTH, PACK_KEYS ? ROWS : 1);
  using number = typename T::number;
  using key_number = typename U::number;

  // For up to `most` keys, a whole number of units, that `blocks` blocks of queries read. `width` is that of
  // the values rounded up to PANEL; 0 if they are not wanted.
  Packed(const eyeline_call& c, int most, int64_t width, int64_t blocks)
      : call_(c), panel_(most / U::TERMS * ROWS), width_(width), most_(most),
        panels_(PACK_KEYS && !PAIRED && blocks >= WORTH_PANELS),
        keys_in_place_(!panels_ && !TILED<U> && sizeof(number) == sizeof(key_number) && c.head_dim % U::TERMS == 0),
        values_in_place_(reads_values_in_place(c)) {}

  // Whether values are read as they lie in memory. Rows far apart can fall into the same few places of a cache;
  // small blocks read them so often that they feel it, by a fifth where rows are 16 KiB apart.
  static bool reads_values_in_place(const eyeline_call& c) {
    return !PAIRED && sizeof(number) == sizeof(float) && c.value_dim % ROWS == 0 &&
           (!SMALL_BLOCKS || c.value_stride[2] <= 2 * c.value_dim);
  }

  void place(Cutter& cut) {
    if (!values_in_place_) values_ = cut.take(most_ / U::TERMS * width_);
    if (!keys_in_place_) keys_ = reinterpret_cast<key_number*>(cut.take(most_ * key_width()));
  }

  // Read keys [j, j + n) of the head that the block reads.
  void read_keys(const Block& b, int j, int n) {
    first_ = j;
    if (keys_in_place_) return;
    const number* key = key_row<T>(call_, b, j);
    const int64_t stride = call_.key_stride[2], width = call_.head_dim;
    if constexpr (TILED<U>)
      pack_key_tiles(key, stride, n, width, keys_);
    else if constexpr (PAIRED)
      pack_unit_rows(key, stride, n, width, keys_);
    else if (panels_)
      pack_panels<T>(key, stride, n, width, keys_);
    else
      pack_rows<T>(key, stride, n, width, keys_);
  }
  void read_values(const Block& b, int j, int n) {
    first_ = j;
    if (!width_) return;
    const number* value = value_row<T>(call_, b, j);
    const int64_t stride = call_.value_stride[2], width = call_.value_dim;
    if (values_in_place_) {
      first_value_ = reinterpret_cast<const float*>(value);
      return;
    }
    if constexpr (TILED<U>)
      pack_value_tiles(value, stride, n, width, values_);
    else if constexpr (PAIRED)
      pack_value_units(value, stride, n, width, panel_ / ROWS, values_);
    else
      pack_values<T>(value, stride, n, width, panel_ / ROWS, values_);
  }

  // Scores of keys [j, j + n) of those that were read, j a multiple of WHOLE from the first (microkernel.h).
  template <int Vecs>
  void score(const Block& b, int j, int n, const float* query, float rest, float* scores, vfloat* top,
             float* maxima = nullptr) const {
    const key_number* key = keys_in_place_ ? reinterpret_cast<const key_number*>(key_row<T>(call_, b, j))
                                           : keys_ + (j - first_) * key_width();
    if constexpr (PACK_KEYS && !PAIRED)
      if (panels_) return score_panels<Vecs, U>(key, n, query, call_.head_dim, rest, scores, top, maxima);
    score_keys<Vecs, U>(key, keys_in_place_ ? call_.key_stride[2] : key_width(), n, query, call_.head_dim, rest,
                        scores, top, maxima);
  }

  // Values from key j on, a whole number of units (tiles) from the first; units from one panel to the next,
  // and inside a panel.
  const float* value(int j) const {
    if (values_in_place_) return first_value_ + (j - first_) * stride();
    return values_ + (j - first_) / U::TERMS * (TILED<U> ? width_ : ROWS);
  }
  int64_t panel() const { return values_in_place_ ? ROWS : panel_; }
  int64_t stride() const { return values_in_place_ ? call_.value_stride[2] : ROWS; }

 private:
  static constexpr bool PAIRED = U::TERMS > 1;
  static constexpr int64_t WORTH_PANELS = 4;

  int64_t key_width() const {
    const int64_t whole = units<U>(call_.head_dim);
    return TILED<U> ? whole : whole * U::TERMS;
  }

  const eyeline_call& call_;
  int64_t panel_, width_;
  int most_, first_ = 0;
  bool panels_, keys_in_place_, values_in_place_;  // in place: as they lie in memory
  float* values_ = nullptr;
  const float* first_value_ = nullptr;
  key_number* keys_ = nullptr;
};

}  // namespace EYELINE_NAMESPACE
