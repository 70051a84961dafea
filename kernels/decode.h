// A few queries against many keys: one new token and its cache.
//
// Lanes that are queries would mostly be empty here. Instead they are components: K and V are read
// as they lie in memory, each number once for all query heads of the group. Keys are cut into parts
// so that every thread has some; (maximum, sum, output) of the parts are joined at the end.
//
// Dao et al. 2023, "Flash-Decoding". Differs: nothing is written but one row per part and query.
#pragma once
#include "ahead.h"
#include "online.h"
#include "scratch.h"

namespace EYELINE_NAMESPACE {

constexpr int MOST_ROWS = WIDTH < 8 ? WIDTH / 2 : 4;  // of more, lanes are better used as queries

template <class T>
class Decode {
 public:
  using number = typename T::number;

  // Whether this is the better way. (Dropout's hash runs along queries.)
  static bool suits(const eyeline_call& c, const Line& line) {
    return line.length <= MOST_ROWS && c.kv_len > 0 && c.output && !c.unrounded_output &&
           c.dropout_threshold == 0;
  }

  // How many floats a part leaves behind.
  static int64_t part_floats(const eyeline_call& c) {
    return MOST_ROWS * (2 + round_up(c.value_dim, WIDTH));
  }

  Decode(const eyeline_call& c, const Line& line, Scratch& scratch)
      : call_(c), line_(line), rules_(c), scale_(c.scale),
        query_width_(round_up(c.head_dim, WIDTH)), value_width_(round_up(c.value_dim, WIDTH)) {
    Cutter cut(scratch.reserve(MOST_ROWS * (query_width_ + KEYS) + WIDTH * WIDTH * MOST_ROWS + 64));
    query_ = cut.take(MOST_ROWS * query_width_);
    scores_ = cut.take(MOST_ROWS * KEYS);
    products_ = cut.take(MOST_ROWS * WIDTH * WIDTH);
  }

  // Keys [begin, end) of a line into `part`: maxima [MOST_ROWS], sums [MOST_ROWS], outputs. False if
  // a live score is not finite.
  bool run(int64_t index, int64_t begin, int64_t end, float* part) {
    block_.fill(call_, line_, index, 0, line_.length);
    const number* row[LANES];
    for (int r = 0; r < block_.count; r++) row[r] = query_row<T>(call_, block_, r);
    gather_rows<T>(row, block_.count, call_.head_dim, scale_.power, query_width_, query_);
    for (int r = 0; T::APART && r < block_.count; r++) sort_as_keys(query_ + r * query_width_, call_.head_dim);
    for (int64_t i = block_.count * KEYS; i < MOST_ROWS * KEYS; i++) scores_[i] = 0;
    top_ = part;
    total_ = part + MOST_ROWS;
    output_ = part + 2 * MOST_ROWS;
    for (int r = 0; r < MOST_ROWS; r++) {
      top_[r] = -INFINITE;
      total_[r] = 0;
    }
    for (int64_t i = 0; i < block_.count * value_width_; i += WIDTH) store(output_ + i, splat(0.0f));
    const int from = most(static_cast<int>(begin), block_.begin);
    const int to = least(static_cast<int>(end), block_.end);
    switch (block_.count) {
      case 1: return walk<1>(from, to);
      case 2: return walk<2>(from, to);
      case 3: return walk<3>(from, to);
      default: return walk<MOST_ROWS>(from, to);
    }
  }

