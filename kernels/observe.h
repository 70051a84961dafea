// Attention that is looked at while it is computed.
//
// Statistics need the final sum of a row, so that the scores of a stretch of keys are kept: a panel [keys][LANES]
// that stays in the second-level cache. Two walks over it:
//   1. scores^T = K Q^T, masks, maximum; the groups' maxima for top-k
//   2. what may be among the top-k; e^(score - maximum) in place, with its sums along the keys;
//      output += V^T e
// and, with all of them done and 1 / sum known, a third one over what was kept for it, if it was asked for:
//   3. sums along the queries
// There is no second K Q^T, and only sums are ever rescaled.
#pragma once
#include "microkernel.h"
#include "packed.h"
#include "rules.h"
#include "seen.h"

namespace EYELINE_NAMESPACE {

// Where a chunk of queries may add sums along the queries without meeting another chunk.
struct Share {
  float* received;           // [kv_len]
  float* pooled;             // the head's [pool_rows][pool_cols]
  float* edge;               // [2][pool_cols] instead, for the cells that it shares
  int64_t edge_row[2];       // -1 = none
  float* pooled_row(int64_t row, int64_t cols) const {
    if (row == edge_row[0]) return edge;
    if (row == edge_row[1]) return edge + cols;
    return pooled + row * cols;
  }
};

template <class T, class U>
class Observe {
 public:
  Observe(const eyeline_call& c, Scratch& scratch)
      : call_(c), rules_(c), width_(c.output ? round_up(c.value_dim, U::PANEL) : 0),
        rest_(Scale(c.scale).rest), plan_(plan(c)), packed_(c, STEP, width_, plan_.blocks) {
    Cutter measure(nullptr);
    place(measure);
    Cutter cut(scratch.reserve(measure.used()));
    place(cut);
  }

  static int64_t queries_at_once(const eyeline_call& c) { return plan(c).blocks * LANES; }

  // Queries [start, stop) of a head. False if something not finite was met.
  bool run(const Line& line, int64_t index, int64_t start, int64_t stop, const Share& share) {
    const int64_t step = queries_at_once(call_);
    for (int64_t i = start; i < stop; i += step)
      if (!round(line, index, i, least(i + step, stop), share)) return false;
    return true;
  }

 private:
  static constexpr int MOST = 4;         // blocks that share what is read or packed
  static constexpr int STEP = 2 * KEYS;  // keys that are worked on together
  static constexpr int ALIGNED = GROUP > U::DEPTH ? GROUP : U::DEPTH;

  // How many blocks are worked on together, and keys of a stretch at most: so that their panels stay near.
  struct Plan {
    int blocks;
    int64_t keys;
  };
  static Plan plan(const eyeline_call& c) {
    constexpr int64_t NEAR = 96 << 10, FAR = 384 << 10;  // floats
    const int64_t panel = c.kv_len * LANES, read = c.kv_len * (c.head_dim + c.value_dim);
    const int64_t all = round_up(most<int64_t>(c.kv_len, 1), STEP);
    if (SMALL_BLOCKS && panel > NEAR / 2) {  // the more share what is read the better, but all that is kept counts
      const int blocks = panel <= 2 * NEAR ? MOST : 2;
      return {blocks, NEAR / (blocks * LANES) / STEP * STEP};
    }
    // nothing is packed: to read together is worth it where what is read does not stay near by itself
    if (Packed<T, U>::reads_values_in_place(c)) return {panel <= NEAR && read > NEAR ? 2 : 1, all};
    return {panel <= NEAR / 2 ? MOST : panel <= FAR ? 2 : 1, all};
  }

  void place(Cutter& cut) {
    const int64_t keys = round_up(call_.kv_len, STEP), kept = call_.received ? keys : least(keys, plan_.keys);
    for (int i = 0; i < plan_.blocks; i++) {
      Seen& s = seen_[i];
      s.query = cut.take(units<U>(call_.head_dim) * LANES);
      s.output = cut.take(width_ * LANES);
      s.panel = cut.take((kept + ROOM<U>) * LANES);
      s.tops = cut.take(ceil_div(keys, plan_.keys) * LANES);
      s.cells = cut.take(call_.pooled ? call_.pool_cols * LANES : 0);
      s.kind = reinterpret_cast<int*>(cut.take(keys / STEP));
      s.best.place(cut, call_.top_k, least(keys, plan_.keys));
    }
    tile_ = cut.take(STEP * LANES);
    maxima_ = call_.top_k ? cut.take(ceil_div(STEP, ROWS) * LANES) : nullptr;
    weights_ = U::TERMS > 1 ? cut.take(units<U>(STEP) * LANES) : nullptr;
    packed_.place(cut);
  }

