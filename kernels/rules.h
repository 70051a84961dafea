// Masks, biases and softcap: what stands between q·k and softmax, for one tile of scores.
//
// Bias and dense mask lie in memory row by row, our lanes run down the rows: a tile of them is put
// together row-wise, turned, and then added like one number per score, -inf where masked. A mask alone
// need not be turned: each lane has the bits of 32 keys of its row, and a key's bit is tested in all lanes.
#pragma once
#include <string.h>

#include <type_traits>

#include "block.h"
#include "exponential.h"

namespace EYELINE_NAMESPACE {

constexpr int KEYS = 64;  // keys that are worked on together

enum class Tile { EMPTY, FULL, PARTIAL };

class Rules {
 public:
  explicit Rules(const eyeline_call& c)
      : call_(c), additive_(c.dense_mask || c.bias || c.diagonal),
        bits_(c.dense_mask && !c.bias && !c.diagonal && c.dense_mask_stride[3] == 1), softcap_(c.softcap) {}

  bool additive() const { return additive_; }
  bool softcap() const { return softcap_ != 0; }

  // What the rules do to keys [j, j + n) of the block, and into `tile` what is to be added to the scores; where a
  // mask is all there is, its bits (`write_bits`).
  Tile prepare(const Block& b, int j, int n, float* tile) const {
    if (!additive_) return Tile::FULL;
    if (bits_) return write_bits(b, j, n, reinterpret_cast<uint32_t*>(tile));
    Tile kind = call_.dense_mask ? scan_mask(b, j, n) : Tile::FULL;
    if (kind == Tile::EMPTY || (kind == Tile::FULL && !call_.bias && !call_.diagonal)) return kind;
    if ((call_.bias && call_.bias_stride[3] != 1) || (call_.dense_mask && call_.dense_mask_stride[3] != 1))
      turn(b, j, 0, n, tile);
    else
      either(call_.bias, [&](auto bias) {
        either(call_.diagonal, [&](auto diagonal) {
          either(call_.dense_mask, [&](auto mask) { turn_dense(b, j, n, tile, bias, diagonal, mask); });
        });
      });
    return Tile::PARTIAL;
  }

  // Turn scale * q·k into what softmax sees, -inf where masked, and raise `top` to the maximum.
  // `slope`, if given, gets the derivative of softcap. False if a live score is not finite.
  template <int Vecs>
  bool apply(const Block& b, int j, int n, const float* tile, float* scores, vfloat* top,
             float* slope = nullptr) const {
    if (tile && softcap_ == 0 && b.full_begin <= j && j + n <= b.full_end)
      return bits_ ? hide<Vecs>(n, tile, scores, top) : add<Vecs>(n, tile, scores, top);
    unsigned bad = 0;
    for (int v = 0; v < Vecs; v++) {
      const vint first = load(b.first + v * WIDTH), last = load(b.last + v * WIDTH);
      const vfloat masked = splat(-INFINITE), zero = splat(0.0f);
      vfloat highest = top[v], spoiled = zero;
      for (int k = 0; k < n; k++) {
        float* at = scores + k * LANES + v * WIDTH;
        vfloat s = load(at), probe = s * zero;  // NaN unless s is finite
        vmask live = both(less(splat(j + k), last), less(first, splat(j + k + 1)));
        if (softcap_ != 0) {
          const vfloat share = tanh(s * splat(1 / softcap_));
          s = splat(softcap_) * share;
          if (slope) store(slope + k * LANES + v * WIDTH, splat(1.0f) - share * share);
        }
        if (tile && bits_) {
          live = both(live, written(tile, k, v));
        } else if (tile) {
          vfloat added = load(tile + k * LANES + v * WIDTH);
          live = both(live, negated(equal(added, masked)));  // a NaN is live: it must be heard of
          s = s + added;
          probe = fma(s, zero, probe);
        }
        spoiled = spoiled + pick(live, probe, zero);
        s = pick(live, s, masked);
        highest = vmax(highest, s);
        store(at, s);
      }
      top[v] = highest;
      bad |= bits(negated(equal(spoiled, zero))) & ((1u << WIDTH) - 1);
    }
    return bad == 0;
  }

  // `apply` where all that is done is to add: no softcap, and every query sees all of these keys.
  template <int Vecs>
  static bool add(int n, const float* tile, float* scores, vfloat* top) {
    const vfloat masked = splat(-INFINITE), zero = splat(0.0f);
    vfloat highest[Vecs], spoiled[Vecs];
    for (int v = 0; v < Vecs; v++) highest[v] = top[v], spoiled[v] = zero;
    for (int k = 0; k < n; k++)
      for (int v = 0; v < Vecs; v++) {
        const vfloat added = load(tile + k * LANES + v * WIDTH);
        const vmask live = negated(equal(added, masked));  // a NaN is live: it must be heard of
        vfloat s = load(scores + k * LANES + v * WIDTH) + added;
        spoiled[v] = spoiled[v] + pick(live, s * zero, zero);  // NaN unless s is finite
        s = pick(live, s, masked);
        highest[v] = vmax(highest[v], s);
        store(scores + k * LANES + v * WIDTH, s);
      }
    return settle<Vecs>(highest, spoiled, top);
  }

