// Sums along the queries, shared out: a head's queries are cut into chunks, each with arrays of its
// own, which are added up in order at the end. The cut depends on the number of threads, never on
// which of them is faster: same input, same thread count, same bits (contract N9).
#pragma once
#include <string.h>

#include "block.h"
#include "observe.h"

namespace EYELINE_NAMESPACE {

class Chunks {
 public:
  // Of whole rounds of `at_once` queries.
  Chunks(const eyeline_call& c, int64_t at_once, int threads) : call_(c), heads_(c.batch * c.heads) {
    // few heads are cut less often: each chunk has sums as long as the keys
    const int64_t rounds = ceil_div(c.q_len, at_once), all = (heads_ < 4 ? 8 : 16) * threads;
    queries_ = ceil_div(rounds, threads == 1 ? 1 : ceil_div(all, heads_)) * at_once;
    per_head_ = ceil_div(c.q_len, queries_);
    received_ = c.received && per_head_ > 1 ? c.kv_len : 0;
    edges_ = c.pooled && per_head_ > 1 ? 2 * c.pool_cols : 0;
    const int64_t size = count() * (received_ + edges_);
    if (size) memory_ = static_cast<float*>(calloc(static_cast<size_t>(size), sizeof(float)));
    fine_ = !size || memory_;
  }
  ~Chunks() { free(memory_); }
  Chunks(const Chunks&) = delete;

  bool fine() const { return fine_; }
  int64_t count() const { return heads_ * per_head_; }

  // Chunks by number: the last queries of all heads first, a causal mask gives them the most work.
  int64_t head(int64_t i) const { return i % heads_; }
  int64_t start(int64_t i) const { return (per_head_ - 1 - i / heads_) * queries_; }
  int64_t stop(int64_t i) const { return least(start(i) + queries_, call_.q_len); }

  // Set the results that the chunk will add to to 0.
  Share begin(int64_t i) {
    const eyeline_call& c = call_;
    Share share = {nullptr, nullptr, nullptr, {-1, -1}};
    const int64_t place = head(i) * per_head_ + start(i) / queries_;
    float* own = memory_ + place * (received_ + edges_);
    if (c.received) share.received = received_ ? own : c.received + head(i) * c.kv_len;
    if (c.received && !received_) zero(share.received, c.kv_len);
    if (c.pooled) {
      share.pooled = c.pooled + head(i) * c.pool_rows * c.pool_cols;
      int64_t first = row_cell(start(i)), next = stop(i) < c.q_len ? row_cell(stop(i)) : c.pool_rows;
      zero(share.pooled + first * c.pool_cols, (next - first) * c.pool_cols);
      if (edges_) {
        share.edge = own + received_;
        share.edge_row[0] = first;
        share.edge_row[1] = row_cell(stop(i) - 1);
      }
    }
    return share;
  }

  // Add up what the chunks kept for themselves.
  void merge() {
    if (!memory_) return;
    const eyeline_call& c = call_;
    for (int64_t h = 0; h < heads_; h++) {
      if (received_) zero(c.received + h * c.kv_len, c.kv_len);
      for (int64_t n = 0; n < per_head_; n++) {
        const float* own = memory_ + (h * per_head_ + n) * (received_ + edges_);
        for (int64_t j = 0; j < received_; j++) c.received[h * c.kv_len + j] += own[j];
        if (!edges_) continue;
        float* pooled = c.pooled + h * c.pool_rows * c.pool_cols;
        const int64_t first = row_cell(n * queries_);
        const int64_t last = row_cell(least((n + 1) * queries_, c.q_len) - 1);
        join(pooled + first * c.pool_cols, own + received_);
        if (last != first) join(pooled + last * c.pool_cols, own + received_ + c.pool_cols);
      }
    }
  }

 private:
  int64_t row_cell(int64_t row) const { return cell_of(row, call_.pool_rows, call_.q_len); }
  static void zero(float* at, int64_t count) {
    memset(at, 0, static_cast<size_t>(count) * sizeof(float));
  }
  void join(float* to, const float* from) const {
    for (int64_t i = 0; i < call_.pool_cols; i++)
      to[i] = call_.pool_reduce == EYELINE_POOL_SUM ? to[i] + from[i] : most(to[i], from[i]);
  }

  const eyeline_call& call_;
  int64_t heads_, per_head_, queries_, received_, edges_;
  float* memory_ = nullptr;
  bool fine_;
};

}  // namespace EYELINE_NAMESPACE
