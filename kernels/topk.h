// The k largest scores of every query, exactly, ties to the lower key.
//
// Keys are cut into groups. At most k - 1 groups can have a maximum above T, the k-th largest group
// maximum, and all of the k largest scores reach T: so nearly all groups hold nothing that matters. The
// few scores that reach T are collected lane by lane, while they are near anyway, and all lanes together put
// them into sorted columns: whether scores come sorted, shuffled or all equal makes little difference.
#pragma once
#include "scratch.h"

namespace EYELINE_NAMESPACE {

constexpr int GROUP = 2 * ROWS;  // two tiles of the scores' product; of few keys one, where that is worth it
constexpr int MOST_TOP = 64;

class TopK {
 public:
  void place(Cutter& cut, int k, int64_t kv_len) {
    k_ = k;
    if (k == 0) return;
    const int columns = most(k, FEW);
#if defined(EYELINE_GATHER)
    if (kv_len <= SHORT) group_ = ROWS;
#endif
    room_ = (2 * k - 1) * group_;
    maxima_ = cut.take(ceil_div(kv_len, group_) * LANES);
    bound_ = cut.take(LANES);
    ties_ = cut.take(LANES);
    count_ = reinterpret_cast<int*>(cut.take(LANES));
    found_ = cut.take(room_ * LANES);
    found_key_ = reinterpret_cast<int*>(cut.take(room_ * LANES));
    sorted_ = cut.take(columns * WIDTH);
    best_ = cut.take(columns * LANES);
    best_key_ = reinterpret_cast<int*>(cut.take(columns * LANES));
  }

