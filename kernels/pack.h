// Moving numbers between the caller's layout and ours, converting to float on the way.
#pragma once
#include <string.h>

#include "simd.h"

namespace EYELINE_NAMESPACE {

struct Float32 {
  using number = float;
  static constexpr bool PAIRED = false;  // whether an instruction multiplies pairs of them
  static constexpr bool APART = false;   // whether two vectors at a time come as even and odd numbers
  static vfloat load(const float* p) { return EYELINE_NAMESPACE::load(p); }
  static void store(float* p, vfloat x) { EYELINE_NAMESPACE::store(p, x); }
};
struct BFloat16 {
  using number = uint16_t;
  static constexpr bool PAIRED = true;
  static vfloat load(const uint16_t* p) { return load_bf16(p); }
  static void store(uint16_t* p, vfloat x) { store_bf16(p, x); }
#ifdef EYELINE_APART
  static constexpr bool APART = true;
  static void load_two(const uint16_t* p, vfloat& even, vfloat& odd) { load_bf16_apart(p, even, odd); }
#else
  static constexpr bool APART = false;
#endif
};
struct Float16 {
  using number = uint16_t;
  static constexpr bool PAIRED = false;
  static constexpr bool APART = false;
  static vfloat load(const uint16_t* p) { return load_f16(p); }
  static void store(uint16_t* p, vfloat x) { store_f16(p, x); }
};

#ifndef EYELINE_APART  // nobody asks
inline void apart(vfloat&, vfloat&) {}
inline void together(vfloat&, vfloat&) {}
#endif

// `N` vectors, N an even number or 1; of two at a time the even numbers and the odd ones where T::APART.
template <class T, int N>
inline void load_vectors(const typename T::number* p, vfloat (&x)[N]) {
  if constexpr (T::APART && N > 1) {
#pragma GCC unroll 8
    for (int i = 0; i < N; i += 2) T::load_two(p + i * WIDTH, x[i], x[i + 1]);
  } else {
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) x[i] = T::load(p + i * WIDTH);
  }
}

// The first `count` of a vector; the other lanes are 0 and nothing is read there.
template <class T>
inline vfloat load_part(const typename T::number* p, int64_t count) {
  if (count >= WIDTH) return T::load(p);
  typename T::number whole[WIDTH] = {};
  memcpy(whole, p, static_cast<size_t>(count) * sizeof whole[0]);
  return T::load(whole);
}
template <class T>
inline void store_part(typename T::number* p, vfloat x, int64_t count) {
  if (count >= WIDTH) return T::store(p, x);
  typename T::number whole[WIDTH];
  T::store(whole, x);
  memcpy(p, whole, static_cast<size_t>(count) * sizeof whole[0]);
}

// lanes[d][lane] = factor * row[lane][d]; lanes past `count` become 0.
template <class T>
inline void rows_to_lanes(const typename T::number* const* row, int count, int64_t width,
                          float factor, float* lanes) {
  for (int first = 0; first < count; first += WIDTH) {
    for (int64_t d = 0; d < width; d += WIDTH) {
      vfloat x[WIDTH];
      for (int r = 0; r < WIDTH; r++)
        x[r] = first + r < count ? load_part<T>(row[first + r] + d, width - d) : splat(0.0f);
      transpose(x);
      int64_t here = least<int64_t>(WIDTH, width - d);
      for (int64_t c = 0; c < here; c++)
        store(lanes + (d + c) * LANES + first, x[c] * splat(factor));
    }
  }
}

// scale = power * rest. The query takes the power of 2, which rounds nothing; what is left, from 1/2
// to 1, is multiplied to each score. Where scores are large, a query rounded once more would show.
struct Scale {
  float power = 1, rest;

  explicit Scale(float scale) : rest(scale) {
    int exponent;
    const float part = __builtin_frexpf(scale, &exponent);
    if (part == 0 || part * 0 != 0 || exponent < -60 || exponent > 60) return;
    const bool whole = part == 0.5f;  // a power of 2 itself
    power = __builtin_ldexpf(1, whole ? exponent - 1 : exponent);
    rest = whole ? 1 : part;
  }
};

// Plain rows of floats, times factor: to[lane][d], filled up with zeros to whole vectors.
template <class T>
inline void gather_rows(const typename T::number* const* row, int count, int64_t width,
                        float factor, int64_t stride, float* to) {
  for (int lane = 0; lane < count; lane++, to += stride)
    for (int64_t d = 0; d < width; d += WIDTH)
      store(to + d, load_part<T>(row[lane] + d, width - d) * splat(factor));
}

// row[lane][d] = factor[lane] * lanes[d][lane]. False if any of it is not finite.
template <class T>
inline bool lanes_to_rows(const float* lanes, const vfloat* factor, int count, int64_t width,
                          typename T::number* const* row) {
  bool finite = true;
  for (int first = 0; first < count; first += WIDTH) {
    vfloat probe = splat(0.0f);  // 0 * x is NaN for NaN and infinity
    for (int64_t d = 0; d < width; d += WIDTH) {
      int64_t here = least<int64_t>(WIDTH, width - d);
      vfloat x[WIDTH];
      for (int64_t c = 0; c < WIDTH; c++) {
        x[c] = c < here ? load(lanes + (d + c) * LANES + first) * factor[first / WIDTH] : splat(0.0f);
        probe = fma(x[c], splat(0.0f), probe);
      }
      transpose(x);
      int rows = least(WIDTH, count - first);
      for (int r = 0; r < rows; r++) store_part<T>(row[first + r] + d, x[r], here);
    }
    unsigned mine = count - first >= WIDTH ? ~0u : (1u << (count - first)) - 1;
    finite &= (bits(negated(equal(probe, splat(0.0f)))) & mine & ((1u << WIDTH) - 1)) == 0;
  }
  return finite;
}

