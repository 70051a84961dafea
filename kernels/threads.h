// Sharing out tasks. The threads are OpenMP's: torch's own pool when torch was loaded first.
#pragma once
#include "simd.h"

namespace EYELINE_NAMESPACE {

// A counter that threads draw from. Which thread does a task never shows in its result.
class Tasks {
 public:
  explicit Tasks(int64_t count) : count_(count) {}

  bool next(int64_t* task) {
    if (__atomic_load_n(&result_, __ATOMIC_RELAXED) != EYELINE_OK) return false;
    *task = __atomic_fetch_add(&next_, 1, __ATOMIC_RELAXED);
    return *task < count_;
  }
  void stop(int why) { __atomic_store_n(&result_, why, __ATOMIC_RELAXED); }
  int result() const { return result_; }

 private:
  int64_t count_, next_ = 0;
  int result_ = EYELINE_OK;
};

// Waking a thread costs a few microseconds: each should have ten to do. A head takes some of its own,
// and reading a key and its value takes as long as four queries need for them.
inline int useful_threads(const eyeline_call& c) {
  const double width = static_cast<double>(c.head_dim + c.value_dim), keys = static_cast<double>(c.kv_len);
  const double head = static_cast<double>(c.q_len) * keys * (width + 16) + 4 * keys * width + 8192;
  const double enough = static_cast<double>(c.batch * c.heads) * head / 5e5 + 1;
  return enough < c.threads ? static_cast<int>(enough) : c.threads;
}

}  // namespace EYELINE_NAMESPACE
