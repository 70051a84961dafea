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
#include "backward_rows.h"
#include "collect.h"
#include "derivative.h"
#include "key_sums.h"
#include "microkernel.h"

namespace EYELINE_NAMESPACE {

template <class T, class U>
class Backward {
 public:
  using number = typename T::number;

  Backward(const eyeline_backward& g, const Line& line, bool own_sums, Scratch& scratch)
      : all_(g), call_(g.call), line_(line), rules_(g.call), dropout_(g.call), collect_(g, line),
        sums_(g.call), rest_(Scale(g.call.scale).rest), at_once_(blocks_at_once(g.call)) {
    Cutter measure(nullptr);
    place(measure, own_sums);
    float* memory = scratch.reserve(measure.used());
    Cutter cut(memory);
    place(cut, own_sums);
    fine_ = memory != nullptr;
    if constexpr (TILED<U>)  // units that no query fills are never written, and meet zeros: no NaN may be there
      for (int i = 0; fine_ && i < 2; i++) memset(paired_[i], 0, sizeof(float) * KEY_ROOM * ROW_UNITS);
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
  static constexpr int MOST = SMALL_BLOCKS ? 8 : 4;  // blocks per round
  static constexpr bool PAIRED = U::TERMS > 1;

  // Several blocks share what is read and written of each key. As many as have panels that stay in the
  // second-level cache; where not even one has, a few, for as long as memory does not matter.
  static int64_t blocks_at_once(const eyeline_call& c) {
    const int64_t panels = most<int64_t>(c.kv_len, 1) * LANES * (c.softcap != 0 ? 3 : 2);
    if (panels <= NEAR_FLOATS) return least<int64_t>(MOST, NEAR_FLOATS / panels);
    return most<int64_t>(1, least<int64_t>(SMALL_BLOCKS ? MOST : 3, FAR_FLOATS / panels));
  }
  static constexpr int64_t NEAR_FLOATS = (SMALL_BLOCKS ? 100 : 256) << 10, FAR_FLOATS = 8 << 20;

  void place(Cutter& cut, bool own_sums) {
    const int64_t d = call_.head_dim, e = call_.value_dim, keys = round_up(call_.kv_len, KEYS);
    for (int64_t i = 0; i < at_once_; i++) rows_[i].place(cut, call_);
    tile_ = cut.take(KEYS * LANES);
    applied_ = cut.take(KEY_ROOM * LANES);
    slopes_ = cut.take(KEY_ROOM * LANES);
    turned_ = collect_.on() ? cut.take(KEYS * LANES) : nullptr;
    for (float*& paired : paired_) paired = PAIRED ? cut.take(KEY_ROOM * ROW_UNITS) : nullptr;
    keys_ = cut.take(keys / KEYS * KEY_ROOM * units<U>(d));
    values_ = cut.take(keys / KEYS * KEY_ROOM * units<U>(e));
    key_columns_ = cut.take(units<U>(keys) * round_up(d, U::PANEL));
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
      const number *k = key + j * c.key_stride[2], *v = value + j * c.value_stride[2];
      float* columns = key_columns_ + units<U>(j) * round_up(d, U::PANEL);
      if constexpr (TILED<U>) {
        pack_key_tiles(k, c.key_stride[2], n, d, keys_ + room * units<U>(d));
        pack_key_tiles(v, c.value_stride[2], n, e, values_ + room * units<U>(e));
        pack_value_tiles(k, c.key_stride[2], n, d, columns);
      } else if constexpr (PAIRED) {
        pack_unit_panels(k, c.key_stride[2], n, d, keys_ + room * units<U>(d));
        pack_unit_panels(v, c.value_stride[2], n, e, values_ + room * units<U>(e));
        pack_value_units(k, c.key_stride[2], n, d, units<U>(KEYS), columns);
      } else {
        pack_panels<T>(k, c.key_stride[2], n, d, keys_ + room * d);
        pack_panels<T>(v, c.value_stride[2], n, e, values_ + room * e);
        pack_values<T>(k, c.key_stride[2], n, d, KEYS, columns);
      }
    }
  }

