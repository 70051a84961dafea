// Working memory of a thread: kept between calls, so that small ones do not pay for allocation.
#pragma once
#include <stdlib.h>

#include "simd.h"

namespace EYELINE_NAMESPACE {

class Scratch {
 public:
  ~Scratch() { free(memory_); }

  // Room for `count` floats, aligned to a cache line; NULL if there is none. Contents are garbage.
  float* reserve(int64_t count) {
    if (count > capacity_) {
      free(memory_);
      memory_ = nullptr;
      capacity_ = 0;
      void* fresh = nullptr;
      if (posix_memalign(&fresh, 64, static_cast<size_t>(count) * sizeof(float)) != 0) return nullptr;
      memory_ = static_cast<float*>(fresh);
      capacity_ = count;
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

// Cuts one reserved stretch into arrays.
class Cutter {
 public:
  explicit Cutter(float* memory) : next_(memory) {}
  float* take(int64_t count) {
    float* here = next_;
    next_ += round_up(count, 16);
    return here;
  }

 private:
  float* next_;
};

}  // namespace EYELINE_NAMESPACE
