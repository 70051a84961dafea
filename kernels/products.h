// What the products multiply: single floats, or pairs of bfloat16 numbers where the CPU can add both
// products of a pair to a float at once. Either way a unit is 32 bits and sums are floats.
#pragma once
#include <string.h>

#include "simd.h"

namespace EYELINE_NAMESPACE {

struct Floats {
  static constexpr int TERMS = 1;  // numbers in a unit, along the sum
  using vector = vfloat;
  using number = float;
  static vector load(const float* p) { return EYELINE_NAMESPACE::load(p); }
  static vector broadcast(const number* p) { return splat(*p); }
  static vfloat add(vector a, vector b, vfloat sum) { return fma(a, b, sum); }
};

#if defined(EYELINE_PAIRS)
struct Pairs {
  static constexpr int TERMS = 2;
  using vector = vint;
  using number = uint16_t;
  static vector load(const float* p) { return load_bits(p); }
  template <class Any>
  static vector broadcast(const Any* p) {
    int both;
    memcpy(&both, p, sizeof both);
    return splat(both);
  }
  static vfloat add(vector a, vector b, vfloat sum) { return add_pair_products(a, b, sum); }
};
#endif

// Units that hold `count` numbers.
template <class U>
inline int64_t units(int64_t count) {
  return ceil_div(count, U::TERMS);
}

}  // namespace EYELINE_NAMESPACE
