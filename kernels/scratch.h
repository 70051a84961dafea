// Aligned memory; working memory of a thread, kept between calls so that small ones do not pay for it.
#pragma once
#include <stdlib.h>

#include "simd.h"

namespace EYELINE_NAMESPACE {

// Room for `count` floats, aligned to a cache line; NULL if there is none. Contents are garbage.
inline float* aligned_floats(int64_t count) {
  void* fresh = nullptr;
  const int code = posix_memalign(&fresh, 64, static_cast<size_t>(count) * sizeof(float));
  return code == 0 ? static_cast<float*>(fresh) : nullptr;
}

class Scratch {
 public:
  ~Scratch() { free(memory_); }

  // The same for as long as nobody reserves more.
  float* reserve(int64_t count) {
    if (count > capacity_) {
      free(memory_);
      memory_ = aligned_floats(count);
      capacity_ = memory_ ? count : 0;
    }
    return memory_;
  }

  // Give back what is too much to hold on to.
  void relax() {
    if (capacity_ <= (4 << 20)) return;
    free(memory_);
    memory_ = nullptr;
    capacity_ = 0;
  }

  static Scratch& of_this_thread() {
    static thread_local Scratch scratch;
    return scratch;
  }

 private:
  float* memory_ = nullptr;
  int64_t capacity_ = 0;
};

// Cuts one reserved stretch into arrays. Without memory it only finds out how much is needed.
class Cutter {
 public:
  explicit Cutter(float* memory) : memory_(memory) {}
  float* take(int64_t count) {
    float* here = memory_ ? memory_ + used_ : nullptr;
    used_ += round_up(count, 16);
    return here;
  }
  int64_t used() const { return used_; }

 private:
  float* memory_;
  int64_t used_ = 0;
};

}  // namespace EYELINE_NAMESPACE