  bool round(const Line& line, int64_t index, int64_t start, int64_t stop, const Share& share) {
    const int64_t vecs = ceil_div(stop - start, WIDTH), blocks = ceil_div(vecs, VECS);
    begin_ = 0x7fffffff;
    int end = 0;
    for (int64_t i = 0; i < blocks; i++) {  // as even as whole vectors allow
      int64_t from = start + i * vecs / blocks * WIDTH, to = start + (i + 1) * vecs / blocks * WIDTH;
      Block& b = seen_[i].block;
      b.fill(call_, line, index, from, least(to, stop));
      pack_query<T, U>(call_, b, seen_[i].query);
      if (b.begin >= b.end) continue;
      begin_ = least(begin_, b.begin);
      end = most(end, b.end);
    }
    const int keys = most(end - begin_, 0), stretches = static_cast<int>(ceil_div(keys, plan_.keys));
    const int each = stretches ? static_cast<int>(round_up(ceil_div(keys, stretches), STEP)) : 0;
    for (int64_t i = 0; i < blocks; i++) {  // no `part` of a block begins before that
      const int begun = seen_[i].block.begin - begin_;
      seen_[i].clear(call_, begin_ + most(begun, 0) / ALIGNED * ALIGNED, width_);
    }
    for (int i = 0; i < stretches; i++)
      if (!walk_twice(blocks, i, begin_ + i * each, least(begin_ + (i + 1) * each, end))) return false;
    for (int64_t i = 0; i < blocks; i++)
      if (!conclude(seen_[i], share)) return false;
    for (int i = 0; share.received && i < stretches; i++) {
      for (int64_t n = 0; n < blocks; n++) seen_[n].turn_to(i);
      for (int j = begin_ + i * each; j < least(begin_ + (i + 1) * each, end); j += STEP)
        receive(blocks, j, share.received);
    }
    return true;
  }

  // Keys [start, stop), stretch `i`.
  bool walk_twice(int64_t blocks, int i, int start, int stop) {
    const Block& any = seen_[0].block;
    start_ = start;
    kept_ = call_.received ? begin_ : start;
    for (int j = start; j < stop; j += STEP) {
      const int n = least(STEP, stop - j);
      packed_.read_keys(any, j, n);
      for (int64_t b = 0; b < blocks; b++)
        if (!with_vecs(seen_[b].block.vecs, [&](auto vecs) {
              return score<decltype(vecs)::value>(seen_[b], j, n);
            }))
          return false;
    }
    for (int64_t b = 0; b < blocks; b++) {
      seen_[b].bring(i, width_);
      if (call_.top_k) seen_[b].best.bound(most(least(seen_[b].block.end, stop) - start, 0));
    }
    for (int j = start; j < stop; j += STEP) {
      const int n = least(STEP, stop - j);
      packed_.read_values(any, j, n);
      for (int64_t b = 0; b < blocks; b++)
        with_vecs(seen_[b].block.vecs,
                  [&](auto vecs) { return weigh<decltype(vecs)::value>(seen_[b], j, n); });
    }
    for (int64_t b = 0; call_.top_k && b < blocks; b++) seen_[b].best.sort();
    return true;
  }

  // The part of keys [j, j + n) that the block sees, its begin a whole number of groups and units from j.
  static bool part(const Block& b, int j, int n, int* from, int* to) {
    *from = j + most(0, b.begin - j) / ALIGNED * ALIGNED;
    *to = least(j + n, b.end);
    return *from < *to;
  }
  int& kind(const Seen& s, int j) const { return s.kind[(j - begin_) / STEP]; }
  float* panel(const Seen& s, int j) const { return s.panel + (j - kept_) * LANES; }

