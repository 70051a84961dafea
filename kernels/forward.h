// Attention without looking: the online softmax of FlashAttention, one task = a few blocks of
// queries that walk over the keys together.
//
//   for 64 keys at a time:        pack their values once for all blocks of the task
//     for each block:             scores^T = K Q^T             [64][LANES], stays in first-level cache
//                                 new maximum, e = exp(scores - maximum), sum
//                                 output = output * exp(old maximum - new) + V^T e
//
// Milakov, Gimelshein 2018, arXiv:1805.02867; Dao 2023, arXiv:2307.08691, algorithm 1.
#pragma once
#include "dropout.h"
#include "microkernel.h"
#include "online.h"
#include "scratch.h"

namespace EYELINE_NAMESPACE {

constexpr int MOST_BLOCKS = 4;  // per task

struct Walk : Online {
  float* query;   // [head_dim][LANES], scaled
  float* output;  // [value_dim, rounded up to ROWS][LANES], not yet divided by the sum
  alignas(64) int hash[LANES];  // dropout's
};

template <class T>
class Forward {
 public:
  Forward(const eyeline_call& c, Scratch& scratch)
      : call_(c), rules_(c), dropout_(c), width_(c.output ? round_up(c.value_dim, ROWS) : 0),
        rest_(Scale(c.scale).rest) {
    const int64_t per_block = round_up(c.head_dim * LANES, 16) + round_up(width_ * LANES, 16);
    Cutter cut(scratch.reserve(MOST_BLOCKS * per_block + KEYS * (2 * LANES + width_ + c.head_dim) + 64));
    for (int i = 0; i < MOST_BLOCKS; i++) {
      state_[i].query = cut.take(c.head_dim * LANES);
      state_[i].output = cut.take(width_ * LANES);
    }
    scores_ = cut.take(KEYS * LANES);
    tile_ = cut.take(KEYS * LANES);
    values_ = cut.take(KEYS * width_);
    keys_ = cut.take(KEYS * c.head_dim);
  }

  // Queries [start, stop) of a line. False if something not finite was met.
  bool run(const Line& line, int64_t index, int64_t start, int64_t stop) {
    const int64_t vecs = ceil_div(stop - start, WIDTH), blocks = ceil_div(vecs, VECS);
    Block block[MOST_BLOCKS];
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
    for (int j = begin; j < end; j += KEYS) {
      const int n = least(KEYS, end - j);
      if (width_) pack_values<T>(value_row<T>(call_, *block, j), call_.value_stride[2], n, call_.value_dim, KEYS, values_);
      if (!direct()) pack_rows<T>(key_row<T>(call_, *block, j), call_.key_stride[2], n, call_.head_dim, keys_);
      for (int64_t i = 0; i < blocks; i++) {
        const int from = most(j, block[i].begin), to = least(j + n, block[i].end);
        if (from >= to) continue;
        bool fine = with_vecs(block[i].vecs, [&](auto vecs) {
          return step<decltype(vecs)::value>(block[i], state_[i], j, from, to);
        });
        if (!fine) return false;
      }
    }
    for (int64_t i = 0; i < blocks; i++)
      if (!finish<T>(call_, block[i], state_[i].top, state_[i].total, state_[i].output, dropout_.scale()))
        return false;
    return true;
  }

 private:
  static constexpr bool direct() { return sizeof(typename T::number) == sizeof(float); }

  void begin_block(const Block& b, Walk& s) {
    pack_query<T>(call_, b, s.query);
    if (dropout_.on()) dropout_.begin(b, s.hash);
    for (int64_t i = 0; i < width_ * LANES; i += WIDTH) store(s.output + i, splat(0.0f));
    s.begin();
  }

  // Keys [from, to) of the 64 that start at `packed`.
  template <int Vecs>
  bool step(const Block& b, Walk& s, int packed, int from, int to) {
    const int n = to - from;
    const Tile kind = rules_.prepare(b, from, n, tile_);
    if (kind == Tile::EMPTY) return true;
    vfloat top[Vecs], shrink[Vecs];
    for (int v = 0; v < Vecs; v++) top[v] = s.top[v];
    score<Vecs>(b, s.query, packed, from, n, top);
    const float* tile = kind == Tile::PARTIAL ? tile_ : nullptr;
    if (!s.template add<Vecs>(rules_, b, from, n, tile, scores_, top, shrink)) return false;
    if (dropout_.on()) dropout_.drop<Vecs>(s.hash, from, n, scores_);
    const float* value = values_ + (from - packed) * ROWS;
    output_keys<Vecs>(value, KEYS * ROWS, width_, scores_, n, s.output, shrink);
    return true;
  }

  template <int Vecs>
  void score(const Block& b, const float* query, int packed, int from, int n, vfloat* top) {
    const float* base;
    int64_t stride;
    if constexpr (direct()) {
      base = key_row<T>(call_, b, from);
      stride = call_.key_stride[2];
    } else {
      base = keys_ + (from - packed) * call_.head_dim;
      stride = call_.head_dim;
    }
    score_keys<Vecs>(base, stride, n, query, call_.head_dim, rest_, scores_, top);
  }

  const eyeline_call& call_;
  Rules rules_;
  Dropout dropout_;
  int64_t width_;
  float rest_;
  Walk state_[MOST_BLOCKS];
  float *scores_, *tile_, *values_, *keys_;
};

}  // namespace EYELINE_NAMESPACE
