// Moving bfloat16 numbers into tiles: 16 rows of 16 units, filled up with zeros. Nothing is rounded.
#pragma once
#include "pack_pairs.h"

#if defined(EYELINE_TILES)
namespace EYELINE_NAMESPACE {

// Rows as they are, in units along them: [keys / 16][width / 32] tiles.
inline void pack_key_tiles(const uint16_t* from, int64_t stride, int64_t keys, int64_t width, float* to) {
  const int64_t chunks = ceil_div(width, 2 * TILE);
  for (int64_t k = 0; k < keys; k += TILE, to += chunks * TILE * TILE)
    for (int64_t r = 0; r < TILE; r++)
      for (int64_t i = 0; i < chunks; i++) {
        const vint row = k + r < keys ? load_units(from + (k + r) * stride + i * 2 * TILE, width - i * 2 * TILE) : splat(0);
        store(to + (i * TILE + r) * TILE, as_float(row));
      }
}

// Rows turned, two of them in a unit: [keys / 32][width / 16] tiles.
inline void pack_value_tiles(const uint16_t* from, int64_t stride, int64_t keys, int64_t width, float* to) {
  for (int64_t k = 0; k < keys; k += 2 * TILE)
    for (int64_t d = 0; d < width; d += TILE, to += TILE * TILE) {
      vfloat x[TILE];
      for (int64_t r = 0; r < TILE; r++) {
        const uint16_t* row = from + (k + 2 * r) * stride + d;
        const int64_t left = keys - k - 2 * r;
        const vhalf first = left > 0 ? load_some(row, width - d) : no_numbers();
        x[r] = as_float(join_units(first, left > 1 ? load_some(row + stride, width - d) : no_numbers()));
      }
      transpose(x);
      for (int64_t c = 0; c < TILE; c++) store(to + c * TILE, x[c]);
    }
}

}  // namespace EYELINE_NAMESPACE
#endif
