// Products of whole tiles (Intel's AMX): one instruction adds 16 x 16 sums of 32 products of bfloat16
// numbers each, in 16 cycles, sixteen times what a vector of floats can do.
//
//       A: 16 rows of 32 numbers           B: 16 units of 16 lanes         sums: 16 x 16 floats
//   ┌──────────────────────────────┐   ┌──────────────────────────┐   ┌─────────────────┐
//   │ a key                        │ x │ queries, [units][LANES]  │ = │ scores^T        │
//   │ a component of the values    │   │ weights, [units][LANES]  │   │ output^T        │
//   └──────────────────────────────┘   └──────────────────────────┘   └─────────────────┘
//
// B is what the products of pairs read anyway. What rounds rows and units up to whole tiles is zeros.
// In the tile the even and the odd products are added up by themselves, then both to the sum: no sum is
// longer than 16 before it meets the others.
#pragma once
#include "exponential.h"
#include "products.h"

#if defined(EYELINE_TILES)
namespace EYELINE_NAMESPACE {

static_assert(WIDTH == TILE && VECS == 3 && TILE % ROWS == 0);

// In assembly, with the memory that is read and written named: the compiler's own functions do not say
// that a tile is read from memory. The numbers of the registers are part of an instruction.
template <int Number>
inline void clear_register() {
  asm volatile("tilezero %%tmm%c0" ::"i"(Number));
}
template <int Number>
inline void load_register(const void* from, int64_t bytes) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(Number), "r"(from), "r"(bytes) : "memory");
}
template <int Number>
inline void store_register(float* to, int64_t bytes) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(Number), "r"(to), "r"(bytes) : "memory");
}
template <int Sums, int A, int B>
inline void add_products() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(A), "i"(B));
}

// sums [16 or 32][LANES] = A B, with B [16 chunks][LANES] in units and A a tile for each chunk, `step` units
// from one to the next; `below` units on are those of the other 16 sums. Six registers are sums, one
// holds a tile of A, one of B; the hardware renames them, so that loading the next need not wait.
template <int Vecs, bool Both>
inline void multiply_tiles(const float* a, int64_t below, int64_t step, const float* b, int64_t chunks,
                           float* sums) {
  constexpr int64_t ALONG = TILE * sizeof(float), ACROSS = LANES * sizeof(float);
  constexpr int A = 6, B = 7;
  const auto each = [](auto f) {
    f(Constant<0>());
    if constexpr (Vecs > 1) f(Constant<1>());
    if constexpr (Vecs > 2) f(Constant<2>());
  };
  each([&](auto v) {
    clear_register<decltype(v)::value>();
    if constexpr (Both) clear_register<VECS + decltype(v)::value>();
  });
  for (int64_t i = 0; i < chunks; i++, a += step, b += TILE * LANES) {
    load_register<A>(a, ALONG);
    each([&](auto v) {
      constexpr int V = decltype(v)::value;
      load_register<B>(b + V * WIDTH, ACROSS);
      add_products<V, A, B>();
    });
    if constexpr (Both) {  // the last tile of B is still there
      load_register<A>(a + below, ALONG);
      add_products<VECS + Vecs - 1, A, B>();
      if constexpr (Vecs > 1) {
        load_register<B>(b, ACROSS);
        add_products<VECS, A, B>();
      }
      if constexpr (Vecs > 2) {
        load_register<B>(b + WIDTH, ACROSS);
        add_products<VECS + 1, A, B>();
      }
    }
  }
  each([&](auto v) {
    constexpr int V = decltype(v)::value;
    store_register<V>(sums + V * WIDTH, ACROSS);
    if constexpr (Both) store_register<VECS + V>(sums + TILE * LANES + V * WIDTH, ACROSS);
  });
}

// Scores of `count` keys times `rest`, and `top` raised to their maximum; that of each ROWS keys goes to
// `maxima` too, if it is given. Returns where the next ones go.
template <int Vecs>
inline float* finish_tile_scores(float* scores, int count, float rest, vfloat* top, float* maxima) {
  for (int k = 0; k < count; k += ROWS, scores += ROWS * LANES) {
    const int n = least(ROWS, count - k);
    vfloat highest[Vecs];
    for (int v = 0; v < Vecs; v++) highest[v] = splat(-INFINITE);
    for (int r = 0; r < n; r++)
#pragma GCC unroll 3
      for (int v = 0; v < Vecs; v++) {
        float* at = scores + r * LANES + v * WIDTH;
        vfloat score = load(at);
        if (rest != 1) {
          score = score * splat(rest);
          store(at, score);
        }
        highest[v] = vmax(highest[v], score);
      }
    for (int v = 0; v < Vecs; v++) {
      if (maxima) store(maxima + v * WIDTH, highest[v]);
      top[v] = vmax(top[v], highest[v]);
    }
    if (maxima) maxima += LANES;
  }
  return maxima;
}

// `score_keys` (microkernel.h) with the keys in tiles, [keys / 16][chunks]. `scores` has room for `keys`
// rounded up to TILE.
template <int Vecs>
[[gnu::noinline]] void score_tiles(const float* key, int keys, const float* query, int64_t head_dim,
                                   float rest, float* scores, vfloat* top, float* maxima) {
  const int64_t chunks = ceil_div(head_dim, Tiles::DEPTH), below = chunks * TILE * TILE;
  int done = 0;
  for (int k = 0; k < keys; k += 2 * TILE, key += 2 * below) {
    if (keys - k > TILE)
      multiply_tiles<Vecs, true>(key, below, TILE * TILE, query, chunks, scores + k * LANES);
    else
      multiply_tiles<Vecs, false>(key, 0, TILE * TILE, query, chunks, scores + k * LANES);
    // those before, while the tiles are at work
    maxima = finish_tile_scores<Vecs>(scores + done * LANES, k - done, rest, top, maxima);
    done = k;
  }
  finish_tile_scores<Vecs>(scores + done * LANES, keys - done, rest, top, maxima);
}

