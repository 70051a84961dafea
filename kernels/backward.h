// Gradients. With P the weights, dO the gradient of the output and D = rowsum(P dP):
//
//   dV = P^T dO      dP = dO V^T      dS = P (dP - D)      dQ = scale dS K      dK = scale dS^T Q
//
// Each product is computed once. Where the forward pass has left the rows' maxima, sums and outputs, the
// blocks of queries of a round walk over the keys together once: P, dP and dS of 64 keys at a time, and the
// three products that they go into, with D = rowsum(dO * O) (Dao et al. 2022, appendix B.4, arXiv:2205.14135).
//
// Where it has not, and in blocks with a row that looks at one key alone, they walk twice:
//   1. e^(score - maximum so far) and dP, kept in panels [keys][LANES]; sums of e and of e dP
//   2. with the rows' maximum, sum and D known, the rest
// so that D is made of the same dP that it is subtracted from (derivative.h).
#pragma once
#include "backward_rows.h"
#include "collect.h"
#include "derivative.h"
#include "key_sums.h"
#include "line_keys.h"

namespace EYELINE_NAMESPACE {

template <class T, class U>
class Backward {
 public:
  Backward(const eyeline_backward& g, const Line& line, bool own_sums, Scratch& scratch)
      : all_(g), call_(g.call), line_(line), rules_(g.call), dropout_(g.call), collect_(g, line),
        keys_(g.call), sums_(g.call), rest_(Scale(g.call.scale).rest), at_once_(blocks_at_once(g, line)),
        at_once_twice_(least(at_once_, blocks_at_once_twice(g.call))),
        centers_(!g.call.sinks && g.call.softcap == 0 && !numbers()) {
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

  // Whether the rows begin with what the forward pass found. Where weights are multiplied as bfloat16 its output
  // is made of rounded ones; gradients that are not rounded themselves could tell.
  static bool knows(const eyeline_backward& g) {
    return g.forward_output && !(PAIRED && (g.bias_gradient || g.diagonal_gradient || g.sinks_gradient));
  }
  static int64_t rounds(const eyeline_backward& g, const Line& line) {
    return ceil_div(line.length, blocks_at_once(g, line) * LANES);
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
    keys_.read(batch_, kv_head_);
    const int64_t each = at_once_ * LANES;
    for (int64_t i = rounds(all_, line_) - 1 - part; i >= 0; i -= step)
      if (!round(index, i * each, least((i + 1) * each, line_.length))) return false;
    return sums || sums_.hand_over<T>(all_, own_sums_, 1, batch_, kv_head_, 0, call_.kv_len);
  }

 private:
  static constexpr int MOST = 8;  // blocks per round
  static constexpr bool PAIRED = U::TERMS > 1;

  // Blocks of a round, in the order of their queries, and the keys that some of them see.
  struct Group {
    Rows* rows[MOST];
    int64_t count = 0;
    int begin = 0x7fffffff, end = 0;

    void add(Rows& s) {
      rows[count++] = &s;
      if (s.block.begin >= s.block.end) return;
      begin = least(begin, s.block.begin / KEYS * KEYS);
      end = most(end, s.block.end);
    }
  };

  // Several blocks share what is read and written of each key: as many as give each thread a few rounds.
  static int64_t blocks_at_once(const eyeline_backward& g, const Line& line) {
    if (!knows(g)) return blocks_at_once_twice(g.call);
    const int64_t blocks = most<int64_t>(1, ceil_div(line.length, LANES));
    int64_t each = MOST;
    while (each > 1 && line.count * ceil_div(blocks, each) < 4 * g.call.threads) each /= 2;
    return ceil_div(blocks, ceil_div(blocks, each));  // as even as whole blocks allow
  }
  // Where they walk twice, as many as have panels that stay in the second-level cache; where not even one has, a
  // few, for as long as memory does not matter.
  static int64_t blocks_at_once_twice(const eyeline_call& c) {
    constexpr int FEW = SMALL_BLOCKS ? 8 : 4;
    const int64_t panels = most<int64_t>(c.kv_len, 1) * LANES * (c.softcap != 0 ? 3 : 2);
    if (panels <= NEAR_FLOATS) return least<int64_t>(FEW, NEAR_FLOATS / panels);
    return most<int64_t>(1, least<int64_t>(SMALL_BLOCKS ? FEW : 3, FAR_FLOATS / panels));
  }
  static constexpr int64_t NEAR_FLOATS = (SMALL_BLOCKS ? 100 : 256) << 10, FAR_FLOATS = 8 << 20;

  void place(Cutter& cut, bool own_sums) {
    for (int64_t i = 0; i < at_once_; i++) rows_[i].place(cut, call_);
    for (int64_t i = 0; i < at_once_twice_; i++) panels_[i].place(cut, call_);
    tile_ = cut.take(KEYS * LANES);
    applied_ = cut.take(KEY_ROOM * LANES);
    slopes_ = cut.take(KEY_ROOM * LANES);
    turned_ = collect_.on() ? cut.take(KEYS * LANES) : nullptr;
    for (float*& paired : paired_) paired = PAIRED ? cut.take(KEY_ROOM * ROW_UNITS) : nullptr;
    keys_.place(cut);
    own_sums_ = own_sums ? cut.take(sums_.size) : nullptr;
  }

  bool round(int64_t index, int64_t start, int64_t stop) {
    const int64_t vecs = ceil_div(stop - start, WIDTH), blocks = ceil_div(vecs, VECS);
    Group once, twice;
    for (int64_t i = 0; i < blocks; i++) {  // as even as whole vectors allow
      int64_t from = start + i * vecs / blocks * WIDTH, to = start + (i + 1) * vecs / blocks * WIDTH;
      Rows& s = rows_[i];
      s.block.fill(call_, line_, index, from, least(to, stop));
      s.template read<T, U>(all_, dropout_);
      if (knows(all_)) s.template recall<T>(all_);
      (s.recalled && !s.peaked ? once : twice).add(s);
    }
    if (!walk_once(once)) return false;
    for (int64_t i = 0; i < twice.count; i += at_once_twice_) {
      Group some;
      for (int64_t k = i; k < least(i + at_once_twice_, twice.count); k++) some.add(*twice.rows[k]);
      if (!walk_twice(some)) return false;
    }
    for (int64_t i = 0; i < blocks; i++) {
      if (centers_) rows_[i].center(call_.head_dim);
      if (!rows_[i].template write<T>(all_)) return false;
    }
    return true;
  }

  bool walk_once(const Group& group) {
    for (int64_t i = 0; i < group.count; i++) {
      group.rows[i]->panels = panels_[0];  // in turns, KEYS keys of each
      start_rows(*group.rows[i]);
    }
    return each_part(group, [&](auto vecs, Rows& s, int j) {
      constexpr int Vecs = decltype(vecs)::value;
      s.first_key = j;
      if (!weigh<Vecs>(s, j)) return false;
      if (!differentiate_part<Vecs>(s, j)) {
        // 0 times a dP that overflowed: nobody may hear of it where the key is masked (N2)
        weigh<Vecs>(s, j);
        clear<Vecs>(s, j);
        if (!differentiate_part<Vecs>(s, j)) return false;
      }
      multiply<Vecs>(s, j);
      return true;
    });
  }

  bool walk_twice(const Group& group) {
    for (int64_t i = 0; i < group.count; i++) {
      group.rows[i]->panels = panels_[i];
      group.rows[i]->first_key = group.begin;
    }
    if (!each_part(group, [&](auto vecs, Rows& s, int j) { return weigh<decltype(vecs)::value>(s, j); }))
      return false;
    for (int64_t i = 0; i < group.count; i++) {
      Rows& s = *group.rows[i];
      if (!s.conclude(call_)) return false;
      if (!call_.sinks) dropout_.on() ? s.template refine<true>() : s.template refine<false>();
      start_rows(s);
    }
    return each_part(group, [&](auto vecs, Rows& s, int j) {
      constexpr int Vecs = decltype(vecs)::value;
      if (!differentiate_part<Vecs>(s, j)) return false;
      multiply<Vecs>(s, j);
      return true;
    });
  }

  // f(how many vectors, rows, key) for KEYS keys at a time that each block of the group sees some of.
  template <class F>
  static bool each_part(const Group& group, F f) {
    for (int j = group.begin; j < group.end; j += KEYS)
      for (int64_t i = 0; i < group.count; i++) {
        Rows& s = *group.rows[i];
        if (!with_vecs(s.block.vecs, [&](auto vecs) { return f(vecs, s, j); })) return false;
      }
    return true;
  }

  // What a block's rows begin to hand back with, once their maximum, sum and D are known.
  void start_rows(Rows& s) {
    s.read_numbers(all_);
    if (side_.sinks) collect_.add_sinks(s.block, s.top, s.total, s.sink_delta, side_);
  }

  // e^(score - maximum) and dP of KEYS keys, into the panels; unless all D are known, what they will be made of.
  template <int Vecs>
  bool weigh(Rows& s, int j) {
    const Block& b = s.block;
    int from, n;
    if (!s.part(j, &from, &n)) return true;
    const Tile tile = rules_.prepare(b, from, n, tile_);
    s.kind_of(j) = static_cast<int>(tile);
    if (tile == Tile::EMPTY) return true;
    float *weights = s.weights(from), *gradients = s.gradients(from), *cap_slopes = s.cap_slopes(from);
    vfloat top[Vecs], unused[Vecs];
    for (int v = 0; v < Vecs; v++) {
      top[v] = unused[v] = s.top[v];
      s.total[v] = splat(0.0f);
    }
    score_panels<Vecs, U>(keys_.keys(from), n, s.query, call_.head_dim, rest_, weights, top);
    const float* added = tile == Tile::PARTIAL ? tile_ : nullptr;
    if (!s.template add<Vecs>(rules_, b, from, n, added, weights, top, unused, cap_slopes)) return false;
    score_panels<Vecs, U>(keys_.values(from), n, s.gradient, call_.value_dim, 1, gradients, unused);
    if (dropout_.on()) drop_gradients<Vecs>(dropout_, s.hash, from, n, weights, gradients);
    if (s.recalled) s.adjust(j);
    if (s.recalled && !s.peaked) return true;
    vfloat delta[Vecs];
    if (!find_delta<Vecs>(weights, gradients, n, delta)) {
      clear<Vecs>(s, j);  // see above
      find_delta<Vecs>(weights, gradients, n, delta);
    }
    for (int v = 0; v < Vecs; v++) {
      if (!s.recalled) store(s.top_of(j) + v * WIDTH, s.top[v]);
      store(s.total_of(j) + v * WIDTH, s.total[v]);
      store(s.delta_of(j) + v * WIDTH, delta[v]);
    }
    return true;
  }

  // dP of masked keys becomes 0, right after they were weighed.
  template <int Vecs>
  void clear(Rows& s, int j) {
    int from, n;
    if (!s.part(j, &from, &n) || s.empty(j)) return;
    rules_.clear<Vecs>(s.block, from, n, s.kind_of(j) == static_cast<int>(Tile::PARTIAL) ? tile_ : nullptr,
                       s.gradients(from));
  }

  // From e and dP of KEYS keys: P and dS, as the products want them. False if dS is not finite.
  template <int Vecs>
  bool differentiate_part(Rows& s, int j) {
    int from, n;
    if (!s.part(j, &from, &n) || s.empty(j)) return true;
    vfloat norm[Vecs];
    for (int v = 0; v < Vecs; v++) norm[v] = load(s.shrink_of(j) + v * WIDTH) * s.factor[v];
    float *weights = s.weights(from), *gradients = s.gradients(from);
    if (PAIRED && !dropout_.on() && !collect_.on() && !s.cap_slopes(from) && !numbers())
      return differentiate_in_pairs<Vecs>(weights, gradients, n, norm, s);
    // where they are near and nobody needs them any more, P and dS take the places of e and dP
    const bool here = s.recalled && !s.peaked && !numbers();
    float *applied = here ? weights : applied_, *slopes = here ? gradients : slopes_;
    vfloat unrounded[VECS] = {}, *rest = PAIRED ? unrounded : s.rest;  // wanted is the sum of what is multiplied
    const bool fine = dropout_.on() ? differentiate<Vecs, true>(weights, gradients, n, norm, s.delta, dropout_.scale(),
                                                                applied, slopes, rest)
                                    : differentiate<Vecs, false>(weights, gradients, n, norm, s.delta, 1, applied,
                                                                 slopes, rest);
    if (numbers()) add_row_slopes<Vecs>(weights, n, norm, s.first, s.second, slopes);
    if (fine && collect_.on()) collect_.add(s.block, from, n, slopes, turned_, side_);
    if (const float* by = s.cap_slopes(from)) scale_slopes<Vecs>(slopes, by, n);
    factors_ = {applied, slopes, slopes};
    if (PAIRED && fine) round_to_pairs<Vecs>(applied, slopes, n, s.rest);
    return fine;
  }

  // The three products that P and dS of KEYS keys go into.
  template <int Vecs>
  void multiply(Rows& s, int j) {
    int from, n;
    if (!s.part(j, &from, &n) || s.empty(j)) return;
    if (centers_) keys_.count(s, from, n);
    const int64_t rows = units<U>(s.block.count);
    gradient_keys<U>(factors_.values, n, rows, s.gradient_rows, Rows::row_stride(call_.value_dim),
                     sums_.values(target_) + from * sums_.value_width, sums_.value_width);
    gradient_keys<U>(factors_.keys, n, rows, s.query_rows, Rows::row_stride(call_.head_dim),
                     sums_.keys(target_) + from * sums_.key_width, sums_.key_width);
    keys_.template add_times<Vecs>(factors_.queries, from, n, s.query_sum);
  }

  // Whether gradients of the rows' own numbers come in.
  bool numbers() const { return all_.logsumexp_gradient || all_.entropy_gradient; }

  // P and dS to bfloat16, straight from e and dP or from what `differentiate` made of them.
  template <int Vecs>
  bool differentiate_in_pairs(const float* weights, const float* gradients, int n, const vfloat* norm, Rows& s) {
    factors_ = {paired_[0], paired_[1], paired_[2]};
    if constexpr (PAIRED)
      return differentiate_units<Vecs>(weights, gradients, n, norm, s.delta, paired_[0], paired_[1], paired_[2],
                                       s.rest);
    return true;
  }
  template <int Vecs>
  void round_to_pairs(const float* applied, const float* slopes, int n, vfloat* rest) {
    factors_ = {paired_[0], paired_[1], paired_[2]};
    if constexpr (PAIRED) {
      const int rows = static_cast<int>(round_up(n, WHOLE_KEYS));
      round_rows<Vecs>(applied, rows, paired_[0]);
      round_rows<Vecs>(slopes, rows, paired_[1]);
      round_to_units<Vecs>(slopes, rows, paired_[2], rest);
    }
  }

  template <int Vecs>
  static void scale_slopes(float* slopes, const float* by, int keys) {
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
  LineKeys<T, U> keys_;
  KeySums sums_;
  float rest_;
  int64_t at_once_, at_once_twice_;  // blocks of a round; those of them that walk twice at the same time
  bool centers_, fine_ = false;
  Side side_ = {nullptr, nullptr};
  int64_t batch_ = 0, kv_head_ = 0;
  Rows rows_[MOST];
  Panels panels_[MOST];
  struct {
    const float *values, *keys, *queries;
  } factors_;  // of the keys at hand: P for dV, dS for dK, dS for dQ
  float *tile_, *applied_, *slopes_, *turned_, *own_sums_;
  float* paired_[3];       // P and dS in units along the queries, dS in units along the keys
  float* target_ = nullptr;
};

}  // namespace EYELINE_NAMESPACE
