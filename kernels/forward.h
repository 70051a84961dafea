// Attention without looking: the online softmax of FlashAttention, one task = a few blocks of
// queries that walk over the keys together.
//
//   for STEP keys at a time:      read or pack their values once for all blocks of the task
//     for each block:             scores^T = K Q^T             [STEP][LANES], stays near the core
//                                 new maximum, e = exp(scores - maximum), sum
//                                 output = output * exp(old maximum - new) + V^T e
//
// Milakov, Gimelshein 2018, arXiv:1805.02867; Dao 2023, arXiv:2307.08691, algorithm 1.
#pragma once
#include "dropout.h"
#include "microkernel.h"
#include "online.h"
#include "packed.h"

namespace EYELINE_NAMESPACE {

template <class U>
constexpr int MOST_BLOCKS = TILED<U> || SMALL_BLOCKS ? 16 : 8;  // per task

struct Walk : Online {
  float* query;   // [head_dim][LANES], scaled
  float* output;  // [value_dim, rounded up to PANEL][LANES], not yet divided by the sum
  alignas(64) int hash[LANES];  // dropout's
};

template <class T, class U>
class Forward {
 public:
  // `blocks`: of queries in a task.
  Forward(const eyeline_call& c, int64_t blocks, Scratch& scratch)
      : call_(c), rules_(c), dropout_(c), width_(c.output ? round_up(c.value_dim, U::PANEL) : 0),
        rest_(Scale(c.scale).rest), step_(rules_.additive() ? 2 * KEYS : STEP),
        packed_(c, STEP, width_, blocks) {
    Cutter measure(nullptr);
    place(measure);
    Cutter cut(scratch.reserve(measure.used()));
    place(cut);
  }

  // Queries [start, stop) of a line. False if something not finite was met.
  bool run(const Line& line, int64_t index, int64_t start, int64_t stop) {
    const int64_t vecs = ceil_div(stop - start, WIDTH), blocks = ceil_div(vecs, VECS);
    Block block[MOST_BLOCKS<U>];
    int begin = 0x7fffffff, end = 0;
    for (int64_t i = 0; i < blocks; i++) {  // as even as whole vectors allow
      int64_t from = start + i * vecs / blocks * WIDTH, to = start + (i + 1) * vecs / blocks * WIDTH;
      Block& b = block[i];
      b.fill(call_, line, index, from, least(to, stop));
      begin_block(b, state_[i]);
      if (b.begin >= b.end) continue;
      begin = least(begin, b.begin);
      end = most(end, b.end);
    }
    for (int j = begin; j < end; j += STEP) {
      const int n = least(STEP, end - j);
      packed_.read_keys(*block, j, n);
      packed_.read_values(*block, j, n);
      for (int64_t i = 0; i < blocks; i++)
        for (int k = j; k < j + n; k += step_) {
          const int from = most(k, block[i].begin), to = least(least(k + step_, j + n), block[i].end);
          if (from >= to) continue;
          bool fine = with_vecs(block[i].vecs, [&](auto vecs) {
            return step<decltype(vecs)::value>(block[i], state_[i], j, from, to);
          });
          if (!fine) return false;
        }
    }
    for (int64_t i = 0; i < blocks; i++)
      if (!finish<T>(call_, block[i], state_[i].top, state_[i].total,
                     PAIRED && !dropout_.on() ? state_[i].rounded : nullptr, state_[i].output, dropout_.scale()))
        return false;
    return true;
  }

 private:
  static constexpr bool PAIRED = U::TERMS > 1;
  // No sum is longer (LONGEST_SUM). Tiles add up 32 products by themselves, so that as many keys are taken as
  // have scores in the second-level cache: what is between two products costs.
  static constexpr int STEP = TILED<U> ? 512 : 2 * KEYS;

  void place(Cutter& cut) {
    for (Walk& s : state_) {
      s.query = cut.take(units<U>(call_.head_dim) * LANES);
      s.output = cut.take(width_ * LANES);
    }
    scores_ = cut.take(STEP * LANES);
    tile_ = cut.take(STEP * LANES);
    weights_ = PAIRED ? cut.take(units<U>(STEP) * LANES) : scores_;
    packed_.place(cut);
  }

  void begin_block(const Block& b, Walk& s) {
    pack_query<T, U>(call_, b, s.query);
    if (dropout_.on()) dropout_.begin(b, s.hash);
    for (int64_t d = 0; d < width_; d++)
      for (int v = 0; v < b.vecs; v++) store(s.output + d * LANES + v * WIDTH, splat(0.0f));
    s.begin();
  }

  // Keys [from, to) of the STEP that start at `packed`.
  template <int Vecs>
  bool step(const Block& b, Walk& s, int packed, int from, int to) {
    from -= (from - packed) % Packed<T, U>::WHOLE;  // what the block may not see is masked
    const int n = to - from;
    const Tile kind = rules_.prepare(b, from, n, tile_);
    if (kind == Tile::EMPTY) return true;
    vfloat top[Vecs], shrink[Vecs];
    for (int v = 0; v < Vecs; v++) top[v] = s.top[v];
    packed_.template score<Vecs>(b, from, n, s.query, rest_, scores_, top);
    const float* tile = kind == Tile::PARTIAL ? tile_ : nullptr;
    float* paired = PAIRED && !dropout_.on() ? weights_ : nullptr;
    const bool again = call_.unrounded_output != nullptr;
    if (!s.template add<Vecs>(rules_, b, from, n, tile, scores_, top, shrink, nullptr, paired, again))
      return false;
    if (dropout_.on()) {
      dropout_.drop<Vecs>(s.hash, from, n, scores_);
      if constexpr (PAIRED) round_to_units<Vecs>(scores_, n, weights_);
    }
    if constexpr (TILED<U>) clear_units<Vecs>(weights_, ceil_div(n, U::TERMS));
    output_keys<Vecs, U>(packed_.value(from), packed_.panel(), packed_.stride(), width_, weights_, units<U>(n),
                         s.output, shrink);
    return true;
  }

  typename U::Registers registers_;
  const eyeline_call& call_;
  Rules rules_;
  Dropout dropout_;
  int64_t width_;
  float rest_;
  int step_;  // keys that the rules are asked about at once: where all of them are masked they are skipped
  Walk state_[MOST_BLOCKS<U>];
  Packed<T, U> packed_;
  float *scores_, *tile_, *weights_;
};

}  // namespace EYELINE_NAMESPACE
