// Sums over the panel of one block: along keys (total, entropy, pooled columns) while the scores
// become exponentials, and along queries (received, pooled rows) once every total is known.
#pragma once
#include "exponential.h"
#include "pack.h"
#include "products.h"

namespace EYELINE_NAMESPACE {

// The first index of a cell; `index * count / length` is the cell of an index.
inline int64_t cell_begin(int64_t cell, int64_t count, int64_t length) {
  return ceil_div(cell * length, count);
}
inline int64_t cell_of(int64_t index, int64_t count, int64_t length) {
  return index * count / length;
}

// A walk over the indices of an axis, cell by cell, that need not divide.
class CellWalk {
 public:
  CellWalk() = default;
  CellWalk(int64_t index, int64_t count, int64_t length)
      : cell(cell_of(index, count, length)), end(cell_begin(cell + 1, count, length)), count_(count),
        whole_(length / count), part_(length % count), over_(end * count - (cell + 1) * length) {}
  void next() {  // end * count - over = (cell + 1) * length, 0 <= over < count
    cell++;
    end += whole_;
    over_ -= part_;
    if (over_ < 0) over_ += count_, end++;
  }

  int64_t cell = 0, end = 0;  // the indices before `end` belong to `cell`, or to one before

 private:
  int64_t count_ = 1, whole_ = 0, part_ = 0, over_ = 0;
};

// Sums along the keys, cell by cell: [cells][LANES].
struct NoCells {
  static constexpr bool ANY = false;
};
struct Cells {
  static constexpr bool ANY = true;
  float* sums;
  CellWalk* walk;
  int64_t key;  // that is summed first