  // Note the maxima of `keys` keys that begin at panel position `at`, a multiple of GROUP.
  void note(const float* scores, int at, int keys, int vecs) {
    for (int k = 0; k < keys; k += group_) {
      float* to = maxima_ + (at + k) / group_ * LANES;
      const int here = least(group_, keys - k);
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
    const int each = group_ / ROWS;
    for (int t = 0; t < count; t += each, tiles += each * LANES) {
      float* to = maxima_ + (at / group_ + t / each) * LANES;
      for (int v = 0; v < vecs * WIDTH; v += WIDTH)
        store(to + v, each > 1 && t + 1 < count ? vmax(load(tiles + v), load(tiles + LANES + v)) : load(tiles + v));
    }
  }
  void note_nothing(int at, int keys) {
    for (int k = 0; k < keys; k += group_)
      for (int v = 0; v < LANES; v += WIDTH)
        store(maxima_ + (at + k) / group_ * LANES + v, splat(-INFINITE));
  }

  // Nothing is found yet.
  void clear(int vecs) {
    vecs_ = vecs;
    for (int i = 0; i < most(k_, FEW); i++)
      for (int v = 0; v < vecs * WIDTH; v += WIDTH) {
        store(best_ + i * LANES + v, splat(-INFINITE));
        store(best_key_ + i * LANES + v, splat(-1));
      }
  }

  // The maxima of the next `keys` keys are noted, -inf where all of a group is masked: what must be reached to be among
  // the largest of them and of what was found before.
  void bound(int keys) {
    const int groups = static_cast<int>(ceil_div(keys, group_));
    for (int v = 0; v < vecs_ * WIDTH; v += WIDTH) {
      store(bound_ + v, vmax(kth_maximum(v, groups), splat(LOWEST)));
      store(ties_ + v, splat(0.0f));
      store(count_ + v, splat(0));
    }
  }

  // Keep each lane's scores that reach T, of the `keys` keys that begin at `at`. The first of all has the
  // number `first_key`.
  void collect(const float* scores, int at, int keys, int first_key) {
    for (int k = 0; k < keys; k += group_, scores += group_ * LANES) {
      const float* maxima = maxima_ + (at + k) / group_ * LANES;
      for (int v = 0; v < vecs_ * WIDTH; v += WIDTH) {
        const vfloat maximum = load(maxima + v);
        const vmask hit = negated(less(maximum, load(bound_ + v)));
        if (bits(hit) & EVERY) collect_group(scores + v, least(group_, keys - k), hit, maximum, v, first_key + at + k);
      }
    }
  }

  // What was collected, in order, to what was found before.
  void sort() {
    for (int v = 0; v < vecs_ * WIDTH; v += WIDTH) {
      int longest = 0;
      for (int i = 0; i < WIDTH; i++) longest = most(longest, count_[v + i]);
      if (k_ <= FEW)
        sort_few(v, longest);
      else
        sort_many(v, longest);
    }
  }

  // The i-th largest of each lane, [LANES], and its key; -inf and -1 where there are fewer.
  const float* score(int i) const { return best_ + i * LANES; }
  const int* key(int i) const { return best_key_ + i * LANES; }

 private:
  static constexpr int FEW = 8, SHORT = 1024;
  static constexpr float LOWEST = -3.40282347e38f;  // of the finite numbers
  static constexpr unsigned EVERY = (1u << WIDTH) - 1;

  void collect_group(const float* scores, int keys, vmask hit, vfloat maximum, int v, int first_key) {
    const vfloat bound = load(bound_ + v);
    // of the groups whose maximum is T itself, k are enough
    const vfloat ties = load(ties_ + v) + pick(equal(maximum, bound), splat(1.0f), splat(0.0f));
    store(ties_ + v, ties);
    hit = both(hit, negated(both(equal(maximum, bound), less(splat(static_cast<float>(k_)), ties))));
    // no room is left only where there are NaN, and then nobody reads it
    hit = both(hit, less(load(count_ + v), splat(static_cast<int>(room_) - group_ + 1)));
    const auto keep = [&](int i, int lane) {
      const int64_t place = count_[v + lane]++ * LANES + v + lane;
      found_[place] = scores[i * LANES + lane];
      found_key_[place] = first_key + i;
    };
#if defined(EYELINE_GATHER)
    if (group_ < GROUP) {  // so few keys that most groups are hit: look at all lanes
      int list[ROWS * WIDTH + WIDTH], listed = 0;
      for (int i = 0; i < keys; i++) {
        const vmask here = both(hit, negated(less(load(scores + i * LANES), bound)));
        listed += list_lanes(here, plus(lane_numbers(), splat(i * WIDTH)), list + listed);
      }
      for (int n = 0; n < listed; n++) keep(list[n] / WIDTH, list[n] % WIDTH);
      return;
    }
    for (unsigned lanes = bits(hit) & EVERY; lanes; lanes &= lanes - 1) {
      const int lane = __builtin_ctz(lanes);
      unsigned reached = gather_at_least<LANES>(scores + lane, keys, bound_[v + lane]);
      for (; reached; reached &= reached - 1) keep(__builtin_ctz(reached), lane);
    }
#else
    static_assert(GROUP * WIDTH <= 64, "a bit for each lane of each key");
    uint64_t reached = 0;
#pragma GCC unroll 16
    for (int i = 0; i < GROUP; i++) {
      const vmask here = both(hit, negated(less(load(scores + i * LANES), bound)));
      reached |= static_cast<uint64_t>(i < keys ? bits(here) & EVERY : 0) << (i * WIDTH);
    }
    for (; reached; reached &= reached - 1) {
      const int bit = __builtin_ctzll(reached);
      keep(bit / WIDTH, bit % WIDTH);
    }
#endif
  }

  // What was found i-th in each lane; -inf where nothing was.
  vfloat found(int i, int v) const {
    return pick(less(splat(i), load(count_ + v)), load(found_ + i * LANES + v), splat(-INFINITE));
  }

  // What is below a newcomer moves one column down. Among equals the earlier key is first, and keys come in
  // order.
  void sort_many(int v, int longest) {
    float* best = best_ + v;
    int* best_key = best_key_ + v;
    for (int n = 0; n < longest; n++) {
      const vfloat x = found(n, v), key = as_float(load(found_key_ + n * LANES + v));
      int64_t i = (k_ - 1) * LANES;
      vfloat here = load(best + i);
      vmask below = less(here, x);
      if (!any(below)) continue;
      for (; i > 0; i -= LANES) {
        const vfloat above = load(best + i - LANES);
        const vmask both_below = less(above, x);
        const vfloat moved = pick(both_below, as_float(load(best_key + i - LANES)), key);
        store(best_key + i, as_int(pick(below, moved, as_float(load(best_key + i)))));
        store(best + i, pick(below, pick(both_below, above, x), here));
        here = above, below = both_below;
      }
      store(best_key, as_int(pick(below, key, as_float(load(best_key)))));
      store(best, pick(below, x, here));
    }
  }

  // The same with the columns in registers, and without a branch, which would not be foreseen.
  void sort_few(int v, int longest) {
    vfloat held[FEW], held_key[FEW];
#pragma GCC unroll 8
    for (int i = 0; i < FEW; i++) {
      held[i] = load(best_ + i * LANES + v);
      held_key[i] = as_float(load(best_key_ + i * LANES + v));
    }
    for (int n = 0; n < longest; n++) {
      const vfloat x = found(n, v), key = as_float(load(found_key_ + n * LANES + v));
      vmask below = less(held[FEW - 1], x);
#pragma GCC unroll 8
      for (int i = FEW - 1; i > 0; i--) {
        const vmask both_below = less(held[i - 1], x);
        held_key[i] = pick(below, pick(both_below, held_key[i - 1], key), held_key[i]);
        held[i] = vmax(held[i], vmin(held[i - 1], x));
        below = both_below;
      }
      held_key[0] = pick(below, key, held_key[0]);
      held[0] = vmax(held[0], x);
    }
#pragma GCC unroll 8
    for (int i = 0; i < FEW; i++) {
      store(best_ + i * LANES + v, held[i]);
      store(best_key_ + i * LANES + v, as_int(held_key[i]));
    }
  }

  // Lane by lane the k-th largest of what was found and of `count` maxima, -inf if there are fewer: a sorted
  // column of k vectors, through which each newcomer sinks to its place.
  vfloat kth_maximum(int v, int count) {
    if (k_ <= FEW) return kth_of_few(v, count);
    for (int i = 0; i < k_; i++) store(sorted_ + i * WIDTH, load(best_ + i * LANES + v));
    vfloat lowest = load(sorted_ + (k_ - 1) * WIDTH);
    for (int g = 0; g < count; g++) {
      vfloat x = load(maxima_ + g * LANES + v);
      if (!any(less(lowest, x))) continue;
      for (int i = 0; i < k_; i++) {
        vfloat held = load(sorted_ + i * WIDTH);
        store(sorted_ + i * WIDTH, vmax(held, x));
        x = vmin(held, x);
      }
      lowest = load(sorted_ + (k_ - 1) * WIDTH);
    }
    return lowest;
  }
  // Few stay in registers, and no branch is worth its mispredictions.
  vfloat kth_of_few(int v, int count) {
    vfloat held[FEW];
#pragma GCC unroll 8
    for (int i = 0; i < FEW; i++) held[i] = load(best_ + i * LANES + v);
    for (int g = 0; g < count; g++) {
      vfloat x = load(maxima_ + g * LANES + v);
#pragma GCC unroll 8
      for (int i = 0; i < FEW; i++) {
        vfloat larger = vmax(held[i], x);
        x = vmin(held[i], x);
        held[i] = larger;
      }
    }
    for (int i = 0; i < FEW; i++) store(sorted_ + i * WIDTH, held[i]);
    return load(sorted_ + (k_ - 1) * WIDTH);
  }

  int k_ = 0, vecs_ = 0;
  int group_ = GROUP;         // keys in one
  int64_t room_ = 0;
  float* maxima_ = nullptr;   // [groups][LANES]
  float* bound_ = nullptr;    // [LANES], T: finite, so that nothing masked reaches it
  float* ties_ = nullptr;     // [LANES], groups whose maximum is T
  int* count_ = nullptr;      // [LANES]
  float* found_ = nullptr;    // [room][LANES], in order of the keys
  int* found_key_ = nullptr;
  float* sorted_ = nullptr;   // [k][WIDTH]
  float* best_ = nullptr;     // [k][LANES], the largest first
  int* best_key_ = nullptr;
};

}  // namespace EYELINE_NAMESPACE
