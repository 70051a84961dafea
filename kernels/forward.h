// Attention without looking: the online softmax of FlashAttention, one task = a few blocks of
// queries that walk over the keys together.
//
//   for STEP keys at a time:      pack their values once for all blocks of the task
//     for each block:             scores^T = K Q^T             [STEP][LANES], stays near the core
//                                 new maximum, e = exp(scores - maximum), sum
//                                 output = output * exp(old maximum - new) + V^T e
//
// Milakov, Gimelshein 2018, arXiv:1805.02867; Dao 2023, arXiv:2307.08691, algorithm 1.
#pragma once
#include "dropout.h"
#include "microkernel.h"
#include "online.h"
#include "pack_pairs.h"
#include "scratch.h"

namespace EYELINE_NAMESPACE {

constexpr int MOST_BLOCKS = 4;  // per task

struct Walk : Online {
  float* query;   // [head_dim][LANES], scaled
  float* output;  // [value_dim, rounded up to ROWS][LANES], not yet divided by the sum
  alignas(64) int hash[LANES];  // dropout's
};

template <class T, class U>
class Forward {
 public:
  Forward(const eyeline_call& c, Scratch& scratch)
      : call_(c), rules_(c), dropout_(c), width_(c.output ? round_up(c.value_dim, ROWS) : 0),
        rest_(Scale(c.scale).rest) {
    const int64_t per_block = round_up(c.head_dim * LANES, 16) + round_up(width_ * LANES, 16);
    Cutter cut(scratch.reserve(MOST_BLOCKS * per_block + STEP * (3 * LANES + width_ + c.head_dim) + 80));
    for (int i = 0; i < MOST_BLOCKS; i++) {
      state_[i].query = cut.take(c.head_dim * LANES);
      state_[i].output = cut.take(width_ * LANES);
    }
    scores_ = cut.take(STEP * LANES);
    tile_ = cut.take(STEP * LANES);
    weights_ = PAIRED ? cut.take(STEP / U::TERMS * LANES) : scores_;
    values_ = cut.take(STEP / U::TERMS * width_);
    keys_ = reinterpret_cast<key_number*>(cut.take(STEP * c.head_dim));
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
    for (int j = begin; j < end; j += STEP) {
      const int n = least(STEP, end - j);
      if (width_) pack(value_row<T>(call_, *block, j), n);
      if (!direct()) pack_keys(key_row<T>(call_, *block, j), n);
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
  static constexpr bool PAIRED = U::TERMS > 1;
  static constexpr int STEP = KEYS * U::TERMS;  // units of values make as long sums either way
  using number = typename T::number;
  using key_number = typename U::number;  // of keys as the products read them

  // Whether keys can be read as they lie in memory.
  bool direct() const {
    return sizeof(number) == sizeof(key_number) && call_.head_dim % U::TERMS == 0;
  }
  int64_t key_width() const { return units<U>(call_.head_dim) * U::TERMS; }

  void pack(const number* value, int n) {
    const int64_t stride = call_.value_stride[2], width = call_.value_dim;
    if constexpr (PAIRED)
      pack_value_units(value, stride, n, width, STEP / U::TERMS, values_);
    else
      pack_values<T>(value, stride, n, width, STEP, values_);
  }
  void pack_keys(const number* key, int n) {
    if constexpr (PAIRED)
      pack_unit_rows(key, call_.key_stride[2], n, call_.head_dim, keys_);
    else
      pack_rows<T>(key, call_.key_stride[2], n, call_.head_dim, keys_);
  }

  void begin_block(const Block& b, Walk& s) {
    pack_query<T, U>(call_, b, s.query);
    if (dropout_.on()) dropout_.begin(b, s.hash);
    for (int64_t i = 0; i < width_ * LANES; i += WIDTH) store(s.output + i, splat(0.0f));
    s.begin();
  }

  // Keys [from, to) of the STEP that start at `packed`.
  template <int Vecs>
  bool step(const Block& b, Walk& s, int packed, int from, int to) {
    from -= (from - packed) % U::TERMS;  // a whole unit; what the block may not see is masked
    const int n = to - from;
    const Tile kind = rules_.prepare(b, from, n, tile_);
    if (kind == Tile::EMPTY) return true;
    vfloat top[Vecs], shrink[Vecs];
    for (int v = 0; v < Vecs; v++) top[v] = s.top[v];
    score<Vecs>(b, s.query, packed, from, n, top);
    const float* tile = kind == Tile::PARTIAL ? tile_ : nullptr;
    float* units = PAIRED && !dropout_.on() ? weights_ : nullptr;
    if (!s.template add<Vecs>(rules_, b, from, n, tile, scores_, top, shrink, nullptr, units)) return false;
    if (dropout_.on()) {
      dropout_.drop<Vecs>(s.hash, from, n, scores_);
      if constexpr (PAIRED) round_to_units<Vecs>(scores_, n, weights_);
    }
    const float* value = values_ + (from - packed) / U::TERMS * ROWS;
    output_keys<Vecs, U>(value, STEP / U::TERMS * ROWS, width_, weights_, EYELINE_NAMESPACE::units<U>(n),
                         s.output, shrink);
    return true;
  }

  template <int Vecs>
  void score(const Block& b, const float* query, int packed, int from, int n, vfloat* top) {
    const key_number* base;
    int64_t stride;
    if (direct()) {
      base = reinterpret_cast<const key_number*>(key_row<T>(call_, b, from));
      stride = call_.key_stride[2];
    } else {
      base = keys_ + (from - packed) * key_width();
      stride = key_width();
    }
    score_keys<Vecs, U>(base, stride, n, query, call_.head_dim, rest_, scores_, top);
  }

  const eyeline_call& call_;
  Rules rules_;
  Dropout dropout_;
  int64_t width_;
  float rest_;
  Walk state_[MOST_BLOCKS];
  float *scores_, *tile_, *weights_, *values_;
  key_number* keys_;
};

}  // namespace EYELINE_NAMESPACE