  // `apply` where all that is done is to mask, by the bits in `tile`.
  template <int Vecs>
  static bool hide(int n, const float* tile, float* scores, vfloat* top) {
    const vfloat masked = splat(-INFINITE), zero = splat(0.0f);
    vfloat highest[Vecs], spoiled[Vecs];
    for (int v = 0; v < Vecs; v++) highest[v] = top[v], spoiled[v] = zero;
    for (int begin = 0; begin < n; begin += 32, tile += LANES) {
      vint words[Vecs], bit = splat(1);
      for (int v = 0; v < Vecs; v++) words[v] = as_int(load(tile + v * WIDTH));
      const int end = least(begin + 32, n);
      for (int k = begin; k < end; k++, bit = plus(bit, bit))
        for (int v = 0; v < Vecs; v++) {
          const vmask live = any_bit(words[v], bit);
          vfloat s = load(scores + k * LANES + v * WIDTH);
          spoiled[v] = spoiled[v] + pick(live, s * zero, zero);  // NaN unless s is finite
          s = pick(live, s, masked);
          highest[v] = vmax(highest[v], s);
          store(scores + k * LANES + v * WIDTH, s);
        }
    }
    return settle<Vecs>(highest, spoiled, top);
  }

  // Set to 0 what belongs to masked scores.
  template <int Vecs>
  void clear(const Block& b, int j, int n, const float* tile, float* panel) const {
    for (int v = 0; v < Vecs; v++) {
      const vint first = load(b.first + v * WIDTH), last = load(b.last + v * WIDTH);
      for (int k = 0; k < n; k++) {
        const int64_t at = k * LANES + v * WIDTH;
        vmask live = both(less(splat(j + k), last), less(first, splat(j + k + 1)));
        if (tile) live = both(live, bits_ ? written(tile, k, v) : negated(equal(load(tile + at), splat(-INFINITE))));
        store(panel + at, pick(live, load(panel + at), splat(0.0f)));
      }
    }
  }

  // A stretch of one row: bias + diagonal, -inf where masked. Lanes past `n` mean nothing.
  vfloat row_part(const Block& b, int lane, int j, int n) const {
    const eyeline_call& c = call_;
    const int64_t h = b.head[lane], i = b.row[lane];
    vfloat x = splat(0.0f);
    if (c.bias) {
      const int64_t* s = c.bias_stride;
      const float* at = c.bias + b.batch * s[0] + h * s[1] + i * s[2] + j * s[3];
      x = strided(at, s[3], n);
    }
    if (c.diagonal) {
      const float* at = c.diagonal + b.batch * c.diagonal_stride[0] + h * c.diagonal_stride[1];
      x = x + load_part<Float32>(at + j - i + c.q_len - 1, n);
    }
    if (c.dense_mask) x = pick(mask_part(b, lane, j, n), x, splat(-INFINITE));
    return x;
  }

  vfloat cap(vfloat s) const { return splat(softcap_) * tanh(s * splat(1 / softcap_)); }

 private:
  // Hand the maxima over. False if a live score was not finite.
  template <int Vecs>
  static bool settle(const vfloat* highest, const vfloat* spoiled, vfloat* top) {
    unsigned bad = 0;
    for (int v = 0; v < Vecs; v++) {
      top[v] = highest[v];
      bad |= bits(negated(equal(spoiled[v], splat(0.0f)))) & ((1u << WIDTH) - 1);
    }
    return !bad;
  }

  // A mask's bits: [ceil(n / 32)][LANES], key k is bit k % 32.
  Tile write_bits(const Block& b, int j, int n, uint32_t* words) const {
    const int64_t* s = call_.dense_mask_stride;
    const uint8_t* row[LANES];
    const int lanes = b.vecs * WIDTH;
    for (int lane = 0; lane < lanes; lane++)
      row[lane] = call_.dense_mask + b.batch * s[0] + b.head[lane] * s[1] + b.row[lane] * s[2] + j;
    uint32_t some = 0, every = ~0u;
    for (int k = 0; k < n; k += 32, words += LANES) {
      const int here = least(32, n - k);
      const uint32_t beyond = here < 32 ? ~0u << here : 0;
      for (int lane = 0; lane < lanes; lane++) {
        uint8_t last[32] = {};
        if (here < 32) memcpy(last, row[lane] + k, static_cast<size_t>(here));
        __builtin_prefetch(row[lane] + k + 2 * KEYS);  // of the next keys: too many rows for the CPU to foresee
        words[lane] = bits_of_bytes(here < 32 ? last : row[lane] + k);
        some |= words[lane];
        every &= words[lane] | beyond;
      }
    }
    return !some ? Tile::EMPTY : every == ~0u ? Tile::FULL : Tile::PARTIAL;
  }
  static vmask written(const float* tile, int k, int v) {
    return any_bit(as_int(load(tile + k / 32 * LANES + v * WIDTH)), splat(static_cast<int>(1u << k % 32)));
  }