  // Join the parts of a line and write its output. False if something is not finite.
  bool join(int64_t index, int64_t parts, float* first) {
    block_.fill(call_, line_, index, 0, line_.length);
    const int64_t each = part_floats(call_);
    alignas(64) float top[LANES], total[LANES] = {}, factor[LANES];
    for (int lane = 0; lane < LANES; lane++) top[lane] = -INFINITE;
    for (int r = 0; r < block_.count; r++) {
      for (int64_t p = 0; p < parts; p++) top[r] = most(top[r], first[p * each + r]);
      if (top[r] == -INFINITE) continue;
      float* sum = row_of(first, r);
      for (int64_t p = 0; p < parts; p++) {
        float* part = first + p * each;
        const float share = parts == 1 ? 1.0f : one_exp(part[r] - top[r]);
        total[r] += part[MOST_ROWS + r] * share;
        const float* output = row_of(part, r);
        for (int64_t d = 0; d < value_width_ && parts > 1; d += WIDTH) {
          const vfloat x = load(output + d) * splat(share);
          store(sum + d, p ? load(sum + d) + x : x);
        }
      }
    }
    vfloat tops[VECS], totals[VECS], factors[VECS];
    for (int v = 0; v < VECS; v++) {
      tops[v] = load(top + v * WIDTH);
      totals[v] = load(total + v * WIDTH);
    }
    if (!normalizer(call_, block_, tops, totals, factors)) return false;
    for (int v = 0; v < block_.vecs; v++) store(factor + v * WIDTH, factors[v]);
    vfloat probe = splat(0.0f);  // 0 * x is NaN for NaN and infinity
    for (int r = 0; r < block_.count; r++) {
      number* to = output_row<T>(call_, block_, r);
      const float* from = row_of(first, r);
      for (int64_t d = 0; d < call_.value_dim; d += WIDTH) {
        const vfloat x = load(from + d) * splat(factor[r]);  // past the width: sums of nothing, 0
        probe = fma(x, splat(0.0f), probe);
        store_part<T>(to + d, x, least<int64_t>(WIDTH, call_.value_dim - d));
      }
    }
    return (bits(negated(equal(probe, splat(0.0f)))) & ((1u << WIDTH) - 1)) == 0;
  }