  // First walk.
  template <int Vecs>
  bool score(Seen& s, int j, int n) {
    const Block& b = s.block;
    int from, to;
    Tile tile = Tile::EMPTY;
    if (part(b, j, n, &from, &to)) tile = rules_.prepare(b, from, to - from, tile_);
    kind(s, j) = static_cast<int>(tile);
    if (tile == Tile::EMPTY) {
      if (call_.top_k) s.best.note_nothing(j - start_, n);
      return true;
    }
    vfloat before[Vecs];
    for (int v = 0; v < Vecs; v++) before[v] = s.top[v];
    float* scores = panel(s, from);
    packed_.template score<Vecs>(b, from, to - from, s.query, rest_, scores, s.top,
                                 call_.top_k ? maxima_ : nullptr);
    bool changed = false;
    if (tile == Tile::PARTIAL || rules_.softcap() || from < b.full_begin || to > b.full_end) {
      const float* added = tile == Tile::PARTIAL ? tile_ : nullptr;
      kind(s, j) = static_cast<int>(Tile::PARTIAL);
      for (int v = 0; v < Vecs; v++) s.top[v] = before[v];
      if (!rules_.template apply<Vecs>(b, from, to - from, added, scores, s.top)) return false;
      changed = true;
    }
    if (call_.top_k) {
      s.best.note_nothing(j - start_, from - j);
      if (changed)
        s.best.note(scores, from - start_, to - from, Vecs);
      else
        s.best.note_tiles(maxima_, from - start_, to - from, Vecs);
    }
    return true;
  }

  // Second walk.
  template <int Vecs>
  bool weigh(Seen& s, int j, int n) {
    int from, to;
    if (!part(s.block, j, n, &from, &to) || kind(s, j) == static_cast<int>(Tile::EMPTY)) return true;
    if (call_.top_k) s.best.collect(panel(s, from), from - start_, to - from, start_);
    const bool live = kind(s, j) == static_cast<int>(Tile::FULL);
    const bool sums = call_.pooled && call_.pool_reduce == EYELINE_POOL_SUM;
    if (sums)
      exponentiate_part<Vecs>(s, from, to, live, Cells{s.cells, &s.walk, from});
    else
      exponentiate_part<Vecs>(s, from, to, live, NoCells());
    if (call_.pooled && !sums) raise_cells<Vecs>(s, from, to);
    if (!width_) return true;
    vfloat keep[Vecs];
    for (int v = 0; v < Vecs; v++) keep[v] = splat(1.0f);
    const float* weights = panel(s, from);
    if constexpr (U::TERMS > 1) {
      round_to_units<Vecs>(weights, to - from, weights_);
      if constexpr (TILED<U>) clear_units<Vecs>(weights_, ceil_div(to - from, U::TERMS));
      weights = weights_;
    }
    output_keys<Vecs, U>(packed_.value(from), packed_.panel(), packed_.stride(), width_, weights, units<U>(to - from),
                         s.output, keep);
    return true;
  }

  template <int Vecs, class Summed>
  void exponentiate_part(Seen& s, int from, int to, bool live, Summed cells) {
    vfloat* total = s.total;
    vfloat top[Vecs];
    for (int v = 0; v < Vecs; v++) top[v] = finite_or_zero(s.top[v]);
    float* scores = panel(s, from);
    const int n = to - from;
    if (live && call_.entropy) return exponentiate<Vecs, true, true>(scores, n, top, total, s.moment, cells);
    if (live) return exponentiate<Vecs, true, false>(scores, n, top, total, nullptr, cells);
    if (call_.entropy) return exponentiate<Vecs, false, true>(scores, n, top, total, s.moment, cells);
    exponentiate<Vecs, false, false>(scores, n, top, total, nullptr, cells);
  }

  // The columns of cells to the maxima of what they are and of the weights of keys [from, to).
  template <int Vecs>
  void raise_cells(Seen& s, int from, int to) {
    const float* e = panel(s, from);
    for (int k = from; k < to;) {
      const Cells cells = {s.cells, &s.walk, k};
      const int stop = static_cast<int>(least<int64_t>(k + cells.find(0), to));
      for (; k < stop; k++, e += LANES)
        for (int v = 0; v < Vecs; v++) {
          float* cell = cells.cell() + v * WIDTH;
          store(cell, vmax(load(cell), load(e + v * WIDTH)));
        }
    }
  }

