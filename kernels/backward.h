// Gradients. With P the weights, dO the gradient of the output and D = rowsum(P dP):
//
//   dV = P^T dO      dP = dO V^T      dS = P (dP - D)      dQ = scale dS K      dK = scale dS^T Q
//
// One round = a few blocks of queries that walk over the keys twice:
//   1. e^(score - maximum so far) and dP, kept in panels [keys][LANES]; sums of e and of e dP
//   2. with the rows' maximum, sum and D known: P and dS of 64 keys at a time, and the three products
//      that they go into
// Each product is computed once. Nothing of the forward pass is needed, and D is made of the same dP
// that it is subtracted from (derivative.h).
//
// Dao et al. 2022, appendix B.4, arXiv:2205.14135, with D = rowsum(dO * O) there.
#pragma once
#include "collect.h"
#include "derivative.h"
#include "key_sums.h"
#include "microkernel.h"
#include "online.h"
#include "scratch.h"

namespace EYELINE_NAMESPACE {

template <class T>
class Backward {
 public:
  using number = typename T::number;

  Backward(const eyeline_backward& g, const Line& line, bool own_sums, Scratch& scratch)
      : all_(g), call_(g.call), line_(line), rules_(g.call), dropout_(g.call), collect_(g, line),
        sums_(g.call), at_once_(blocks_at_once(g.call)) {
    Cutter measure(nullptr);
    place(measure, own_sums);
    float* memory = scratch.reserve(measure.used());
    Cutter cut(memory);
    place(cut, own_sums);
    fine_ = memory != nullptr;
  }

  bool fine() const { return fine_; }
  static int64_t rounds(const eyeline_call& c, const Line& line) {
    return ceil_div(line.length, blocks_at_once(c) * LANES);
  }

  // Every `step`-th round of a line from the last one on, a causal mask gives that the most work. The
  // gradients of keys and values are added up in `sums`, or here and then handed over if that is
  // NULL. False if something not finite was met.
  bool run(int64_t index, int64_t part, int64_t step, float* sums, const Side& side) {
    side_ = side;
    target_ = sums ? sums : own_sums_;
    memset(target_, 0, static_cast<size_t>(sums_.size) * sizeof(float));
    batch_ = index / line_.heads;
    kv_head_ = index % line_.heads;
    pack_keys();
    const int64_t each = at_once_ * LANES;
    for (int64_t i = rounds(call_, line_) - 1 - part; i >= 0; i -= step)
      if (!round(index, i * each, least((i + 1) * each, line_.length))) return false;
    return sums || sums_.hand_over<T>(all_, own_sums_, 1, batch_, kv_head_, 0, call_.kv_len);
  }

 private:
  static constexpr int MOST = 4;  // blocks per round

  struct Rows : Online {
    Block block;
    float *query, *gradient;            // Q, dO: [width][LANES]
    float *query_rows, *gradient_rows;  // the same as [LANES][stride]
    float* query_sum;                   // dQ: [head_dim, rounded up to ROWS][LANES]
    float *weights, *gradients;         // the panels: e, dP
    float* cap_slopes;                  // a third one with softcap
    float* parts;                       // [keys / KEYS][3][LANES]: of KEYS keys, the maximum that e was
                                        // made with, later its shrink; sums of e and of e dP
    int* kind;                          // Tile of each KEYS keys
    vfloat delta[VECS], factor[VECS];
    alignas(64) int hash[LANES];        // dropout's
  };
  static constexpr int KEY_ROOM = (KEYS + ROWS - 1) / ROWS * ROWS;

  // Several blocks share what is read and written of each key. As many as have panels that stay in the
  // second-level cache; where not even one has, a few, for as long as memory does not matter.
  static int64_t blocks_at_once(const eyeline_call& c) {
    const int64_t panels = most<int64_t>(c.kv_len, 1) * LANES * (c.softcap != 0 ? 3 : 2);
    if (panels <= NEAR_FLOATS) return least<int64_t>(MOST, NEAR_FLOATS / panels);
    return most<int64_t>(1, least<int64_t>(MOST - 1, FAR_FLOATS / panels));
  }
  static constexpr int64_t NEAR_FLOATS = 256 << 10, FAR_FLOATS = 8 << 20;

  // An odd number of vectors: rows a power of two apart would throw each other out of the cache.
  static int64_t row_stride(int64_t width) { return (ceil_div(width, WIDTH) | 1) * WIDTH; }

