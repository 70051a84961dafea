// The online softmax: the maximum of a row may still rise while its exponentials are summed.
#pragma once
#include "finish.h"
#include "rules.h"
#include "sums.h"

namespace EYELINE_NAMESPACE {

// What a block knows of its rows so far.
struct Online {
  vfloat top[VECS], total[VECS];
  vfloat rounded[VECS];  // `total` of what went into units, where somebody wants to know

  void begin() {
    for (int v = 0; v < VECS; v++) {
      top[v] = splat(-INFINITE);
      total[v] = rounded[v] = splat(0.0f);
    }
  }

  // Scores of keys [j, j + n) to e^(score - top), in place, with `top` and `total` brought up to
  // date. False if a live score is not finite.
  //
  //   tile     what the rules add to the scores (NULL: nothing, all of them are live)
  //   highest  [Vecs], the maximum of `top` and of the plain scores
  //   shrink   [Vecs], written: what everything summed so far must be multiplied by
  //   slope    [n][LANES], written if softcap is on and the caller wants it: its derivative
  //   units    [n / 2][LANES]: if given, the exponentials go there, in pairs of keys
  //   again    whether to add them up in `rounded` as well
  template <int Vecs>
  bool add(const Rules& rules, const Block& b, int j, int n, const float* tile, float* scores,
           vfloat* highest, vfloat* shrink, float* slope = nullptr, float* units = nullptr, bool again = false) {
    // where no rule adds anything, keys that all queries see need no change
    const bool limits_only = !tile && !rules.softcap();
    int before = limits_only ? least(most(b.full_begin - j, 0), n) : n;
    int until = most(least(b.full_end - j, n), before);
    before = least<int>(round_up(before, 2), n);  // whole units
    until = until == n ? n : most(until / 2 * 2, before);
    const bool plain = before == 0 && until == n;
    if (!plain) {
      for (int v = 0; v < Vecs; v++) highest[v] = top[v];
      if (!rules.template apply<Vecs>(b, j, before, tile, scores, highest, slope)) return false;
      for (int k = before; k < until; k++)
        for (int v = 0; v < Vecs; v++)
          highest[v] = vmax(highest[v], load(scores + k * LANES + v * WIDTH));
      if (!rules.template apply<Vecs>(b, j + until, n - until, nullptr, scores + until * LANES,
                                      highest))
        return false;
    }
    for (int v = 0; v < Vecs; v++) {
      vfloat old = top[v];
      top[v] = highest[v];
      highest[v] = finite_or_zero(top[v]);
      shrink[v] = exp_or_zero(old - highest[v]);
      total[v] = total[v] * shrink[v];
      rounded[v] = rounded[v] * shrink[v];
    }
    weigh<Vecs, false>(scores, 0, before, highest, units, again);
    weigh<Vecs, true>(scores, before, until, highest, units, again);
    weigh<Vecs, false>(scores, until, n, highest, units, again);
    return true;
  }

 private:
  template <int Vecs, bool Live>
  void weigh(float* scores, int from, int to, const vfloat* highest, float* units, bool again) {
    if (from >= to) return;
    scores += from * LANES;
#if defined(EYELINE_PAIRS)
    if (units) {
      units += from / 2 * LANES;
      if (again) return exponentiate_units<Vecs, Live, true>(scores, to - from, highest, total, rounded, units);
      return exponentiate_units<Vecs, Live, false>(scores, to - from, highest, total, rounded, units);
    }
#endif
    (void)units, (void)again;
    exponentiate<Vecs, Live, false>(scores, to - from, highest, total, nullptr);
  }
};

}  // namespace EYELINE_NAMESPACE