  // Keys [j + begin, j + n) of the tile, wherever their numbers lie.
  void turn(const Block& b, int j, int begin, int n, float* tile) const {
    for (int first = 0; first < b.count; first += WIDTH) {
      for (int k = begin; k < n; k += WIDTH) {
        vfloat x[WIDTH];
        for (int r = 0; r < WIDTH; r++) x[r] = row_part(b, first + r, j + k, least(WIDTH, n - k));
        transpose(x);
        for (int r = 0; r < WIDTH && k + r < n; r++) store(tile + (k + r) * LANES + first, x[r]);
      }
    }
  }

  // The same where the numbers of a row lie side by side: nothing is asked in the inner loop.
  template <class Biased, class Slanted, class Masked>
  void turn_dense(const Block& b, int j, int n, float* tile, Biased, Slanted, Masked) const {
    const int64_t *s = call_.bias_stride, *d = call_.diagonal_stride, *t = call_.dense_mask_stride;
    const int whole = n / WIDTH * WIDTH;
    for (int first = 0; first < b.count; first += WIDTH) {
      const float *bias[WIDTH] = {}, *diagonal[WIDTH] = {};
      const uint8_t* mask[WIDTH] = {};
      for (int r = 0; r < WIDTH; r++) {
        const int64_t h = b.head[first + r], i = b.row[first + r];
        if (Biased::value) bias[r] = call_.bias + b.batch * s[0] + h * s[1] + i * s[2] + j;
        if (Slanted::value)
          diagonal[r] = call_.diagonal + b.batch * d[0] + h * d[1] + j - i + call_.q_len - 1;
        if (Masked::value) mask[r] = call_.dense_mask + b.batch * t[0] + h * t[1] + i * t[2] + j;
      }
      for (int k = 0; k < whole; k += WIDTH) {
        vfloat x[WIDTH];
#pragma GCC unroll 16
        for (int r = 0; r < WIDTH; r++) {
          x[r] = Biased::value ? load(bias[r] + k) : splat(0.0f);
          if (Slanted::value) x[r] = x[r] + load(diagonal[r] + k);
          if (Masked::value) x[r] = pick(load_bytes(mask[r] + k), x[r], splat(-INFINITE));
        }
        transpose(x);
#pragma GCC unroll 16
        for (int r = 0; r < WIDTH; r++) store(tile + (k + r) * LANES + first, x[r]);
      }
    }
    if (whole < n) turn(b, j, whole, n, tile);
  }

  template <class Work>
  static void either(bool yes, Work work) {
    yes ? work(std::true_type()) : work(std::false_type());
  }

  static vfloat strided(const float* at, int64_t stride, int n) {
    if (stride == 1) return load_part<Float32>(at, n);
    if (stride == 0) return splat(*at);
    float gathered[WIDTH] = {};
    for (int k = 0; k < n; k++) gathered[k] = at[k * stride];
    return load(gathered);
  }

  vmask mask_part(const Block& b, int lane, int j, int n) const {
    const int64_t* s = call_.dense_mask_stride;
    const uint8_t* at =
        call_.dense_mask + b.batch * s[0] + b.head[lane] * s[1] + b.row[lane] * s[2] + j * s[3];
    if (s[3] == 1 && n >= WIDTH) return load_bytes(at);
    uint8_t gathered[16] = {};
    for (int k = 0; k < n; k++) gathered[k] = at[k * s[3]];
    return load_bytes(gathered);
  }

  // Whether the mask alone removes all of the tile, or nothing.
  Tile scan_mask(const Block& b, int j, int n) const {
    bool some = false, all = true;
    const int64_t* s = call_.dense_mask_stride;
    int distinct = s[2] == 0 && s[1] == 0 ? 1 : b.count;
    for (int lane = 0; lane < distinct; lane++) {
      for (int k = 0; k < n; k += WIDTH) {
        int here = least(WIDTH, n - k);
        unsigned found = bits(mask_part(b, lane, j + k, here)) & ((1u << here) - 1);
        some |= found != 0;
        all &= found == (1u << here) - 1;
      }
      if (some && !all) return Tile::PARTIAL;
    }
    return some ? Tile::FULL : Tile::EMPTY;
  }

  const eyeline_call& call_;
  bool additive_;
  bool bits_;  // nothing is added, a mask is written out
  float softcap_;
};

}  // namespace EYELINE_NAMESPACE
