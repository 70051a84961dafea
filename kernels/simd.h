// One small vector vocabulary; which instruction set speaks it is chosen when compiling.
//
// Everything that is compiled once per instruction set lives in a namespace of that name:
// otherwise the linker would merge equal inline functions of several builds, and a CPU could be
// handed code that it cannot run. For the same reason nothing here calls std:: templates.
#pragma once
#include <stdint.h>

#include "eyeline_kernels.h"

#ifndef EYELINE_NAMESPACE
#error "compile with -DEYELINE_NAMESPACE=generic, avx2, avx512, avx512bf16 or amx"
#endif

#if defined(__AVX512F__)
#include "simd_avx512.h"
#elif defined(__AVX2__)
#include "simd_avx2.h"
#else
#include "simd_generic.h"
#endif

namespace EYELINE_NAMESPACE {

constexpr int LANES = VECS * WIDTH;  // queries that are worked on together
constexpr bool SMALL_BLOCKS = LANES < 48;  // keys are read more often: more blocks share what is read of them
constexpr float INFINITE = __builtin_huge_valf();

template <class Int>
constexpr Int least(Int a, Int b) {
  return a < b ? a : b;
}
template <class Int>
constexpr Int most(Int a, Int b) {
  return a > b ? a : b;
}
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

#ifndef EYELINE_IN_REGISTER
inline vfloat in_register(vfloat x) { return x; }
#endif

// 0, 1, 2, ...
inline vint lane_numbers() {
  alignas(64) static constexpr int NUMBERS[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return load(NUMBERS);
}

// Call `f` with the number of vectors as a constant, so that its loops unroll.
template <int N>
struct Constant {
  static constexpr int value = N;
};
template <class F>
inline bool with_vecs(int vecs, F f) {
  switch (vecs) {
    case 3: return f(Constant<3>());
    case 2: return f(Constant<2>());
    default: return f(Constant<1>());
  }
}

}  // namespace EYELINE_NAMESPACE