  void place(Cutter& cut, bool own_sums) {
    const int64_t d = call_.head_dim, e = call_.value_dim, keys = round_up(call_.kv_len, KEYS);
    for (int64_t i = 0; i < at_once_; i++) {
      Rows& s = rows_[i];
      s.query = cut.take(d * LANES);
      s.gradient = cut.take(e * LANES);
      s.query_rows = cut.take(row_stride(d) * LANES);
      s.gradient_rows = cut.take(row_stride(e) * LANES);
      s.query_sum = cut.take(round_up(d, ROWS) * LANES);
      s.weights = cut.take((keys + ROWS) * LANES);
      s.gradients = cut.take((keys + ROWS) * LANES);
      s.cap_slopes = rules_.softcap() ? cut.take((keys + ROWS) * LANES) : nullptr;
      s.parts = cut.take(keys / KEYS * 3 * LANES);
      s.kind = reinterpret_cast<int*>(cut.take(keys / KEYS));
    }
    tile_ = cut.take(KEYS * LANES);
    applied_ = cut.take(KEY_ROOM * LANES);
    slopes_ = cut.take(KEY_ROOM * LANES);
    turned_ = collect_.on() ? cut.take(KEYS * LANES) : nullptr;
    keys_ = cut.take(keys / KEYS * KEY_ROOM * d);
    values_ = cut.take(keys / KEYS * KEY_ROOM * e);
    key_columns_ = cut.take(keys * round_up(d, ROWS));
    own_sums_ = own_sums ? cut.take(sums_.size) : nullptr;
  }

  // Keys and values of the line as the products want them, once for all rounds.
  void pack_keys() {
    const eyeline_call& c = call_;
    const int64_t d = c.head_dim, e = c.value_dim;
    const auto at = [&](const void* p, const int64_t* stride) {
      return static_cast<const number*>(p) + batch_ * stride[0] + kv_head_ * stride[1];
    };
    const number *key = at(c.key, c.key_stride), *value = at(c.value, c.value_stride);
    for (int64_t j = 0; j < c.kv_len; j += KEYS) {
      const int64_t n = least<int64_t>(KEYS, c.kv_len - j), room = j / KEYS * KEY_ROOM;
      pack_panels<T>(key + j * c.key_stride[2], c.key_stride[2], n, d, keys_ + room * d);
      pack_panels<T>(value + j * c.value_stride[2], c.value_stride[2], n, e, values_ + room * e);
      pack_values<T>(key + j * c.key_stride[2], c.key_stride[2], n, d, KEYS,
                     key_columns_ + j * round_up(d, ROWS));
    }
  }

  bool round(int64_t index, int64_t start, int64_t stop) {
    const int64_t vecs = ceil_div(stop - start, WIDTH), blocks = ceil_div(vecs, VECS);
    int begin = 0x7fffffff, end = 0;
    for (int64_t i = 0; i < blocks; i++) {  // as even as whole vectors allow
      int64_t from = start + i * vecs / blocks * WIDTH, to = start + (i + 1) * vecs / blocks * WIDTH;
      Rows& s = rows_[i];
      s.block.fill(call_, line_, index, from, least(to, stop));
      begin_rows(s);
      if (s.block.begin >= s.block.end) continue;
      begin = least(begin, s.block.begin);
      end = most(end, s.block.end);
    }
    begin_ = begin = begin / KEYS * KEYS;
    for (int j = begin; j < end; j += KEYS)
      for (int64_t i = 0; i < blocks; i++)
        if (!with_vecs(rows_[i].block.vecs,
                       [&](auto n) { return weigh<decltype(n)::value>(rows_[i], j); }))
          return false;
    for (int64_t i = 0; i < blocks; i++)
      if (!conclude(rows_[i])) return false;
    for (int j = begin; j < end; j += KEYS)
      for (int64_t i = 0; i < blocks; i++)
        with_vecs(rows_[i].block.vecs,
                  [&](auto n) { return give_back<decltype(n)::value>(rows_[i], j); });
    for (int64_t i = 0; i < blocks; i++)
      if (!store_queries(rows_[i])) return false;
    return true;
  }

