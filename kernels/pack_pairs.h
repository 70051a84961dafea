// Moving bfloat16 numbers into units of two, as the products of pairs want them. Nothing is rounded.
#pragma once
#include "pack.h"
#include "products.h"

#if defined(EYELINE_PAIRS)
namespace EYELINE_NAMESPACE {

// Units [0, WIDTH) of a row of which `count` numbers are left; past them 0, and nothing is read.
inline vint load_units(const uint16_t* row, int64_t count) {
  if (count >= 2 * WIDTH) return load(reinterpret_cast<const int*>(row));
  uint16_t whole[2 * WIDTH] = {};
  for (int64_t i = 0; i < count; i++) whole[i] = row[i];
  return load(reinterpret_cast<const int*>(whole));
}

// Both numbers times a power of two.
inline vint scale_units(vint x, vfloat power) {
  const vint low = as_int(as_float(shift_left<16>(x)) * power);
  const vint high = as_int(as_float(x) * power);  // the low half is less than half a bfloat16's digit
  return high_half_of_second(shift_right<16>(low), high);
}

// lanes[unit][lane] = power * row[lane][unit]; lanes past `count` become 0, and units past the width.
inline void rows_to_lane_units(const uint16_t* const* row, int count, int64_t width, int64_t units,
                               float power, float* lanes) {
  for (int first = 0; first < count; first += WIDTH)
    for (int64_t u = 0; u < units; u += WIDTH) {
      vfloat x[WIDTH];
      for (int r = 0; r < WIDTH; r++)
        x[r] = first + r < count ? as_float(load_units(row[first + r] + 2 * u, width - 2 * u)) : splat(0.0f);
      transpose(x);
      const int64_t here = least<int64_t>(WIDTH, units - u);
      for (int64_t c = 0; c < here; c++)
        store(lanes + (u + c) * LANES + first, as_float(scale_units(as_int(x[c]), splat(power))));
    }
}

// Keys in panels of ROWS, each turned: [keys / ROWS][units][ROWS]. Keys that round up become 0; there
// is room for `keys` rounded up to WIDTH.
inline void pack_unit_panels(const uint16_t* from, int64_t stride, int64_t keys, int64_t width,
                             float* to) {
  static_assert(WIDTH % ROWS == 0);
  const int64_t units = ceil_div(width, 2);
  alignas(64) float turned[WIDTH];
  for (int64_t k = 0; k < keys; k += WIDTH)
    for (int64_t u = 0; u < units; u += WIDTH) {
      vfloat x[WIDTH];
      for (int r = 0; r < WIDTH; r++)
        x[r] = k + r < keys ? as_float(load_units(from + (k + r) * stride + 2 * u, width - 2 * u)) : splat(0.0f);
      transpose(x);
      for (int64_t c = 0; c < WIDTH && u + c < units; c++) {
        store(turned, x[c]);
        for (int64_t r = 0; r < WIDTH; r += ROWS)
          memcpy(to + ((k + r) / ROWS * units + u + c) * ROWS, turned + r, ROWS * sizeof(float));
      }
    }
}

// Two rows in each unit, [filled][stride], zeros past `count` rows; filled up with zeros to whole vectors of
// components.
inline void gather_unit_rows(const uint16_t* const* row, int count, int64_t width, int64_t stride,
                             int64_t filled, float* to) {
  const int64_t whole = ceil_div(count, 2), rest = (filled - whole) * stride;
  memset(to + whole * stride, 0, static_cast<size_t>(rest) * sizeof *to);
  for (int lane = 0; lane < count; lane += 2, to += stride)
    for (int64_t d = 0; d < width; d += WIDTH) {
      uint16_t both[2][WIDTH] = {};
      const size_t here = static_cast<size_t>(least<int64_t>(WIDTH, width - d)) * sizeof **both;
      memcpy(both[0], row[lane] + d, here);
      if (lane + 1 < count) memcpy(both[1], row[lane + 1] + d, here);
      interleave(both[0], both[1], to + d, to + d + WIDTH / 2);
    }
}

// Plain rows, filled up to whole units: [keys][width rounded up].
inline void pack_unit_rows(const uint16_t* from, int64_t stride, int64_t keys, int64_t width,
                           uint16_t* to) {
  for (int64_t j = 0; j < keys; j++, from += stride) {
    memcpy(to, from, static_cast<size_t>(width) * sizeof *to);
    to += width;
    if (width % 2) *to++ = 0;
  }
}

// Values in panels of ROWS components, two keys in a unit: [width / ROWS][panel_units][ROWS], what
// rounds up both ways filled with zeros.
inline void pack_value_units(const uint16_t* from, int64_t stride, int64_t keys, int64_t width,
                             int64_t panel_units, float* to) {
  const int64_t panel = panel_units * ROWS;
  const uint16_t nothing[2 * ROWS] = {};
  for (int64_t j = 0; j < keys; j += 2, from += 2 * stride, to += ROWS) {
    float* out = to;
    const bool lone = j + 1 == keys;
    int64_t d = 0;
    for (; d + 2 * ROWS <= width; d += 2 * ROWS, out += 2 * panel)  // two panels at a time
      interleave(from + d, lone ? nothing : from + stride + d, out, out + panel);
    if (d == width) continue;
    uint16_t first[2 * ROWS] = {}, second[2 * ROWS] = {};
    const size_t here = static_cast<size_t>(width - d) * sizeof *from;
    memcpy(first, from + d, here);
    if (!lone) memcpy(second, from + stride + d, here);
    float unused[ROWS];
    interleave(first, second, out, width - d > ROWS ? out + panel : unused);
  }
}

}  // namespace EYELINE_NAMESPACE
#endif