  bool round(int64_t index, int64_t start, int64_t stop) {
    const int64_t vecs = ceil_div(stop - start, WIDTH), blocks = ceil_div(vecs, VECS);
    int begin = 0x7fffffff, end = 0;
    for (int64_t i = 0; i < blocks; i++) {  // as even as whole vectors allow
      int64_t from = start + i * vecs / blocks * WIDTH, to = start + (i + 1) * vecs / blocks * WIDTH;
      Rows& s = rows_[i];
      s.block.fill(call_, line_, index, from, least(to, stop));
      s.template read<T, U>(all_, dropout_);
      if (s.block.begin >= s.block.end) continue;
      begin = least(begin, s.block.begin);
      end = most(end, s.block.end);
    }
    begin = begin / KEYS * KEYS;
    for (int64_t i = 0; i < blocks; i++) rows_[i].first_key = begin;
    for (int j = begin; j < end; j += KEYS)
      for (int64_t i = 0; i < blocks; i++)
        if (!with_vecs(rows_[i].block.vecs,
                       [&](auto n) { return weigh<decltype(n)::value>(rows_[i], j); }))
          return false;
    for (int64_t i = 0; i < blocks; i++)
      if (!rows_[i].conclude(call_)) return false;
    for (int64_t i = 0; !call_.sinks && i < blocks; i++)
      dropout_.on() ? rows_[i].template refine<true>() : rows_[i].template refine<false>();
    for (int64_t i = 0; i < blocks; i++) rows_[i].read_numbers(all_);
    for (int64_t i = 0; side_.sinks && i < blocks; i++)
      collect_.add_sinks(rows_[i].block, rows_[i].top, rows_[i].total, rows_[i].sink_delta, side_);
    for (int j = begin; j < end; j += KEYS)
      for (int64_t i = 0; i < blocks; i++)
        with_vecs(rows_[i].block.vecs,
                  [&](auto n) { return give_back<decltype(n)::value>(rows_[i], j); });
    for (int64_t i = 0; i < blocks; i++)
      if (!rows_[i].template write<T>(all_)) return false;
    return true;
  }

  // First walk.
  template <int Vecs>
  bool weigh(Rows& s, int j) {
    const Block& b = s.block;
    int from, n;
    if (!s.part(j, &from, &n)) return true;
    const Tile tile = rules_.prepare(b, from, n, tile_);
    s.kind_of(j) = static_cast<int>(tile);
    if (tile == Tile::EMPTY) return true;
    float *weights = s.weights + s.at(from), *gradients = s.gradients + s.at(from);
    vfloat top[Vecs], unused[Vecs];
    for (int v = 0; v < Vecs; v++) {
      top[v] = unused[v] = s.top[v];
      s.total[v] = splat(0.0f);
    }
    const int64_t panel = j / KEYS * KEY_ROOM + from - j;
    score_panels<Vecs, U>(keys_ + panel * units<U>(call_.head_dim), n, s.query, call_.head_dim, rest_, weights,
                       top);
    const float* added = tile == Tile::PARTIAL ? tile_ : nullptr;
    float* cap_slopes = s.cap_slopes ? s.cap_slopes + s.at(from) : nullptr;
    if (!s.template add<Vecs>(rules_, b, from, n, added, weights, top, unused, cap_slopes)) return false;
    score_panels<Vecs, U>(values_ + panel * units<U>(call_.value_dim), n, s.gradient, call_.value_dim, 1,
                       gradients, unused);
    if (dropout_.on()) drop_gradients<Vecs>(dropout_, s.hash, from, n, weights, gradients);
    if (!find_delta<Vecs>(weights, gradients, n, s.delta)) {
      // 0 times a dP that overflowed: nobody may hear of it where the key is masked (N2)
      rules_.clear<Vecs>(b, from, n, added, gradients);
      find_delta<Vecs>(weights, gradients, n, s.delta);
    }
    for (int v = 0; v < Vecs; v++) {
      store(s.top_of(j) + v * WIDTH, s.top[v]);
      store(s.total_of(j) + v * WIDTH, s.total[v]);
      store(s.delta_of(j) + v * WIDTH, s.delta[v]);
    }
    return true;
  }