  void begin_rows(Rows& s) {
    const Block& b = s.block;
    const eyeline_call& c = call_;
    const number *query[LANES], *gradient[LANES];
    for (int lane = 0; lane < b.count; lane++) {
      const int64_t* stride = all_.output_gradient_stride;
      query[lane] = query_row<T>(c, b, lane);
      gradient[lane] = static_cast<const number*>(all_.output_gradient) + b.batch * stride[0] +
                       b.head[lane] * stride[1] + b.row[lane] * stride[2];
    }
    rows_to_lanes<T>(query, b.count, c.head_dim, c.scale, s.query);
    gather_rows<T>(query, b.count, c.head_dim, c.scale, row_stride(c.head_dim), s.query_rows);
    rows_to_lanes<T>(gradient, b.count, c.value_dim, 1, s.gradient);
    gather_rows<T>(gradient, b.count, c.value_dim, 1, row_stride(c.value_dim), s.gradient_rows);
    memset(s.query_sum, 0, static_cast<size_t>(round_up(c.head_dim, ROWS)) * LANES * sizeof(float));
    if (dropout_.on()) dropout_.begin(b, s.hash);
    s.begin();
  }

  // The part of the keys from j on that the block sees, its begin a whole number of panels from j.
  static bool part(const Block& b, int j, int* from, int* n) {
    *from = j + most(0, b.begin - j) / ROWS * ROWS;
    *n = least(j + KEYS, b.end) - *from;
    return *n > 0;
  }
  int64_t at(int j) const { return static_cast<int64_t>(j - begin_) * LANES; }
  float* top_of(const Rows& s, int j) const { return s.parts + (j - begin_) / KEYS * 3 * LANES; }
  float* shrink_of(const Rows& s, int j) const { return top_of(s, j); }
  float* total_of(const Rows& s, int j) const { return top_of(s, j) + LANES; }
  float* delta_of(const Rows& s, int j) const { return top_of(s, j) + 2 * LANES; }
  int& kind(const Rows& s, int j) const { return s.kind[(j - begin_) / KEYS]; }

  // First walk.
  template <int Vecs>
  bool weigh(Rows& s, int j) {
    const Block& b = s.block;
    int from, n;
    if (!part(b, j, &from, &n)) return true;
    const Tile tile = rules_.prepare(b, from, n, tile_);
    kind(s, j) = static_cast<int>(tile);
    if (tile == Tile::EMPTY) return true;
    float *weights = s.weights + at(from), *gradients = s.gradients + at(from);
    vfloat top[Vecs], unused[Vecs];
    for (int v = 0; v < Vecs; v++) {
      top[v] = unused[v] = s.top[v];
      s.total[v] = splat(0.0f);
    }
    const int64_t panel = j / KEYS * KEY_ROOM + from - j;
    score_panels<Vecs>(keys_ + panel * call_.head_dim, n, s.query, call_.head_dim, weights, top);
    if (n % ROWS) find_top<Vecs>(s, weights, n, top);
    const float* added = tile == Tile::PARTIAL ? tile_ : nullptr;
    float* cap_slopes = s.cap_slopes ? s.cap_slopes + at(from) : nullptr;
    if (!s.template add<Vecs>(rules_, b, from, n, added, weights, top, unused, cap_slopes)) return false;
    score_panels<Vecs>(values_ + panel * call_.value_dim, n, s.gradient, call_.value_dim, gradients,
                       unused);
    if (dropout_.on()) drop_gradients<Vecs>(dropout_, s.hash, from, n, weights, gradients);
    if (!find_delta<Vecs>(weights, gradients, n, s.delta)) {
      // 0 times a dP that overflowed: nobody may hear of it where the key is masked (N2)
      rules_.clear<Vecs>(b, from, n, added, gradients);
      find_delta<Vecs>(weights, gradients, n, s.delta);
    }
    for (int v = 0; v < Vecs; v++) {
      store(top_of(s, j) + v * WIDTH, s.top[v]);
      store(total_of(s, j) + v * WIDTH, s.total[v]);
      store(delta_of(s, j) + v * WIDTH, s.delta[v]);
    }
    return true;
  }

  // The maximum of the keys that the block sees: the last panel has scores of others too.
  template <int Vecs>
  static void find_top(const Rows& s, const float* scores, int n, vfloat* top) {
    for (int v = 0; v < Vecs; v++) {
      top[v] = s.top[v];
      for (int k = 0; k < n; k++) top[v] = vmax(top[v], load(scores + k * LANES + v * WIDTH));
    }
  }