// Plain rows of floats: [keys][width].
template <class T>
inline void pack_rows(const typename T::number* from, int64_t stride, int64_t keys, int64_t width,
                      float* to) {
  for (int64_t j = 0; j < keys; j++, from += stride, to += width) {
    int64_t d = 0;
    for (; d + WIDTH <= width; d += WIDTH) store(to + d, T::load(from + d));
    if (d < width) store_part<Float32>(to + d, load_part<T>(from + d, width - d), width - d);
  }
}

// The sum of all rows, [width rounded up to WIDTH].
template <class T>
inline void add_up_rows(const typename T::number* from, int64_t stride, int64_t rows, int64_t width, float* sum) {
  for (int64_t d = 0; d < width; d += WIDTH) {
    vfloat x = splat(0.0f);
    for (int64_t j = 0; j < rows; j++) x = x + load_part<T>(from + j * stride + d, width - d);
    store(sum + d, x);
  }
}

// Keys in panels of ROWS, each turned: [keys / ROWS][width][ROWS]. Keys that round up become 0; there
// is room for `keys` rounded up to both WIDTH and ROWS.
template <class T>
inline void pack_panels(const typename T::number* from, int64_t stride, int64_t keys, int64_t width,
                        float* to) {
#if defined(EYELINE_WEAVE)
  for (int64_t k = 0; k < keys; k += ROWS, to += width * ROWS)
    for (int64_t d = 0; d < width; d += WIDTH) {
      vfloat x[ROWS];
      for (int64_t r = 0; r < ROWS; r++)
        x[r] = k + r < keys ? load_part<T>(from + (k + r) * stride + d, width - d) : splat(0.0f);
      if (d + WIDTH <= width) {
        weave(x, to + d * ROWS);
      } else {
        float last[WIDTH * ROWS];
        weave(x, last);
        memcpy(to + d * ROWS, last, static_cast<size_t>((width - d) * ROWS) * sizeof *to);
      }
    }
#else
  alignas(64) float turned[WIDTH];
  for (int64_t k = 0; k < round_up(keys, ROWS); k += WIDTH) {
    for (int64_t d = 0; d < width; d += WIDTH) {
      vfloat x[WIDTH];
      for (int r = 0; r < WIDTH; r++)
        x[r] = k + r < keys ? load_part<T>(from + (k + r) * stride + d, width - d) : splat(0.0f);
      transpose(x);
      for (int64_t c = 0; c < WIDTH && d + c < width; c++) {
        store(turned, x[c]);
        for (int64_t r = 0, n; r < WIDTH; r += n) {  // one stretch for each panel that is met
          const int64_t in_panel = (k + r) % ROWS;
          n = WIDTH % ROWS == 0 ? ROWS : least<int64_t>(ROWS - in_panel, WIDTH - r);
          memcpy(to + ((k + r) / ROWS * width + d + c) * ROWS + in_panel, turned + r,
                 static_cast<size_t>(n) * sizeof(float));
        }
      }
    }
  }
#endif
}

// Values in panels of ROWS components: [width / ROWS][panel_keys][ROWS], the last one filled up
// with zeros. The output product then walks one line of memory; on the caller's layout its stride,
// often a power of two, would throw its own lines out of the first-level cache.
template <class T>
inline void pack_values(const typename T::number* from, int64_t stride, int64_t keys, int64_t width,
                        int64_t panel_keys, float* to) {
  const int64_t panel = panel_keys * ROWS;
  alignas(64) float row[WIDTH + ROWS];
  for (int64_t j = 0; j < keys; j++, from += stride, to += ROWS) {
    float* out = to;
    if constexpr (sizeof(typename T::number) == sizeof(float)) {
      int64_t d = 0;
      for (; d + ROWS <= width; d += ROWS, out += panel) memcpy(out, from + d, sizeof(float) * ROWS);
      if (d < width) {
        memset(out, 0, sizeof(float) * ROWS);
        memcpy(out, from + d, static_cast<size_t>(width - d) * sizeof(float));
      }
    } else {
      constexpr int STEP = WIDTH / ROWS * ROWS < ROWS ? ROWS : WIDTH / ROWS * ROWS;
      for (int64_t d = 0; d < width; d += STEP) {
        for (int c = 0; c < STEP; c += WIDTH)  // may convert more than STEP: `row` has the room
          store(row + c, d + c < width ? load_part<T>(from + d + c, width - d - c) : splat(0.0f));
        for (int c = 0; c < STEP && d + c < width; c += ROWS, out += panel)
          memcpy(out, row + c, sizeof(float) * ROWS);
      }
    }
  }
}

}  // namespace EYELINE_NAMESPACE
