// What a block of queries has seen so far: the sums of one row each, in its lane, and the scores that they are made of.
//
// Keys come in stretches. Between two of them maxima may have risen; then what was summed is brought to the new ones, as
// in the online softmax (online.h). The exponentials that are kept are not touched again: their maxima are kept too.
#pragma once
#include "block.h"
#include "finish.h"
#include "sums.h"
#include "topk.h"

namespace EYELINE_NAMESPACE {

struct Seen {
  Block block;
  float *query, *output;
  float* panel;   // [keys][LANES], scores and then e^(score - top)
  float* tops;    // [stretches][LANES], `top` when their scores became exponentials
  float* cells;   // [pool_cols][LANES], sums or maxima of exponentials
  int* kind;      // Tile of each STEP keys
  TopK best;
  CellWalk walk;  // over the columns of cells
  int64_t first_cell, last_cell;  // the block sees cells of [first_cell, last_cell)
  vfloat top[VECS], total[VECS], moment[VECS];
  vfloat factor[VECS];  // once everything is seen: a weight is factor e^(score - top)
  vfloat weight[VECS];  // the same for what is kept of one stretch

  // Nothing yet. `begin`: no later than the first key.
  void clear(const eyeline_call& c, int begin, int64_t width) {
    for (int v = 0; v < VECS; v++) {
      top[v] = splat(-INFINITE);
      total[v] = moment[v] = splat(0.0f);
    }
    clear(output, 0, width);
    first_cell = last_cell = 0;
    if (c.pooled && block.begin < block.end) {
      walk = CellWalk(begin, c.pool_cols, c.kv_len);
      first_cell = walk.cell;
      last_cell = cell_of(block.end - 1, c.pool_cols, c.kv_len) + 1;
      clear(cells, first_cell, last_cell);
    }
    if (c.top_k) best.clear(block.vecs);
  }

  // The scores of stretch `i` are known: everything to the maxima of now.
  void bring(int64_t i, int64_t width) {
    float* now = tops + i * LANES;
    for (int v = 0; v < block.vecs; v++) store(now + v * WIDTH, top[v]);
    if (i == 0) return;
    vfloat shrink[VECS];
    for (int v = 0; v < block.vecs; v++) {
      const vfloat risen = vmax(splat(-1e4f), load(now - LANES + v * WIDTH) - finite_or_zero(top[v]));
      shrink[v] = exp_or_zero(risen);
      moment[v] = fma(risen, total[v], moment[v]) * shrink[v];  // log e falls as well
      total[v] = total[v] * shrink[v];
    }
    scale(output, 0, width, shrink);
    scale(cells, first_cell, least(walk.cell + 1, last_cell), shrink);
  }

  // Everything is seen: what is kept of stretch `i` is asked for next.
  void turn_to(int64_t i) {
    for (int v = 0; v < block.vecs; v++)
      weight[v] = factor[v] * exp_or_zero(load(tops + i * LANES + v * WIDTH) - finite_or_zero(top[v]));
  }

 private:
  void clear(float* rows, int64_t from, int64_t to) {
    for (int64_t i = from * LANES; i < to * LANES; i += WIDTH) store(rows + i, splat(0.0f));
  }
  void scale(float* rows, int64_t from, int64_t to, const vfloat* by) {
    for (int64_t i = from; i < to; i++)
      for (int v = 0; v < block.vecs; v++) {
        float* at = rows + i * LANES + v * WIDTH;
        store(at, load(at) * by[v]);
      }
  }
};

}  // namespace EYELINE_NAMESPACE