  // The sums of all keys from those of KEYS each, and what e is to be multiplied by in each of them:
  // the very same factor, or rows of P would not add up to exactly what D was divided by.
  bool conclude(Rows& s) {
    const Block& b = s.block;
    for (int v = 0; v < b.vecs; v++) {
      const vfloat top = finite_or_zero(s.top[v]);
      s.total[v] = s.delta[v] = splat(0.0f);
      for (int j = b.begin / KEYS * KEYS; j < b.end; j += KEYS) {
        if (kind(s, j) == static_cast<int>(Tile::EMPTY)) continue;
        const vfloat shrink = exp_or_zero(load(top_of(s, j) + v * WIDTH) - top);
        s.total[v] = fma(shrink, load(total_of(s, j) + v * WIDTH), s.total[v]);
        s.delta[v] = fma(shrink, load(delta_of(s, j) + v * WIDTH), s.delta[v]);
        store(shrink_of(s, j) + v * WIDTH, shrink);
      }
    }
    if (!normalizer(call_, b, s.top, s.total, s.factor)) return false;
    for (int v = 0; v < b.vecs; v++) s.delta[v] = s.delta[v] * s.factor[v];
    if (side_.sinks) collect_.add_sinks(b, s.top, s.total, s.delta, side_);
    return true;
  }

  // Second walk.
  template <int Vecs>
  bool give_back(Rows& s, int j) {
    const Block& b = s.block;
    int from, n;
    if (!part(b, j, &from, &n) || kind(s, j) == static_cast<int>(Tile::EMPTY)) return true;
    vfloat norm[Vecs], one[Vecs];
    for (int v = 0; v < Vecs; v++) {
      norm[v] = load(shrink_of(s, j) + v * WIDTH) * s.factor[v];
      one[v] = splat(1.0f);
    }
    const float *weights = s.weights + at(from), *gradients = s.gradients + at(from);
    if (dropout_.on())
      differentiate<Vecs, true>(weights, gradients, n, norm, s.delta, dropout_.scale(), applied_, slopes_);
    else
      differentiate<Vecs, false>(weights, gradients, n, norm, s.delta, 1, applied_, slopes_);
    if (collect_.on()) collect_.add(b, from, n, slopes_, turned_, side_);
    if (s.cap_slopes) multiply<Vecs>(slopes_, s.cap_slopes + at(from), n);
    gradient_keys(applied_, n, b.count, s.gradient_rows, row_stride(call_.value_dim),
                  sums_.values(target_) + from * sums_.value_width, sums_.value_width);
    gradient_keys(slopes_, n, b.count, s.query_rows, row_stride(call_.head_dim),
                  sums_.keys(target_) + from * sums_.key_width, sums_.key_width);
    const int64_t width = round_up(call_.head_dim, ROWS);
    output_keys<Vecs>(key_columns_ + j * width + (from - j) * ROWS, KEYS * ROWS, width, slopes_, n,
                      s.query_sum, one);
    return true;
  }

  template <int Vecs>
  static void multiply(float* slopes, const float* by, int keys) {
    for (int k = 0; k < keys; k++, slopes += LANES, by += LANES)
      for (int v = 0; v < Vecs; v++)
        store(slopes + v * WIDTH, load(slopes + v * WIDTH) * load(by + v * WIDTH));
  }

  bool store_queries(const Rows& s) const {
    const Block& b = s.block;
    vfloat factor[VECS];
    for (int v = 0; v < VECS; v++) factor[v] = splat(call_.scale);
    number* row[LANES];
    const int64_t* stride = all_.query_gradient_stride;
    for (int lane = 0; lane < b.count; lane++)
      row[lane] = static_cast<number*>(all_.query_gradient) + b.batch * stride[0] +
                  b.head[lane] * stride[1] + b.row[lane] * stride[2];
    return lanes_to_rows<T>(s.query_sum, factor, b.count, call_.head_dim, row);
  }

  const eyeline_backward& all_;
  const eyeline_call& call_;
  const Line& line_;
  Rules rules_;
  Dropout dropout_;
  Collect collect_;
  KeySums sums_;
  int64_t at_once_;
  bool fine_;
  Side side_ = {nullptr, nullptr};
  int64_t batch_ = 0, kv_head_ = 0;
  int begin_ = 0;  // the key at which the panels begin
  Rows rows_[MOST];
  float *tile_, *applied_, *slopes_, *turned_, *own_sums_;
  float *keys_, *values_;  // panels for scores and dP
  float* key_columns_;     // panels for dQ
  float* target_ = nullptr;
};

}  // namespace EYELINE_NAMESPACE
