// The k largest scores of every query, exactly, ties to the lower key.
//
// Keys are cut into groups. At most k - 1 groups can have a maximum above T, the k-th largest group
// maximum, and all of the k largest scores reach T: so nearly all groups hold nothing that matters,
// and the few scores that reach T are collected and ranked. Whether the scores come sorted, shuffled
// or all equal makes little difference.
#pragma once
#include "scratch.h"

namespace EYELINE_NAMESPACE {

constexpr int GROUP = 2 * ROWS;  // two tiles of the scores' product
constexpr int MOST_TOP = 64;

class TopK {
 public:
  void place(Cutter& cut, int k, int64_t kv_len) {
    k_ = k;
    if (k == 0) return;
    stride_ = round_up(k, WIDTH);
    maxima_ = cut.take(ceil_div(kv_len, GROUP) * LANES);
    column_ = cut.take(most(k, 8) * WIDTH);
    best_ = cut.take(stride_ * LANES);
    best_key_ = reinterpret_cast<int*>(cut.take(stride_ * LANES));
    room_ = round_up((2 * k - 1) * GROUP, columns()) + WIDTH;
    found_ = cut.take(room_ * WIDTH);
    found_key_ = reinterpret_cast<int*>(cut.take(room_ * WIDTH));
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
  // The same from the maxima of each ROWS keys, [keys / ROWS][LANES].
  void note_tiles(const float* tiles, int at, int keys, int vecs) {
    const int count = ceil_div(keys, ROWS);
    for (int t = 0; t < count; t += 2, tiles += 2 * LANES) {
      float* to = maxima_ + (at / GROUP + t / 2) * LANES;
      for (int v = 0; v < vecs * WIDTH; v += WIDTH)
        store(to + v, t + 1 < count ? vmax(load(tiles + v), load(tiles + LANES + v)) : load(tiles + v));
    }
  }
  void note_nothing(int at, int keys) {
    for (int k = 0; k < keys; k += GROUP)
      for (int v = 0; v < LANES; v += WIDTH)
        store(maxima_ + (at + k) / GROUP * LANES + v, splat(-INFINITE));
  }

  // Find each lane's k largest. `panel` is [keys][LANES], -inf where masked.
  void find(const float* panel, int keys, int first_key, int vecs) {
    const int count = static_cast<int>(ceil_div(keys, GROUP));
    for (int v = 0; v < vecs * WIDTH; v += WIDTH) {
      int found[WIDTH];
      collect(panel + v, keys, first_key, v, kth_maximum(maxima_ + v, count), found);
      for (int i = 0; i < WIDTH; i++) {
        float *of_lane = found_ + i * room_, *best = best_ + (v + i) * stride_;
        int *key_of_lane = found_key_ + i * room_, *best_key = best_key_ + (v + i) * stride_;
        rank(of_lane, key_of_lane, thin_out(of_lane, key_of_lane, found[i], best, best_key), best, best_key);
      }
    }
  }

  // A lane's k largest in order, filled up with -inf and -1.
  const float* scores(int lane) const { return best_ + lane * stride_; }
  const int* keys(int lane) const { return best_key_ + lane * stride_; }

 private:
  static constexpr unsigned EVERY = (1u << WIDTH) - 1;
  int columns() const { return static_cast<int>(round_up(2 * k_, WIDTH)); }

  // Each lane's scores that reach its T. At most k - 1 groups have a maximum above T; of those whose
  // maximum is T itself, k are enough.
  void collect(const float* panel, int keys, int first_key, int v, vfloat lowest, int* found) {
    const vfloat masked = splat(-INFINITE);
    alignas(64) float threshold[WIDTH];
    store(threshold, lowest);
    int ties[WIDTH] = {};
    for (int i = 0; i < WIDTH; i++) found[i] = 0;
    for (int k = 0; k < keys; k += GROUP) {
      const float* maximum = maxima_ + k / GROUP * LANES + v;
      const vfloat x = load(maximum);
      unsigned hits = bits(both(less(masked, x), negated(less(x, lowest)))) & EVERY;
      for (; hits; hits &= hits - 1) {
        const int i = __builtin_ctz(hits);
        if (maximum[i] == threshold[i] && ++ties[i] > k_) continue;
        if (found[i] + GROUP > room_) continue;  // only where there are NaN, and then nobody reads it
        const int64_t at = i * room_ + found[i];
        found[i] += column_at_least<LANES>(panel + k * LANES + i, least(GROUP, keys - k), threshold[i],
                                           first_key + k, found_ + at, found_key_ + at);
      }
    }
  }

  // Much is found where a row sees few groups, and to rank it takes the square of that. Laid out in
  // twice k columns, the k-th largest of their maxima is another bound: what reaches it is kept, in
  // order. Returns how many; `best` and `best_key` are written over.
  int thin_out(float* found, int* key, int count, float* best, int* best_key) {
    if (count <= 2 * columns()) return count;
    for (int i = count; i % columns(); i++) found[i] = -INFINITE;
    for (int c = 0; c < columns(); c += WIDTH) {
      vfloat highest = load(found + c);
      for (int i = c + columns(); i < count; i += columns()) highest = vmax(highest, load(found + i));
      store(column_ + c, highest);
    }
    rank(column_, key, columns(), best, best_key);
    const float lowest = best[k_ - 1];
    int kept = 0;
    for (int i = 0; i < count; i++) {
      const float score = found[i];
      found[kept] = score;
      key[kept] = key[i];
      kept += score >= lowest;
    }
    return kept;
  }

  // Put the k largest of what was found in their places.
  void rank(const float* found, const int* key, int count, float* best, int* best_key) const {
    for (int i = 0; i < k_; i++) {
      best[i] = -INFINITE;
      best_key[i] = -1;
    }
    const vfloat one = splat(1.0f), zero = splat(0.0f);
    for (int first = 0; first < count; first += WIDTH) {
      const vfloat mine = load(found + first);
      const vint number = plus(lane_numbers(), splat(first));
      vfloat before = zero;  // how many: the larger ones, and the equal ones of lower key
      for (int i = 0; i < count; i++) {
        const vfloat other = splat(found[i]);
        const vmask lower = both(equal(mine, other), less(splat(i), number));
        before = before + pick(either(less(mine, other), lower), one, zero);
      }
      alignas(64) float place[WIDTH];
      store(place, before);
      for (int i = 0; i < least(WIDTH, count - first); i++) {
        if (place[i] >= static_cast<float>(k_)) continue;
        best[static_cast<int>(place[i])] = found[first + i];
        best_key[static_cast<int>(place[i])] = key[first + i];
      }
    }
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

  int k_ = 0;
  int64_t stride_ = 0, room_ = 0;
  float* maxima_ = nullptr;  // [groups][LANES]
  float* column_ = nullptr;  // [k][WIDTH]
  float* best_ = nullptr;    // [LANES][stride]
  int* best_key_ = nullptr;
  float* found_ = nullptr;   // [WIDTH][room], in order of the keys
  int* found_key_ = nullptr;
};

}  // namespace EYELINE_NAMESPACE
