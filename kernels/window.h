// Weights of a rectangle, once the rows' maxima and sums are known: a later question to a map. Either
// the weights themselves, or pixels: sums or maxima of squares of them.
#pragma once
#include "finish.h"
#include "microkernel.h"
#include "packed.h"
#include "rules.h"
#include "scratch.h"
#include "sums.h"

namespace EYELINE_NAMESPACE {

template <class T, class U>
class Window {
 public:
  Window(const eyeline_window& w, Scratch& scratch)
      : all_(w), call_(w.call), rules_(w.call), rest_(Scale(w.call.scale).rest),
        pixels_(w.pixels ? ceil_div(w.key_end - w.key_begin, w.pixel) : 0), packed_(w.call, KEYS, 0, 1) {
    Cutter measure(nullptr);
    place(measure);
    Cutter cut(scratch.reserve(measure.used()));
    place(cut);
  }

  // How many queries a task takes: whole pixels, so that no two tasks add to the same.
  static int64_t rows_each(const eyeline_window& w) {
    return w.pixels ? round_up(4 * LANES, w.pixel) : 4 * LANES;
  }

  // Queries [start, stop) of a head. False if something not finite was met.
  bool run(const Line& line, int64_t index, int64_t start, int64_t stop) {
    for (int64_t i = start; i < stop; i += LANES) {
      block_.fill(call_, line, index, i, least(i + LANES, stop));
      if (!with_vecs(block_.vecs, [&](auto vecs) { return walk<decltype(vecs)::value>(index); }))
        return false;
    }
    return true;
  }

 private:
  void place(Cutter& cut) {
    query_ = cut.take(units<U>(call_.head_dim) * LANES);
    scores_ = cut.take((KEYS + ROOM<U>) * LANES);
    tile_ = cut.take(KEYS * LANES);
    cells_ = cut.take(pixels_ * LANES);
    packed_.place(cut);
  }

  template <int Vecs>
  bool walk(int64_t index) {
    const Block& b = block_;
    pack_query<T, U>(call_, b, query_);
    vfloat top[Vecs], factor[Vecs];
    read_rows<Vecs>(top, factor);
    for (int64_t i = 0; i < pixels_ * LANES; i += WIDTH) store(cells_ + i, splat(0.0f));
    const int64_t width = all_.key_end - all_.key_begin;
    float* rows[LANES];
    for (int lane = 0; lane < b.count; lane++)
      rows[lane] = all_.weights + (index * (all_.row_end - all_.row_begin) + b.row[lane] - all_.row_begin) * width;
    for (int64_t j = all_.key_begin; j < all_.key_end; j += KEYS) {
      const int n = static_cast<int>(least<int64_t>(KEYS, all_.key_end - j));
      const bool some = weigh<Vecs>(static_cast<int>(j), n, top);
      if (!fine_) return false;
      if (all_.weights) {
        if (!lanes_to_rows<Float32>(scores_, factor, b.count, n, rows)) return false;
        for (int lane = 0; lane < b.count; lane++) rows[lane] += n;
      } else if (some) {
        add_pixels<Vecs>(j - all_.key_begin, n);
      }
    }
    if (all_.pixels) give_pixels(index, factor);
    return true;
  }