  // Everything that is one number per query, or a picture's.
  bool conclude(Seen& s, const Share& share) {
    const eyeline_call& c = call_;
    const Block& b = s.block;
    vfloat top[VECS], total[VECS];  // with the sink
    vfloat* factor = s.factor;
    for (int v = 0; v < VECS; v++) top[v] = s.top[v], total[v] = s.total[v];
    if (!normalizer(c, b, top, total, factor)) return false;
    if (c.output) {
      typename T::number* row[LANES];
      for (int lane = 0; lane < b.count; lane++) row[lane] = output_row<T>(c, b, lane);
      if (!lanes_to_rows<T>(s.output, factor, b.count, c.value_dim, row)) return false;
    }
    // lanes without a query must not count in sums along the queries
    for (int v = 0; v < b.vecs; v++) factor[v] = pick(less(lane_numbers(), splat(b.count - v * WIDTH)), factor[v], splat(0.0f));
    for (int lane = 0; lane < b.count; lane++) {
      const float f = factor[lane / WIDTH][lane % WIDTH];
      const int64_t at = b.statistic(c, lane);
      if (c.entropy) {
        float h = 0;  // -sum w log w with w = e f and log w = log e + log f
        if (f > 0) {
          float sum = s.total[lane / WIDTH][lane % WIDTH];
          h = -f * (s.moment[lane / WIDTH][lane % WIDTH] + sum * __builtin_logf(f));
        }
        c.entropy[at] = h > 0 ? h : 0;
      }
    }
    if (c.top_k) store_top(s);
    if (c.pooled) {
      int64_t row_cell[LANES];
      const int64_t first = s.first_cell;
      for (int lane = 0; lane < b.count; lane++)
        row_cell[lane] = cell_of(b.row[lane], c.pool_rows, c.q_len);
      add_rows(s.cells + first * LANES, s.last_cell - first, factor, b.count, row_cell,
               c.pool_reduce == EYELINE_POOL_MAX,
               [&](int64_t row) { return share.pooled_row(row, c.pool_cols) + first; });
    }
    return true;
  }

  // Third walk: sums along the queries of all blocks for STEP keys.
  void receive(int64_t blocks, int j, float* received) {
    int from[MOST], to[MOST];
    for (int64_t i = 0; i < blocks; i++) {
      const bool any = part(seen_[i].block, j, STEP, &from[i], &to[i]);
      if (!any || kind(seen_[i], j) == static_cast<int>(Tile::EMPTY)) to[i] = from[i] = 0;
    }
    const int stop = least<int>(j + STEP, static_cast<int>(call_.kv_len));
    for (int k = j; k < stop; k += WIDTH) {
      vfloat x[WIDTH];
      for (int r = 0; r < WIDTH; r++) x[r] = splat(0.0f);
      for (int64_t i = 0; i < blocks; i++) {
        const Seen& s = seen_[i];
        const float* weights = panel(s, k);
        if (s.block.vecs == VECS && from[i] <= k && k + WIDTH <= to[i]) {
#pragma GCC unroll 16
          for (int r = 0; r < WIDTH; r++)
#pragma GCC unroll 3
            for (int v = 0; v < VECS; v++) x[r] = fma(load(weights + r * LANES + v * WIDTH), s.weight[v], x[r]);
          continue;
        }
        for (int key = most(from[i], k); key < least(to[i], k + WIDTH); key++)
          for (int v = 0; v < s.block.vecs; v++)
            x[key - k] = fma(load(panel(s, key) + v * WIDTH), s.weight[v], x[key - k]);
      }
      add_lane_sums(x, least(WIDTH, stop - k), received + k);
    }
  }

  void store_top(Seen& s) const {
    const Block& b = s.block;
    int64_t at[LANES];
    for (int lane = 0; lane < b.count; lane++) at[lane] = b.statistic(call_, lane) * call_.top_k;
    for (int i = 0; i < call_.top_k; i++) {
      alignas(64) float weights[LANES];
      for (int v = 0; v < b.vecs; v++)
        store(weights + v * WIDTH, exp_or_zero(load(s.best.score(i) + v * WIDTH) - finite_or_zero(s.top[v])) * s.factor[v]);
      for (int lane = 0; lane < b.count; lane++) {
        call_.top_values[at[lane] + i] = weights[lane];
        call_.top_indices[at[lane] + i] = s.best.key(i)[lane];
      }
    }
  }

  typename U::Registers registers_;
  const eyeline_call& call_;
  Rules rules_;
  int64_t width_;
  float rest_;
  Plan plan_;
  int begin_ = 0, start_ = 0, kept_ = 0;  // the first key of all, of the stretch, of the panels
  Seen seen_[MOST];
  Packed<T, U> packed_;
  float *tile_, *maxima_, *weights_;
};

}  // namespace EYELINE_NAMESPACE
