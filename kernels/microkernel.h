// The products that everything is made of. Lanes are queries.
//
//   scores^T  [keys, queries]  = K [keys, d]          Q^T [d, queries]
//   output^T  [width, queries] = V^T [width, keys]    P^T [keys, queries]
//   dV        [keys, width]    = P^T [keys, queries]  dO [queries, width]
//
// They add up "one number, broadcast, times a vector" in a register tile of ROWS x Vecs vectors.
// In the first two the number is one of K or V and the vector one of queries: K is read as it lies in
// memory, no key ever needs transposing; maximum, sum and entropy of a query stay inside its lane, so
// that softmax needs no horizontal operation.
#pragma once
#include "products.h"
#include "tiles.h"

namespace EYELINE_NAMESPACE {

// Up to three vectors under three names: gcc 12 leaves an array of them in memory.
template <int Vecs, class U>
struct Trio {
  typename U::vector a, b, c;
  explicit Trio(const float* p) : a(U::load(p)) {
    if constexpr (Vecs > 1) b = U::load(p + WIDTH);
    if constexpr (Vecs > 2) c = U::load(p + 2 * WIDTH);
  }
  template <class Number>
  void add_times(const Number* unit, vfloat* acc) const {
    const typename U::vector all = U::broadcast(unit);
    acc[0] = U::add(all, a, acc[0]);
    if constexpr (Vecs > 1) acc[1] = U::add(all, b, acc[1]);
    if constexpr (Vecs > 2) acc[2] = U::add(all, c, acc[2]);
  }
};

// A sum of short sums rounds less than one long sum.
constexpr int64_t LONGEST_SUM = 128;

template <int Vecs>
inline void store_tile(const vfloat (*acc)[Vecs], float* to) {
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 3
    for (int v = 0; v < Vecs; v++) store(to + r * LANES + v * WIDTH, acc[r][v]);
}
template <int Vecs>
inline void add_tile(const float* from, vfloat (*acc)[Vecs]) {
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 3
    for (int v = 0; v < Vecs; v++) acc[r][v] = acc[r][v] + load(from + r * LANES + v * WIDTH);
}

template <int Vecs>
inline void clear_tile(vfloat (*acc)[Vecs]) {
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 3
    for (int v = 0; v < Vecs; v++) acc[r][v] = splat(0.0f);
}

// acc += numbers^T vectors, with numbers [count][ROWS], `stride` apart, and vectors [count][LANES], in units.
template <int Vecs, class U>
inline void add_panel(const float* numbers, int64_t stride, const float* vectors, int64_t count,
                      vfloat (*acc)[Vecs]) {
#pragma GCC unroll 8
  for (int64_t i = 0; i < count; i++, vectors += LANES, numbers += stride) {
    const Trio<Vecs, U> x(vectors);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) x.add_times(numbers + r, acc[r]);
  }
}

// Store products times `rest` (pack.h, Scale) as scores, and raise `top` to their maximum. Their own
// maximum goes to `maxima` [LANES] too, if that is given.
template <int Vecs>
inline void finish_scores(vfloat (*acc)[Vecs], float rest, float* scores, vfloat* top,
                          float* maxima) {
  if (rest != 1) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 3
      for (int v = 0; v < Vecs; v++) acc[r][v] = acc[r][v] * splat(rest);
  }
#pragma GCC unroll 3
  for (int v = 0; v < Vecs; v++) {
    vfloat highest = acc[0][v];
    store(scores + v * WIDTH, acc[0][v]);
#pragma GCC unroll 8
    for (int r = 1; r < ROWS; r++) {
      highest = vmax(highest, acc[r][v]);
      store(scores + r * LANES + v * WIDTH, acc[r][v]);
    }
    if (maxima) store(maxima + v * WIDTH, highest);
    top[v] = vmax(top[v], highest);
  }
}

// Heads up to here are so narrow that their products cost little beside softmax.
constexpr int64_t NARROW = 8;

