// What the products multiply: single floats, or pairs of bfloat16 numbers where the CPU can add both
// products of a pair to a float at once, or whole tiles of such pairs (tiles.h). Always a unit is 32 bits
// and sums are floats.
#pragma once
#include <string.h>

#include "simd.h"

namespace EYELINE_NAMESPACE {

// What a kind of products needs of a thread while it is at work: nothing.
struct NoRegisters {};

struct Floats {
  static constexpr int TERMS = 1;      // numbers in a unit, along the sum
  static constexpr int DEPTH = TERMS;  // sums are filled up with zeros to a multiple of these many numbers
  static constexpr int PANEL = ROWS;   // components that are worked on together
  using Registers = NoRegisters;
  using vector = vfloat;
  using number = float;
  static vector load(const float* p) { return EYELINE_NAMESPACE::load(p); }
  static vector broadcast(const number* p) { return splat(*p); }
  static vfloat add(vector a, vector b, vfloat sum) { return fma(a, b, sum); }
};

#if defined(EYELINE_PAIRS)
struct Pairs {
  static constexpr int TERMS = 2, DEPTH = TERMS, PANEL = ROWS;
  using Registers = NoRegisters;
  using vector = vint;
  using number = uint16_t;
  static vector load(const float* p) { return load_bits(p); }
  template <class Any>
  static vector broadcast(const Any* p) {
    int both;
    memcpy(&both, p, sizeof both);
    return splat(both);
  }
  static vfloat add(vector a, vector b, vfloat sum) { return add_pair_products(a, b, sum); }
};
#endif

#if defined(EYELINE_TILES)
constexpr int TILE = 16;  // rows of a tile, its units, and its lanes

// The eight tile registers, in their full size while this lives. Each thread has its own.
class TileRegisters {
 public:
  TileRegisters() { _tile_loadconfig(FULL_SIZE); }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  void operator=(const TileRegisters&) = delete;

 private:
  // Palette 1; from byte 16 on the bytes of a row, 16 bits each; from byte 48 on the rows.
  alignas(64) static constexpr uint8_t FULL_SIZE[64] = {
      1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 64, 0, 64, 0, 64, 0, 64, 0, 64, 0, 64, 0, 64, 0,
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 16, 16, 16, 16, 16, 16, 16};
};

struct Tiles : Pairs {
  static constexpr int DEPTH = TERMS * TILE, PANEL = TILE;
  using Registers = TileRegisters;
  using number = float;  // keys are packed: units of tiles
};
#endif

// Whether products are those of tiles.
template <class U>
constexpr bool TILED = U::PANEL != ROWS;

// What the backward pass rounds up to, for all products of this build: keys of a stretch, and the units of a
// row of LANES queries.
#if defined(EYELINE_TILES)
constexpr int WHOLE_KEYS = Tiles::DEPTH, ROW_UNITS = (LANES / 2 + TILE - 1) / TILE * TILE;
#elif defined(EYELINE_PAIRS)
constexpr int WHOLE_KEYS = ROWS, ROW_UNITS = LANES / Pairs::TERMS;
#else
constexpr int WHOLE_KEYS = ROWS, ROW_UNITS = LANES;
#endif

// Rows that a product may write past the keys that it was asked for.
template <class U>
constexpr int ROOM = TILED<U> ? U::PANEL : 0;

// Units that hold `count` numbers, filled up.
template <class U>
inline int64_t units(int64_t count) {
  return round_up(count, U::DEPTH) / U::TERMS;
}

}  // namespace EYELINE_NAMESPACE