  // To the cell of key `key + after`. How many keys after `key` the next cell begins.
  int64_t find(int64_t after) const {
    while (walk->end <= key + after) walk->next();
    return walk->end - key;
  }
  float* cell() const { return sums + walk->cell * LANES; }
};

// Scores to e^(score - top), in place. Adds to total (sum of e), moment (sum of e * log e) and the cells.
template <int Vecs, bool Live, bool Moment, class Summed = NoCells>
[[gnu::noinline]] void exponentiate(float* scores, int keys, const vfloat* top, vfloat* total,
                                    vfloat* moment, Summed cells = {}) {
  vfloat sum[Vecs], bent[Vecs], cell[Vecs];
  for (int v = 0; v < Vecs; v++) {
    sum[v] = splat(0.0f);
    bent[v] = splat(0.0f);
  }
  const auto less_top = [&](const float* at, int v) {
    const vfloat x = load(at + v * WIDTH) - top[v];
    return Live ? x : vmax(splat(-1e4f), x);
  };
  const auto end = [&](int v, Power begun) {
    const vfloat e = end_exp(begun);
    sum[v] = sum[v] + e;
    if constexpr (Summed::ANY) cell[v] = cell[v] + e;
    if (Moment) bent[v] = fma(e, less_top(scores, v), bent[v]);
    store(scores + v * WIDTH, e);
  };
  int64_t next_cell = 0;
  const auto open_cell = [&](int64_t after) {
    if constexpr (Summed::ANY) {
      next_cell = cells.find(after);
      for (int v = 0; v < Vecs; v++) cell[v] = load(cells.cell() + v * WIDTH);
    }
  };
  const auto close_cell = [&] {
    if constexpr (Summed::ANY)
      for (int v = 0; v < Vecs; v++) store(cells.cell() + v * WIDTH, cell[v]);
  };
  if (keys <= 0) return;
  open_cell(0);
  // The next key is begun in between: few CPUs look so far ahead that they would do so themselves.
  Power begun[Vecs];
#pragma GCC unroll 3
  for (int v = 0; v < Vecs; v++) begun[v] = begin_exp(less_top(scores, v));
  for (int k = 1; k < keys; k++, scores += LANES) {
#pragma GCC unroll 3
    for (int v = 0; v < Vecs; v++) {
      end(v, begun[v]);
      begun[v] = begin_exp(less_top(scores + LANES, v));
    }
    if (Summed::ANY && k == next_cell) {
      close_cell();
      open_cell(k);
    }
  }
#pragma GCC unroll 3
  for (int v = 0; v < Vecs; v++) end(v, begun[v]);
  close_cell();
  for (int v = 0; v < Vecs; v++) {
    total[v] = total[v] + sum[v];
    if (Moment) moment[v] = moment[v] + bent[v];
  }
}

#if defined(EYELINE_PAIRS)
// x plus both numbers of a pair.
inline vfloat add_pair(vint pair, vfloat x) { return add_pair_products(pair, splat(0x3f803f80), x); }

// The same with the exponentials of two neighbouring keys in one unit, [units][LANES]: rounded to
// bfloat16 after they were summed. `Rounded`: and summed once more, which is added to `rounded`.
template <int Vecs, bool Live, bool Rounded>
[[gnu::noinline]] void exponentiate_units(const float* scores, int keys, const vfloat* top,
                                          vfloat* total, vfloat* rounded, float* units) {
  vfloat sum[Vecs], sum_rounded[Vecs];
  for (int v = 0; v < Vecs; v++) sum[v] = sum_rounded[v] = splat(0.0f);
  const auto exponential = [&](const float* at, int v) {
    vfloat x = load(at) - top[v];
    if (!Live) x = vmax(splat(-1e4f), x);
    return exp_live<true>(x);
  };
  const auto end = [&](int v, vfloat low, vfloat high) {
    const vint pair = to_pairs(low, high);
    if (Rounded) sum_rounded[v] = add_pair(pair, sum_rounded[v]);
    store(units + v * WIDTH, as_float(pair));
  };
  int k = 0;
  for (; k + 1 < keys; k += 2, scores += 2 * LANES, units += LANES) {
#pragma GCC unroll 3
    for (int v = 0; v < Vecs; v++) {
      const vfloat low = exponential(scores + v * WIDTH, v);
      const vfloat high = exponential(scores + LANES + v * WIDTH, v);
      sum[v] = sum[v] + (low + high);
      end(v, low, high);
    }
  }
  for (int v = 0; k < keys && v < Vecs; v++) {
    const vfloat last = exponential(scores + v * WIDTH, v);
    sum[v] = sum[v] + last;
    end(v, last, splat(0.0f));
  }
  for (int v = 0; v < Vecs; v++) {
    total[v] = total[v] + sum[v];
    if (Rounded) rounded[v] = rounded[v] + sum_rounded[v];
  }
}

// Numbers of neighbouring keys, [keys][LANES], in one unit: [units][LANES]. What became of them is added to
// `sum`, if that is given.
template <int Vecs>
[[gnu::noinline]] void round_to_units(const float* numbers, int keys, float* units,
                                      vfloat* sum = nullptr) {
  for (int k = 0; k < keys; k += 2, numbers += 2 * LANES, units += LANES)
    for (int v = 0; v < Vecs; v++) {
      const float* at = numbers + v * WIDTH;
      const vint pair = to_pairs(load(at), k + 1 < keys ? load(at + LANES) : splat(0.0f));
      store(units + v * WIDTH, as_float(pair));
      if (sum) sum[v] = add_pair(pair, sum[v]);
    }
}
// Numbers of neighbouring lanes in one unit: [keys][ROW_UNITS].
template <int Vecs>
[[gnu::noinline]] void round_rows(const float* numbers, int keys, float* units) {
  for (int k = 0; k < keys; k++, numbers += LANES, units += ROW_UNITS)
    for (int v = 0; v < Vecs * WIDTH; v += WIDTH) store_halves(units + v / 2, load(numbers + v));
}
#else
// Only named, where a build has no pairs.
template <int Vecs>
void round_to_units(const float* numbers, int keys, float* units, vfloat* sum = nullptr);
template <int Vecs>
void round_rows(const float* numbers, int keys, float* units);
#endif

// sums[k] += the sum of the lanes of x[k], for `count` k.
inline void add_lane_sums(vfloat (&x)[WIDTH], int64_t count, float* sums) {
  transpose(x);
  vfloat total = splat(0.0f);
  for (int r = 0; r < WIDTH; r++) total = total + x[r];
  store_part<Float32>(sums, load_part<Float32>(sums, count) + total, count);
}

// Cells of columns, [cells][LANES], times factor, joined along the queries:
// target(row of cells)[cell] gets the sum or the maximum.
template <class Join, class Target>
inline void join_rows(const float* cells, int64_t count, const vfloat* factor, int lanes,
                      const int64_t* row_cell, Join join, Target target) {
  float* to[LANES] = {};  // where lanes of one row end: that row
  for (int lane = 0; lane < lanes; lane++)
    if (lane + 1 == lanes || (lane + 1) % WIDTH == 0 || row_cell[lane + 1] != row_cell[lane])
      to[lane] = target(row_cell[lane]);
  for (int64_t c = 0; c < count; c += WIDTH) {
    const int64_t here = least<int64_t>(WIDTH, count - c);
    for (int first = 0; first < lanes; first += WIDTH) {
      vfloat x[WIDTH];
      for (int64_t r = 0; r < WIDTH; r++)
        x[r] = r < here ? load(cells + (c + r) * LANES + first) * factor[first / WIDTH] : splat(0.0f);
      transpose(x);
#pragma GCC unroll 16
      for (int lane = 0; lane < WIDTH; lane++) {  // x[lane]: joined with those before it
        float* row = to[first + lane];
        if (!row) {
          if (lane + 1 < WIDTH) x[lane + 1] = join(x[lane], x[lane + 1]);
        } else if (here == WIDTH) {
          store(row + c, join(load(row + c), x[lane]));
        } else {
          store_part<Float32>(row + c, join(load_part<Float32>(row + c, here), x[lane]), here);
        }
      }
    }
  }
}
template <class Target>
inline void add_rows(const float* cells, int64_t count, const vfloat* factor, int lanes,
                     const int64_t* row_cell, bool maximum, Target target) {
  if (maximum)
    join_rows(cells, count, factor, lanes, row_cell, [](vfloat a, vfloat b) { return vmax(a, b); }, target);
  else
    join_rows(cells, count, factor, lanes, row_cell, [](vfloat a, vfloat b) { return a + b; }, target);
}

}  // namespace EYELINE_NAMESPACE