 private:
  alignas(64) static constexpr int NUMBERS[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

  // As many sums as registers hold, and as the latency of a multiply-add asks for.
  static constexpr int at_once(int rows) { return rows == 1 && WIDTH >= 8 ? 8 : rows <= 3 || WIDTH >= 16 ? 4 : 2; }

  float* row_of(float* part, int r) const { return part + 2 * MOST_ROWS + r * value_width_; }

  static float one_exp(float x) {
    alignas(64) float lanes[WIDTH];
    store(lanes, exp_or_zero(splat(x)));
    return lanes[0];
  }

  // A query in the order in which its keys come.
  static void sort_as_keys(float* query, int64_t width) {
    for (int64_t d = 0; d + 2 * WIDTH <= width; d += 2 * WIDTH) {
      vfloat a = load(query + d), b = load(query + d + WIDTH);
      apart(a, b);
      store(query + d, a);
      store(query + d + WIDTH, b);
    }
  }

  template <int Rows>
  bool walk(int from, int to) {
    if (from >= to) return true;
    const int64_t rows = to - from;
    keys_ahead_ = Ahead<number>(key_row<T>(call_, block_, from), call_.key_stride[2], call_.head_dim, rows);
    values_ahead_ = Ahead<number>(value_row<T>(call_, block_, from), call_.value_stride[2], call_.value_dim, rows);
    // values that stay in the first-level cache while their columns are walked over
    const int64_t far = Ahead<number>::rows_far(call_.value_dim);
    const int near = static_cast<int>(least<int64_t>(KEYS, most<int64_t>(16, far)));
    for (int j = from; j < to; j += KEYS) {
      const int n = least(KEYS, to - j);
      score<Rows>(j, n);
      const bool plain = !rules_.additive() && !rules_.softcap() && n % WIDTH == 0 &&
                         j >= block_.full_begin && j + n <= block_.full_end;
      for (int r = 0; r < block_.count; r++) {
        float* scores = scores_ + r * KEYS;
        if (!plain && !apply(r, j, n, scores)) return false;
        const float shrink = weigh(r, round_up(n, WIDTH), plain, scores);
        if (shrink == 1) continue;
        float* output = output_ + r * value_width_;
        for (int64_t d = 0; d < value_width_; d += WIDTH)
          store(output + d, load(output + d) * splat(shrink));
      }
      for (int k = 0; k < n; k += near) add_values<Rows>(j, k, least(near, n - k));
    }
    return true;
  }

  // scores[row][key] = q . k. Rows past the last one repeat it: they cost less than another loop.
  template <int Rows>
  void score(int j, int n) {
    constexpr int AT_ONCE = at_once(Rows);  // Rows sums each
    constexpr int STEP = T::APART ? 2 : 1;  // vectors that are read together
    const number* key = key_row<T>(call_, block_, j);
    const int64_t stride = call_.key_stride[2], width = call_.head_dim;
    Ahead<number> ahead = keys_ahead_;
    const float* query[Rows];
    for (int r = 0; r < Rows; r++) query[r] = query_ + least(r, block_.count - 1) * query_width_;
    for (int k = 0; k < n; k += WIDTH) {
      for (int first = 0; first < WIDTH; first += AT_ONCE) {
        const number* at[AT_ONCE];
        vfloat sum[AT_ONCE][Rows];
#pragma GCC unroll 8
        for (int i = 0; i < AT_ONCE; i++) {
          at[i] = key + least(k + first + i, n - 1) * stride;
#pragma GCC unroll 8
          for (int r = 0; r < Rows; r++) sum[i][r] = splat(0.0f);
        }
        const auto add = [&](int64_t d, auto vectors) {
          constexpr int N = decltype(vectors)::value;
          if constexpr (AT_ONCE < Rows) {  // whichever is read more often stays in a register
            vfloat x[AT_ONCE][N];
#pragma GCC unroll 8
            for (int i = 0; i < AT_ONCE; i++) load_vectors<T>(at[i] + d, x[i]);
#pragma GCC unroll 2
            for (int v = 0; v < N; v++)
#pragma GCC unroll 8
              for (int r = 0; r < Rows; r++) {
                const vfloat q = in_register(load(query[r] + d + v * WIDTH));
#pragma GCC unroll 8
                for (int i = 0; i < AT_ONCE; i++) sum[i][r] = fma(x[i][v], q, sum[i][r]);
              }
          } else {
#pragma GCC unroll 8
            for (int i = 0; i < AT_ONCE; i++) {
              vfloat x[N];
              load_vectors<T>(at[i] + d, x);
#pragma GCC unroll 2
              for (int v = 0; v < N; v++)
#pragma GCC unroll 8
                for (int r = 0; r < Rows; r++) sum[i][r] = fma(x[v], load(query[r] + d + v * WIDTH), sum[i][r]);
            }
          }
        };
        int64_t d = 0;
        constexpr int64_t LINE = Ahead<number>::LINE;
        for (; d + LINE <= width; d += LINE) {
          for (int i = 0; i < AT_ONCE; i++) ahead.ask();
#pragma GCC unroll 8
          for (int64_t e = 0; e < LINE; e += STEP * WIDTH) add(d + e, Constant<STEP>());
        }
        for (int i = 0; d < width && i < AT_ONCE; i++) ahead.ask();
        if constexpr (STEP > 1)
          for (; d + STEP * WIDTH <= width; d += STEP * WIDTH) add(d, Constant<STEP>());
        for (; d + WIDTH <= width; d += WIDTH) add(d, Constant<1>());
        if (d < width)
          for (int i = 0; i < AT_ONCE; i++) {
            const vfloat x = load_part<T>(at[i] + d, width - d);
            for (int r = 0; r < Rows; r++) sum[i][r] = fma(x, load(query[r] + d), sum[i][r]);
          }
#pragma GCC unroll 8
        for (int i = 0; i < AT_ONCE; i++)
#pragma GCC unroll 8
          for (int r = 0; r < Rows; r++)
            store(products_ + (r * WIDTH + first + i) * WIDTH, sum[i][r]);
      }
      for (int r = 0; r < block_.count; r++) {
        vfloat x[WIDTH];
        for (int i = 0; i < WIDTH; i++) x[i] = load(products_ + (r * WIDTH + i) * WIDTH);
        transpose(x);
        for (int half = WIDTH / 2; half; half /= 2)  // pairs of pairs: it rounds less
          for (int i = 0; i < half; i++) x[i] = x[i] + x[i + half];
        store(scores_ + r * KEYS + k, x[0] * splat(scale_.rest));
      }
    }
    keys_ahead_ = ahead;
  }

  // What stands between q . k and softmax, -inf where masked. False if a live score is not finite.
  bool apply(int r, int j, int n, float* scores) const {
    const vfloat masked = splat(-INFINITE), zero = splat(0.0f);
    const vint first = splat(block_.first[r]), last = splat(least(block_.last[r], j + n));
    vfloat spoiled = zero;
    for (int k = 0; k < n; k += WIDTH) {
      const vint key = plus(splat(j + k), load(NUMBERS));
      vfloat s = load(scores + k), probe = s * zero;
      vmask live = both(less(key, last), negated(less(key, first)));
      if (rules_.softcap()) s = rules_.cap(s);
      if (rules_.additive()) {
        const vfloat added = rules_.row_part(block_, r, j + k, least(WIDTH, n - k));
        live = both(live, negated(equal(added, masked)));
        s = s + added;
        probe = fma(s, zero, probe);
      }
      spoiled = spoiled + pick(live, probe, zero);
      store(scores + k, pick(live, s, masked));
    }
    return (bits(negated(equal(spoiled, zero))) & ((1u << WIDTH) - 1)) == 0;
  }

  // Scores to exponentials; returns what must be done to everything summed so far.
  float weigh(int r, int64_t n, bool plain, float* scores) {
    vfloat highest = splat(top_[r]);
    for (int64_t k = 0; k < n; k += WIDTH) highest = vmax(highest, load(scores + k));
    alignas(64) float lanes[WIDTH];
    store(lanes, highest);
    for (int half = WIDTH / 2; half; half /= 2)
      for (int i = 0; i < half; i++) lanes[i] = most(lanes[i], lanes[i + half]);
    const float top = lanes[0];
    const float base = top == -INFINITE ? 0.0f : top;
    const float shrink = top == top_[r] ? 1.0f : one_exp(top_[r] - base);
    vfloat sum = splat(0.0f);
    for (int64_t k = 0; k < n; k += WIDTH) {
      const vfloat x = load(scores + k) - splat(base);
      const vfloat e = plain ? exp_live(x) : exp_or_zero(x);
      store(scores + k, e);
      sum = sum + e;
    }
    store(lanes, sum);
    for (int half = WIDTH / 2; half; half /= 2)
      for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    top_[r] = top;
    total_[r] = total_[r] * shrink + lanes[0];
    return shrink;
  }

  // output[row] += sum of weight * value.
  template <int Rows>
  void add_values(int j, int first, int n) {
    constexpr int CHUNK = at_once(Rows);
    const number* value = value_row<T>(call_, block_, j + first);
    const int64_t stride = call_.value_stride[2], width = call_.value_dim;
    int64_t d = 0;
    for (; d + CHUNK * WIDTH <= width; d += CHUNK * WIDTH)
      add_chunk<Rows, CHUNK>(value + d, stride, first, n, d, CHUNK * WIDTH);
    for (; d < width; d += WIDTH) add_chunk<Rows, 1>(value + d, stride, first, n, d, width - d);
  }

  template <int Rows, int Chunk>
  void add_chunk(const number* value, int64_t stride, int first, int n, int64_t d, int64_t width) {
    vfloat sum[Rows][Chunk];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 8
      for (int c = 0; c < Chunk; c++) sum[r][c] = splat(0.0f);
    const float* weights = scores_ + first;
    Ahead<number> ahead = values_ahead_;
    const int64_t lines = ahead.lines(d, d + least<int64_t>(Chunk * WIDTH, width));
    for (int k = 0; k < n; k++, value += stride) {
      for (int64_t i = 0; i < lines; i++) ahead.ask();
      vfloat x[Chunk];
      if constexpr (Chunk > 1)
        load_vectors<T>(value, x);
      else
        x[0] = load_part<T>(value, width);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; r++) {
        const vfloat weight = splat(weights[r * KEYS + k]);
#pragma GCC unroll 8
        for (int c = 0; c < Chunk; c++) sum[r][c] = fma(weight, x[c], sum[r][c]);
      }
    }
    values_ahead_ = ahead;
    if constexpr (T::APART && Chunk > 1)
#pragma GCC unroll 8
      for (int r = 0; r < Rows; r++)
#pragma GCC unroll 8
        for (int c = 0; c < Chunk; c += 2) together(sum[r][c], sum[r][c + 1]);
    for (int r = 0; r < least(Rows, block_.count); r++)
      for (int c = 0; c < Chunk; c++) {
        float* at = output_ + r * value_width_ + d + c * WIDTH;
        store(at, load(at) + sum[r][c]);
      }
  }

  const eyeline_call& call_;
  const Line& line_;
  Rules rules_;
  Scale scale_;
  int64_t query_width_, value_width_;
  Block block_;
  Ahead<number> keys_ahead_, values_ahead_;
  float *query_, *scores_, *products_;
  float *top_ = nullptr, *total_ = nullptr, *output_ = nullptr;
};

}  // namespace EYELINE_NAMESPACE