// Scores of narrow heads, as if summed in twice the precision: what each product and each sum rounds
// away is summed too (Ogita, Rump, Oishi 2005, "Accurate Sum and Dot Product", algorithm Dot2).
// Short rows of large scores are what people check by hand. `key(r, d)` is a number of key r.
template <int Vecs, class Key>
inline void score_narrow(Key key, const float* query, int64_t head_dim, float rest, float* scores,
                         vfloat* top, float* maxima) {
  vfloat highest[Vecs];
  for (int v = 0; v < Vecs; v++) highest[v] = splat(-INFINITE);
  for (int r = 0; r < ROWS; r++, scores += LANES) {
    for (int v = 0; v < Vecs; v++) {
      vfloat sum = splat(0.0f), lost = sum;
      for (int64_t d = 0; d < head_dim; d++) {
        const vfloat a = splat(key(r, d)), b = load(query + d * LANES + v * WIDTH);
        const vfloat product = a * b, next = sum + product, added = next - sum;
        const vfloat rounded = fma(a, b, splat(0.0f) - product);
        lost = lost + ((sum - (next - added)) + (product - added)) + rounded;
        sum = next;
      }
      const vfloat score = (sum + lost) * splat(rest);
      store(scores + v * WIDTH, score);
      highest[v] = vmax(highest[v], score);
    }
  }
  for (int v = 0; v < Vecs; v++) {
    if (maxima) store(maxima + v * WIDTH, highest[v]);
    top[v] = vmax(top[v], highest[v]);
  }
}

// Scores of ROWS keys, and `top` raised to their maximum.
//
//   key     ROWS pointers to head_dim numbers, filled up to whole units
//   query   [units][LANES]
//   scores  [ROWS][LANES], written
template <int Vecs, class U>
inline void score_tile(const typename U::number* const* key, const float* query, int64_t head_dim,
                       float rest, float* scores, vfloat* top, float* maxima) {
  if constexpr (U::TERMS == 1)
    if (head_dim <= NARROW)
      return score_narrow<Vecs>([&](int r, int64_t d) { return key[r][d]; }, query, head_dim, rest,
                                scores, top, maxima);
  vfloat acc[ROWS][Vecs];
  const typename U::number* k[ROWS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++) k[r] = key[r];
  for (int64_t begin = 0, d = 0;; begin = d) {
    const int64_t end = least(head_dim, begin + LONGEST_SUM);
    clear_tile<Vecs>(acc);
#pragma GCC unroll 8
    for (; d < end; d += U::TERMS, query += LANES) {
      const Trio<Vecs, U> q(query);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; r++) q.add_times(k[r] + d, acc[r]);
    }
    if (begin) add_tile<Vecs>(scores, acc);
    if (d >= head_dim) break;
    store_tile<Vecs>(acc, scores);
  }
  finish_scores<Vecs>(acc, rest, scores, top, maxima);
}

// The same with the keys in panels, `key` [units][ROWS].
template <int Vecs, class U>
inline void score_panel(const float* key, const float* query, int64_t head_dim, float rest,
                        float* scores, vfloat* top, float* maxima) {
  if constexpr (U::TERMS == 1)
    if (head_dim <= NARROW)
      return score_narrow<Vecs>([&](int r, int64_t d) { return key[d * ROWS + r]; }, query, head_dim,
                                rest, scores, top, maxima);
  constexpr int64_t LONGEST = LONGEST_SUM / U::TERMS;
  const int64_t count = units<U>(head_dim);
  vfloat acc[ROWS][Vecs];
  for (int64_t begin = 0, end;; begin = end) {
    end = least(count, begin + LONGEST);
    clear_tile<Vecs>(acc);
    add_panel<Vecs, U>(key + begin * ROWS, ROWS, query + begin * LANES, end - begin, acc);
    if (begin) add_tile<Vecs>(scores, acc);
    if (end == count) break;
    store_tile<Vecs>(acc, scores);
  }
  finish_scores<Vecs>(acc, rest, scores, top, maxima);
}

// output = output * shrink + V^T P^T, for ROWS components of the values.
//
//   value    [units][ROWS], `stride` apart: packed (pack.h), or as they lie in memory
//   weights  [units][LANES]
//   output   [ROWS][LANES]
//   shrink   [Vecs]
template <int Vecs, class U>
inline void output_tile(const float* value, int64_t stride, const float* weights, int64_t units, float* output,
                        const vfloat* shrink) {
  vfloat acc[ROWS][Vecs];  // from 0, as above: LONGEST_SUM
  clear_tile<Vecs>(acc);
  add_panel<Vecs, U>(value, stride, weights, units, acc);
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 3
    for (int v = 0; v < Vecs; v++) {
      float* at = output + r * LANES + v * WIDTH;
      store(at, fma(load(at), shrink[v], acc[r][v]));
    }
}