  // Second walk.
  template <int Vecs>
  bool give_back(Rows& s, int j) {
    const Block& b = s.block;
    int from, n;
    if (!s.part(j, &from, &n) || s.empty(j)) return true;
    vfloat norm[Vecs], one[Vecs];
    for (int v = 0; v < Vecs; v++) {
      norm[v] = load(s.shrink_of(j) + v * WIDTH) * s.factor[v];
      one[v] = splat(1.0f);
    }
    const float *weights = s.weights + s.at(from), *gradients = s.gradients + s.at(from);
    const float *applied = applied_, *slopes = slopes_, *columns = slopes_;
    if (PAIRED) applied = paired_[0], slopes = paired_[1], columns = paired_[2];
    if (PAIRED && !dropout_.on() && !collect_.on() && !s.cap_slopes && !numbers()) {
      differentiate_in_pairs<Vecs>(weights, gradients, n, norm, s.delta);
    } else {
      if (dropout_.on())
        differentiate<Vecs, true>(weights, gradients, n, norm, s.delta, dropout_.scale(), applied_,
                                  slopes_);
      else
        differentiate<Vecs, false>(weights, gradients, n, norm, s.delta, 1, applied_, slopes_);
      if (numbers()) add_row_slopes<Vecs>(weights, n, norm, s.first, s.second, slopes_);
      if (collect_.on()) collect_.add(b, from, n, slopes_, turned_, side_);
      if (s.cap_slopes) multiply<Vecs>(slopes_, s.cap_slopes + s.at(from), n);
      if (PAIRED) round_to_pairs<Vecs>(n);
    }
    gradient_keys<U>(applied, n, units<U>(b.count), s.gradient_rows, Rows::row_stride(call_.value_dim),
                     sums_.values(target_) + from * sums_.value_width, sums_.value_width);
    gradient_keys<U>(slopes, n, units<U>(b.count), s.query_rows, Rows::row_stride(call_.head_dim),
                     sums_.keys(target_) + from * sums_.key_width, sums_.key_width);
    const int64_t width = round_up(call_.head_dim, U::PANEL);
    output_keys<Vecs, U>(key_columns_ + units<U>(j) * width + (from - j) / U::TERMS * (TILED<U> ? width : ROWS),
                         units<U>(KEYS) * ROWS, ROWS, width, columns, units<U>(n), s.query_sum, one);
    return true;
  }

  // Whether gradients of the rows' own numbers come in.
  bool numbers() const { return all_.logsumexp_gradient || all_.entropy_gradient; }

  // P and dS to bfloat16, straight from what the first walk left or from `applied_` and `slopes_`.
  template <int Vecs>
  void differentiate_in_pairs(const float* weights, const float* gradients, int n,
                              const vfloat* norm, const vfloat* delta) {
    if constexpr (PAIRED)
      differentiate_units<Vecs>(weights, gradients, n, norm, delta, paired_[0], paired_[1], paired_[2]);
  }
  template <int Vecs>
  void round_to_pairs(int n) {
    if constexpr (PAIRED) {
      const int rows = static_cast<int>(round_up(n, WHOLE_KEYS));
      round_rows<Vecs>(applied_, rows, paired_[0]);
      round_rows<Vecs>(slopes_, rows, paired_[1]);
      round_to_units<Vecs>(slopes_, rows, paired_[2]);
    }
  }

  template <int Vecs>
  static void multiply(float* slopes, const float* by, int keys) {
    for (int k = 0; k < keys; k++, slopes += LANES, by += LANES)
      for (int v = 0; v < Vecs; v++)
        store(slopes + v * WIDTH, load(slopes + v * WIDTH) * load(by + v * WIDTH));
  }

  typename U::Registers registers_;
  const eyeline_backward& all_;
  const eyeline_call& call_;
  const Line& line_;
  Rules rules_;
  Dropout dropout_;
  Collect collect_;
  KeySums sums_;
  float rest_;
  int64_t at_once_;
  bool fine_ = false;
  Side side_ = {nullptr, nullptr};
  int64_t batch_ = 0, kv_head_ = 0;
  Rows rows_[MOST];
  float *tile_, *applied_, *slopes_, *turned_, *own_sums_;
  float* paired_[3];       // P and dS in units along the queries, dS in units along the keys
  float *keys_, *values_;  // panels for scores and dP
  float* key_columns_;     // panels for dQ
  float* target_ = nullptr;
};

}  // namespace EYELINE_NAMESPACE
