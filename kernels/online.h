// The online softmax: the maximum of a row may still rise while its exponentials are summed.
#pragma once
#include "finish.h"
#include "rules.h"
#include "sums.h"

namespace EYELINE_NAMESPACE {

// What a block knows of its rows so far.
struct Online {
  vfloat top[VECS], total[VECS];

  void begin() {
    for (int v = 0; v < VECS; v++) {
      top[v] = splat(-INFINITE);
      total[v] = splat(0.0f);
    }
  }

  // Scores of keys [j, j + n) to e^(score - top), in place, with `top` and `total` brought up to
  // date. False if a live score is not finite.
  //
  //   tile     what the rules add to the scores (NULL: nothing, all of them are live)
  //   highest  [Vecs], the maximum of `top` and of the plain scores
  //   shrink   [Vecs], written: what everything summed so far must be multiplied by
  //   slope    [n][LANES], written if softcap is on and the caller wants it: its derivative
  template <int Vecs>
  bool add(const Rules& rules, const Block& b, int j, int n, const float* tile, float* scores,
           vfloat* highest, vfloat* shrink, float* slope = nullptr) {
    const bool plain = !tile && !rules.softcap() && j >= b.full_begin && j + n <= b.full_end;
    if (!plain) {
      for (int v = 0; v < Vecs; v++) highest[v] = top[v];
      if (!rules.template apply<Vecs>(b, j, n, tile, scores, highest, slope)) return false;
    }
    for (int v = 0; v < Vecs; v++) {
      vfloat old = top[v];
      top[v] = highest[v];
      highest[v] = finite_or_zero(top[v]);
      shrink[v] = exp_or_zero(old - highest[v]);
      total[v] = total[v] * shrink[v];
    }
    if (plain)
      exponentiate<Vecs, true, false>(scores, n, highest, total, nullptr);
    else
      exponentiate<Vecs, false, false>(scores, n, highest, total, nullptr);
    return true;
  }
};

}  // namespace EYELINE_NAMESPACE