// `output_keys` (microkernel.h) with the values in tiles, [keys / 32][components / 16]. Components and
// units are whole tiles.
template <int Vecs>
[[gnu::noinline]] void output_tiles(const float* value, int64_t width, const float* weights,
                                    int64_t units, float* output, const vfloat* shrink) {
  alignas(64) float sums[2][2 * TILE * LANES];
  const int64_t chunks = ceil_div(units, TILE), step = width * TILE;
  const auto add = [&](int64_t from, int64_t to) {
    const float* sum = sums[from / (2 * TILE) % 2];
    for (int64_t d = from; d < to; d++, sum += LANES)
#pragma GCC unroll 3
      for (int v = 0; v < Vecs; v++) {
        float* at = output + d * LANES + v * WIDTH;
        store(at, fma(load(at), shrink[v], load(sum + v * WIDTH)));
      }
  };
  int64_t done = 0;
  for (int64_t d = 0; d < width; d += 2 * TILE, value += 2 * TILE * TILE) {
    float* sum = sums[d / (2 * TILE) % 2];
    if (width - d > TILE)
      multiply_tiles<Vecs, true>(value, TILE * TILE, step, weights, chunks, sum);
    else
      multiply_tiles<Vecs, false>(value, 0, step, weights, chunks, sum);
    add(done, d);  // those before, while the tiles are at work
    done = d;
  }
  add(done, width);
}

// sums [16 Below][16 Beside] += A B of `chunks` chunks.
template <int Below, int Beside>
inline void add_gradient_tiles(const float* a, const float* b, int64_t b_stride, int64_t chunks, float* sum,
                               int64_t width) {
  constexpr int64_t DOWN = ROW_UNITS * sizeof(float);
  const int64_t across = b_stride * static_cast<int64_t>(sizeof *b), along = width * static_cast<int64_t>(sizeof *sum);
  float* lower = sum + TILE * width;
  load_register<0>(sum, along);
  if constexpr (Beside > 1) load_register<1>(sum + TILE, along);
  if constexpr (Below > 1) load_register<2>(lower, along);
  if constexpr (Below > 1 && Beside > 1) load_register<3>(lower + TILE, along);
  for (int64_t i = 0; i < chunks; i++, a += TILE, b += TILE * b_stride) {
    load_register<4>(a, DOWN);
    load_register<6>(b, across);
    add_products<0, 4, 6>();
    if constexpr (Beside > 1) {
      load_register<7>(b + TILE, across);
      add_products<1, 4, 7>();
    }
    if constexpr (Below > 1) {
      load_register<5>(a + TILE * ROW_UNITS, DOWN);
      add_products<2, 5, 6>();
      if constexpr (Beside > 1) add_products<3, 5, 7>();
    }
  }
  store_register<0>(sum, along);
  if constexpr (Beside > 1) store_register<1>(sum + TILE, along);
  if constexpr (Below > 1) store_register<2>(lower, along);
  if constexpr (Below > 1 && Beside > 1) store_register<3>(lower + TILE, along);
}

// `gradient_keys` (microkernel.h) with whole tiles of units in the weights, [keys][ROW_UNITS], and the rows.
[[gnu::noinline]] inline void gradient_tiles(const float* weights, int keys, int64_t units, const float* rows,
                                             int64_t stride, float* sum, int64_t width) {
  const int64_t chunks = ceil_div(units, TILE);
  for (int k = 0; k < keys; k += 2 * TILE, weights += 2 * TILE * ROW_UNITS, sum += 2 * TILE * width)
    for (int64_t d = 0; d < width; d += 2 * TILE) {
      const bool below = keys - k > TILE, beside = width - d > TILE;
      const auto add = below ? (beside ? add_gradient_tiles<2, 2> : add_gradient_tiles<2, 1>)
                             : (beside ? add_gradient_tiles<1, 2> : add_gradient_tiles<1, 1>);
      add(weights, rows + d, stride, chunks, sum + d, width);
    }
}

// Units [from, round_up(from, TILE)) of weights that belong to no key.
template <int Vecs>
inline void clear_units(float* weights, int64_t from) {
  for (int64_t i = from; i < round_up(from, TILE); i++)
    for (int v = 0; v < Vecs; v++) store(weights + i * LANES + v * WIDTH, splat(0.0f));
}

}  // namespace EYELINE_NAMESPACE
#else
namespace EYELINE_NAMESPACE {

// Only named, where a build has no tiles.
template <int Vecs>
void score_tiles(const float* key, int keys, const float* query, int64_t head_dim, float rest,
                 float* scores, vfloat* top, float* maxima);
template <int Vecs>
void output_tiles(const float* value, int64_t width, const float* weights, int64_t units, float* output,
                  const vfloat* shrink);
void gradient_tiles(const float* weights, int keys, int64_t units, const float* rows, int64_t stride, float* sum,
                    int64_t width);
template <int Vecs>
void clear_units(float* weights, int64_t from);

}  // namespace EYELINE_NAMESPACE
#endif