// sum += P^T dO, for ROWS keys and Vecs vectors of components: the product of the gradients.
//
//   weights  [ROWS][LANES], or [ROWS][ROW_UNITS] in units along the queries
//   rows     [units][stride]
//   sum      [ROWS][width]
template <int Vecs, class U>
inline void gradient_tile(const float* weights, int64_t units, const float* rows, int64_t stride,
                          float* sum, int64_t width) {
  vfloat acc[ROWS][Vecs];  // from 0, as above: LONGEST_SUM
  clear_tile<Vecs>(acc);
#pragma GCC unroll 8
  for (int64_t i = 0; i < units; i++, rows += stride) {
    const Trio<Vecs, U> x(rows);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) x.add_times(weights + r * (U::TERMS > 1 ? ROW_UNITS : LANES) + i, acc[r]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 3
    for (int v = 0; v < Vecs; v++) {
      float* at = sum + r * width + v * WIDTH;
      store(at, load(at) + acc[r][v]);
    }
}

// Not inlined, so that no constant of the caller competes for the registers of the tiles.

// Scores of `keys` keys [ROWS at a time], and `top` raised to their maximum. `scores` has room for
// `keys` rounded up to PANEL; `maxima`, if given, gets the maximum of each ROWS keys, [LANES] each.
template <int Vecs, class U>
[[gnu::noinline]] void score_keys(const typename U::number* key, int64_t stride, int keys,
                                  const float* query, int64_t head_dim, float rest, float* scores,
                                  vfloat* top, float* maxima = nullptr) {
  if constexpr (TILED<U>) return score_tiles<Vecs>(key, keys, query, head_dim, rest, scores, top, maxima);
  for (int k = 0; k < keys; k += ROWS) {
    const typename U::number* row[ROWS];  // past the end the last key again: nobody looks, nothing overruns
    for (int r = 0; r < ROWS; r++) row[r] = key + least(k + r, keys - 1) * stride;
    score_tile<Vecs, U>(row, query, head_dim, rest, scores + k * LANES, top, maxima);
    if (maxima) maxima += LANES;
  }
}

// The same with the keys in panels, [keys / ROWS][units][ROWS] (pack.h): worth the packing where
// they are read many times.
template <int Vecs, class U>
[[gnu::noinline]] void score_panels(const float* key, int keys, const float* query, int64_t head_dim,
                                    float rest, float* scores, vfloat* top, float* maxima = nullptr) {
  if constexpr (TILED<U>) return score_tiles<Vecs>(key, keys, query, head_dim, rest, scores, top, maxima);
  for (; keys >= ROWS; keys -= ROWS, key += ROWS * units<U>(head_dim), scores += ROWS * LANES) {
    score_panel<Vecs, U>(key, query, head_dim, rest, scores, top, maxima);
    if (maxima) maxima += LANES;
  }
  if (keys == 0) return;
  vfloat unused[Vecs];  // whatever else lies in the last panel must not raise the maximum
  for (int v = 0; v < Vecs; v++) unused[v] = splat(-INFINITE);
  score_panel<Vecs, U>(key, query, head_dim, rest, scores, unused, nullptr);
  for (int v = 0; v < Vecs; v++) {
    vfloat highest = load(scores + v * WIDTH);
    for (int k = 1; k < keys; k++) highest = vmax(highest, load(scores + k * LANES + v * WIDTH));
    if (maxima) store(maxima + v * WIDTH, highest);
    top[v] = vmax(top[v], highest);
  }
}

// All components of the values; `panel` units from one panel of ROWS components to the next, `stride` from one
// unit of a panel to the next.
template <int Vecs, class U>
[[gnu::noinline]] void output_keys(const float* value, int64_t panel, int64_t stride, int64_t width,
                                   const float* weights, int64_t units, float* output,
                                   const vfloat* shrink) {
  if constexpr (TILED<U>) return output_tiles<Vecs>(value, width, weights, units, output, shrink);
  for (int64_t d = 0; d < width; d += ROWS, value += panel)
    output_tile<Vecs, U>(value, stride, weights, units, output + d * LANES, shrink);
}

// All components of the gradients of `keys` keys. `weights` has 0 in the rows that round the keys up
// to WHOLE_KEYS, `sum` has room for them. `width` is a whole number of vectors.
template <class U>
[[gnu::noinline]] void gradient_keys(const float* weights, int keys, int64_t units,
                                     const float* rows, int64_t stride, float* sum, int64_t width) {
  if constexpr (TILED<U>) return gradient_tiles(weights, keys, units, rows, stride, sum, width);
  const int64_t vecs = width / WIDTH, parts = ceil_div(vecs, VECS);
  for (int64_t i = 0; i < parts; i++) {  // as even as whole vectors allow
    const int64_t from = i * vecs / parts, here = (i + 1) * vecs / parts - from;
    with_vecs(static_cast<int>(here), [&](auto count) {
      for (int k = 0; k < keys; k += ROWS)
        gradient_tile<decltype(count)::value, U>(weights + k * (U::TERMS > 1 ? ROW_UNITS : LANES), units,
                                                 rows + from * WIDTH, stride,
                                                 sum + k * width + from * WIDTH, width);
      return true;
    });
  }
}

}  // namespace EYELINE_NAMESPACE
