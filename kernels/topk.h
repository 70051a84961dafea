// The k largest scores of every query, exactly, ties to the lower key.
//
// Keys are cut into groups of eight. At most k - 1 groups can have a maximum above T, the k-th
// largest group maximum, and all of the k largest scores reach T: so nearly all groups hold nothing
// that matters, and the few scores that reach T are collected and ranked. Whether the scores come
// sorted, shuffled or all equal makes little difference.
#pragma once
#include "scratch.h"

namespace EYELINE_NAMESPACE {

constexpr int GROUP = 8;
constexpr int MOST_TOP = 64;

class TopK {
 public:
  static int64_t floats(int64_t kv_len, int k) {
    if (k == 0) return 0;
    return groups(kv_len) * LANES + (2 * room(k) + 2 * round_up(k, WIDTH) + 2) * LANES + most(k, 8) * WIDTH + 128;
  }
  void place(int k, float* memory, int64_t kv_len) {
    k_ = k;
    if (k == 0) return;
    room_ = room(k);
    Cutter cut(memory);
    maxima_ = cut.take(groups(kv_len) * LANES);
    column_ = cut.take(most(k, 8) * WIDTH);
    found_ = cut.take(room_ * LANES);
    found_key_ = reinterpret_cast<int*>(cut.take(room_ * LANES));
    best_ = cut.take(round_up(k, WIDTH));
    best_key_ = reinterpret_cast<int*>(cut.take(round_up(k, WIDTH)));
    count_ = reinterpret_cast<int*>(cut.take(LANES));
    ties_ = reinterpret_cast<int*>(cut.take(LANES));
  }

  // Note the maxima of `keys` keys that begin at panel position `at`, a multiple of GROUP.
  void note(const float* scores, int at, int keys, int vecs) {
    for (int k = 0; k < keys; k += GROUP) {
      float* to = maxima_ + (at + k) / GROUP * LANES;
      const int here = least(GROUP, keys - k);
      for (int v = 0; v < vecs * WIDTH; v += WIDTH) {
        vfloat highest = load(scores + k * LANES + v);
        for (int i = 1; i < here; i++) highest = vmax(highest, load(scores + (k + i) * LANES + v));
        store(to + v, highest);
      }
    }
  }
  void note_nothing(int at, int keys) {
    for (int k = 0; k < keys; k += GROUP)
      for (int v = 0; v < LANES; v += WIDTH)
        store(maxima_ + (at + k) / GROUP * LANES + v, splat(-INFINITE));
  }

  // Collect each lane's scores that reach its T. `panel` is [keys][LANES], -inf where masked.
  void find(const float* panel, int keys, int first_key, int vecs) {
    const int count = static_cast<int>(groups(keys));
    for (int lane = 0; lane < LANES; lane++) count_[lane] = ties_[lane] = 0;
    for (int v = 0; v < vecs * WIDTH; v += WIDTH) {
      const vfloat lowest = kth_maximum(maxima_ + v, count), masked = splat(-INFINITE);
      alignas(64) float threshold[WIDTH];
      store(threshold, lowest);
      for (int g = 0; g < count; g++) {
        if (!reaches(load(maxima_ + g * LANES + v), lowest, masked)) continue;
        const int stop = least(g * GROUP + GROUP, keys);
        for (int k = g * GROUP; k < stop; k++) {
          const float* at = panel + k * LANES + v;
          for (unsigned hits = reaches(load(at), lowest, masked); hits; hits &= hits - 1) {
            const int i = __builtin_ctz(hits);
            collect(v + i, at[i], first_key + k, at[i] == threshold[i]);
          }
        }
      }
    }
  }

  // Rank what a lane has collected: then `score` and `key` hold its k largest, filled up with -inf
  // and -1.
  void rank(int lane) {
    const float* found = found_ + lane * room_;
    const int count = count_[lane];
    for (int i = 0; i < k_; i++) {
      best_[i] = -INFINITE;
      best_key_[i] = -1;
    }
    for (int i = 0; i < count; i++) {
      const vfloat mine = splat(found[i]);
      int place = 0;  // how many come before: the larger ones, and the equal ones of lower key
      for (int j = 0; j < count; j += WIDTH) {
        const vfloat others = load(found + j);
        const unsigned here = count - j >= WIDTH ? EVERY : (1u << (count - j)) - 1;
        const unsigned before = i <= j ? 0 : i - j >= WIDTH ? EVERY : (1u << (i - j)) - 1;
        place += __builtin_popcount(bits(less(mine, others)) & here) +
                 __builtin_popcount(bits(equal(mine, others)) & before);
      }
      if (place >= k_) continue;
      best_[place] = found[i];
      best_key_[place] = found_key_[lane * room_ + i];
    }
  }
  const float* scores() const { return best_; }
  const int* keys() const { return best_key_; }

 private:
  static constexpr unsigned EVERY = (1u << WIDTH) - 1;
  static int64_t groups(int64_t keys) { return ceil_div(keys, GROUP); }
  // k - 1 groups may lie above T with all of their scores; of those equal to T, k are enough
  static int room(int k) { return static_cast<int>(round_up((k - 1) * GROUP + k, WIDTH)); }

  static unsigned reaches(vfloat x, vfloat lowest, vfloat masked) {
    return bits(both(less(masked, x), negated(less(x, lowest)))) & EVERY;
  }

  void collect(int lane, float score, int key, bool tie) {
    if (tie && ++ties_[lane] > k_) return;
    const int n = count_[lane];
    if (n == room_) return;  // only where there are NaN, and then nobody reads it
    found_[lane * room_ + n] = score;
    found_key_[lane * room_ + n] = key;
    count_[lane] = n + 1;
  }

  // Lane by lane the k-th largest of `count` vectors, -inf if there are fewer: a sorted column of
  // k vectors, through which each newcomer sinks to its place.
  vfloat kth_maximum(const float* maxima, int count) {
    if (k_ <= 8) return kth_of_few(maxima, count);
    for (int i = 0; i < k_; i++) store(column_ + i * WIDTH, splat(-INFINITE));
    vfloat lowest = splat(-INFINITE);
    for (int g = 0; g < count; g++) {
      vfloat x = load(maxima + g * LANES);
      if (!any(less(lowest, x))) continue;
      for (int i = 0; i < k_; i++) {
        vfloat held = load(column_ + i * WIDTH);
        store(column_ + i * WIDTH, vmax(held, x));
        x = vmin(held, x);
      }
      lowest = load(column_ + (k_ - 1) * WIDTH);
    }
    return lowest;
  }
  // Eight stay in registers, and no branch is worth its mispredictions.
  vfloat kth_of_few(const float* maxima, int count) {
    vfloat held[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) held[i] = splat(-INFINITE);
    for (int g = 0; g < count; g++) {
      vfloat x = load(maxima + g * LANES);
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) {
        vfloat larger = vmax(held[i], x);
        x = vmin(held[i], x);
        held[i] = larger;
      }
    }
    for (int i = 0; i < 8; i++) store(column_ + i * WIDTH, held[i]);
    return load(column_ + (k_ - 1) * WIDTH);
  }

  int k_ = 0, room_ = 0;
  float* maxima_ = nullptr;  // [groups][LANES]
  float* column_ = nullptr;  // [k][WIDTH]
  float* found_ = nullptr;   // [LANES][room], in order of the keys
  int* found_key_ = nullptr;
  float* best_ = nullptr;    // [k]
  int* best_key_ = nullptr;
  int* count_ = nullptr;     // [LANES]
  int* ties_ = nullptr;      // [LANES] how many equal T
};

}  // namespace EYELINE_NAMESPACE