  // e^(score - top) of keys [j, j + n), 0 where masked. False if all of them are.
  template <int Vecs>
  bool weigh(int j, int n, const vfloat* top) {
    const Block& b = block_;
    const int from = least(most(j, b.begin), j + n), to = most(least(j + n, b.end), from);
    const Tile tile = from < to ? rules_.prepare(b, from, to - from, tile_) : Tile::EMPTY;
    if (tile == Tile::EMPTY) {
      for (int64_t i = 0; i < n * LANES; i += WIDTH) store(scores_ + i, splat(0.0f));
      return false;
    }
    for (int64_t i = 0; i < (from - j) * LANES; i += WIDTH) store(scores_ + i, splat(0.0f));
    vfloat unused[Vecs];
    for (int v = 0; v < Vecs; v++) unused[v] = splat(-INFINITE);
    float* scores = scores_ + (from - j) * LANES;
    packed_.read_keys(b, from, to - from);
    packed_.template score<Vecs>(b, from, to - from, query_, rest_, scores, unused);
    const bool plain = tile == Tile::FULL && !rules_.softcap() && from >= b.full_begin && to <= b.full_end;
    if (!plain && !rules_.template apply<Vecs>(b, from, to - from, tile == Tile::PARTIAL ? tile_ : nullptr,
                                               scores, unused))
      return fine_ = false;
    vfloat probe = splat(0.0f);  // 0 * x is NaN for NaN and infinity
    for (int k = 0; k < to - from; k++)
      for (int v = 0; v < Vecs; v++) {
        float* at = scores + k * LANES + v * WIDTH;
        // a maximum found by other arithmetic may be passed by a rounding
        const vfloat x = vmin(splat(0.0f), load(at) - top[v]);
        const vfloat e = plain ? exp_live(x) : exp_or_zero(x);
        probe = fma(e, splat(0.0f), probe);
        store(at, e);
      }
    if (any(negated(equal(probe, splat(0.0f))))) return fine_ = false;
    for (int64_t i = (to - j) * LANES; i < n * LANES; i += WIDTH) store(scores_ + i, splat(0.0f));
    return true;
  }

  // The rows' maxima, and one over their sums; 0 where a row sees nothing.
  template <int Vecs>
  void read_rows(vfloat* top, vfloat* factor) const {
    alignas(64) float maximum[LANES] = {}, share[LANES] = {};
    for (int lane = 0; lane < block_.count; lane++) {
      const int64_t at = block_.statistic(call_, lane);
      if (!(call_.row_sum[at] != 0)) continue;
      maximum[lane] = call_.row_max[at];
      share[lane] = 1 / call_.row_sum[at];
    }
    for (int v = 0; v < Vecs; v++) {
      top[v] = load(maximum + v * WIDTH);
      factor[v] = load(share + v * WIDTH);
    }
  }

  template <int Vecs>
  void add_pixels(int64_t from, int n) {
    const bool maximum = call_.pool_reduce == EYELINE_POOL_MAX;
    for (int64_t k = 0; k < n;) {
      const int64_t pixel = (from + k) / all_.pixel;
      const int64_t stop = least<int64_t>((pixel + 1) * all_.pixel - from, n);
      float* cell = cells_ + pixel * LANES;
      for (; k < stop; k++)
        for (int v = 0; v < Vecs * WIDTH; v += WIDTH) {
          const vfloat e = load(scores_ + k * LANES + v), old = load(cell + v);
          store(cell + v, maximum ? vmax(old, e) : old + e);
        }
    }
  }

  void give_pixels(int64_t index, const vfloat* factor) {
    int64_t row_pixel[LANES];
    for (int lane = 0; lane < block_.count; lane++)
      row_pixel[lane] = (block_.row[lane] - all_.row_begin) / all_.pixel;
    float* picture = all_.pixels + index * ceil_div(all_.row_end - all_.row_begin, all_.pixel) * pixels_;
    add_rows(cells_, pixels_, factor, block_.count, row_pixel, call_.pool_reduce == EYELINE_POOL_MAX,
             [&](int64_t row) { return picture + row * pixels_; });
  }

  typename U::Registers registers_;
  const eyeline_window& all_;
  const eyeline_call& call_;
  Rules rules_;
  float rest_;
  int64_t pixels_;  // along the keys
  Packed<T, U> packed_;
  Block block_;
  bool fine_ = true;
  float *query_ = nullptr, *scores_ = nullptr, *tile_ = nullptr, *cells_ = nullptr;
};

}  // namespace EYELINE_NAMESPACE
