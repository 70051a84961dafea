// exp and tanh for vectors, accurate to about 1.6e-7.
#pragma once
#include "simd.h"

namespace EYELINE_NAMESPACE {

// e^x for x <= 0, and e^0 = 1. `Rounded`: to bfloat16 (4e-3) right away, 6e-5 is enough.
//
// e^-inf is NaN here, on purpose: the score of a live key is minus infinity only if it overflowed,
// and contract N3 wants to hear of it. Masked keys go through `exp_or_zero`.
//
// Results near 2^-126 become 0, and are not made in the first place: arithmetic on numbers below
// it is a hundred times slower on many CPUs, and far tails of a softmax are full of them. (Not so
// the user's own subnormal numbers.)
//
// In two halves, so that a loop can begin the next ones before it ends these.
struct Power {
  vfloat power, rest;  // e^x = power 2^(rest / POWERS_OF_2); `Rounded`: power e^rest
};

#if defined(EYELINE_LOOK_UP)
// With P = POWERS_OF_2 and x = (n + i / P + r / P) ln 2, n and i whole, 0 <= i < P, -1/2 <= r <= 1/2:
// e^x = 2^n 2^(i/P) 2^(r/P). The powers of i are in a table, and 2^(r/P) is so near to 1 that a parabola (P = 32,
// 5.3e-8) or a cubic (P = 8, 2.5e-8) gives it, minimax of the relative error.
constexpr int SHIFT = POWERS_OF_2 == 32 ? 23 - 5 : 23 - 3;  // of P n + i, so that n lies where a float has its exponent

// The bits of 2^(i/P) less those of its exponent, and less i at SHIFT, which comes along with n.
#if defined(__AVX512F__)
alignas(64) constexpr int POWERS[POWERS_OF_2] = {
    0, -78457, -152893, -223217, -289342, -351174, -408621, -461584, -509968, -553670, -592590,
    -626621, -655657, -679589, -698305, -711690, -719629, -722001, -718684, -709555, -694486,
    -673346, -646004, -612322, -572163, -525384, -471841, -411385, -343865, -269126, -187011,
    -97357};
#else
alignas(64) constexpr int POWERS[POWERS_OF_2] = {0, -289342, -509968, -655657, -719629, -694486, -572163, -343865};
#endif

template <bool Rounded = false>
inline Power begin_exp(vfloat x) {
  // Adding 1.5 * 2^23 leaves no room for a fraction: the sum's last bits are P n + i, here with
  // 127 for n = 0, as floats have it.
  const vfloat scale = splat(1.44269504f * POWERS_OF_2), magic = splat(12582912.0f + 127 * POWERS_OF_2);  // P / ln 2
  const vfloat sum = fma(x, scale, magic);
  const vfloat rest = Rounded ? fma(sum - magic, splat(-0.693147181f / POWERS_OF_2), x)
                              : fma(x, scale, magic - sum);  // NaN for x = -inf
  const vint power = plus_or_zero(no_further(x, splat(-87.0f)), look_up(POWERS, as_int(sum)),
                                  shift_left<SHIFT>(as_int(sum)));
  return {as_float(power), rest};
}
template <bool Rounded = false>
inline vfloat end_exp(Power x) {
  const vfloat r = x.rest;
  if constexpr (Rounded) return fma(x.power, r, x.power);
  vfloat less_one;  // 2^(r/P) - 1
  if constexpr (POWERS_OF_2 == 32)
    less_one = fma(r, splat(2.3459976e-4f), splat(2.1661168e-2f)) * r;
  else
    less_one = fma(fma(r, splat(1.083910582e-4f), splat(3.754025465e-3f)), r, splat(8.664340178e-2f)) * r;
  return fma(x.power, less_one, x.power);
}
#else
constexpr int POWERS_OF_2 = 1;

// With x = (n + r) ln 2 and n whole, e^x = 2^n 2^r, and 2^r on [-1/2, 1/2] is a polynomial of
// degree 5 (minimax of the relative error, 9e-8, with p(0) = 1). Nothing is `Rounded` here.
template <bool Rounded = false>
inline Power begin_exp(vfloat x) {
  // Adding 1.5 * 2^23 leaves no room for a fraction: the sum's last bits are n, here n + 127, which
  // is the exponent of 2^n.
  const vfloat log2_e = splat(1.44269504f), magic = splat(12582912.0f + 127);
  const vfloat sum = fma(x, log2_e, magic);
  const vfloat rest = fma(x, log2_e, magic - sum);  // NaN for x = -inf
  return {zero_if(less(x, splat(-87.0f)), as_float(shift_left<23>(as_int(sum)))), rest};
}
template <bool Rounded = false>
inline vfloat end_exp(Power x) {
  vfloat p = splat(1.326472731e-3f);
  p = fma(p, x.rest, splat(9.671512991e-3f));
  p = fma(p, x.rest, splat(5.550733581e-2f));
  p = fma(p, x.rest, splat(2.402224243e-1f));
  p = fma(p, x.rest, splat(6.931470037e-1f));
  p = fma(p, x.rest, splat(1.0f));
  return p * x.power;
}
#endif

template <bool Rounded = false>
inline vfloat exp_live(vfloat x) {
  return end_exp<Rounded>(begin_exp<Rounded>(x));
}

// The same with e^-inf = 0.
inline vfloat exp_or_zero(vfloat x) { return exp_live(vmax(splat(-1e4f), x)); }

// The natural logarithm of 2^-126 <= x < 2^127; that of 2^-126 for anything smaller. With x = 2^n (1 + f)
// and 1 + f around 1, a polynomial of degree 9 (Cephes, logf).
inline vfloat log_of(vfloat x) {
  constexpr int SQRT_HALF = 0x3f3504f3, ONE = 0x3f800000;
  const vint bits = as_int(vmax(splat(1.17549435e-38f), x));
  const vint n = shift_right<23>(plus(bits, splat(ONE - SQRT_HALF)));  // + 127
  const vfloat f = as_float(plus(bits, shift_left<23>(plus(splat(127), times(n, splat(-1)))))) - splat(1.0f);
  const vfloat whole = as_float(plus(n, splat(0x4b400000))) - splat(12582912.0f + 127);  // see exp_live
  vfloat p = splat(7.0376836292e-2f);
  p = fma(p, f, splat(-1.1514610310e-1f));
  p = fma(p, f, splat(1.1676998740e-1f));
  p = fma(p, f, splat(-1.2420140846e-1f));
  p = fma(p, f, splat(1.4249322787e-1f));
  p = fma(p, f, splat(-1.6668057665e-1f));
  p = fma(p, f, splat(2.0000714765e-1f));
  p = fma(p, f, splat(-2.4999993993e-1f));
  p = fma(p, f, splat(3.3333331174e-1f));
  const vfloat square = f * f;
  const vfloat curve = fma(p * f, square, square * splat(-0.5f));
  return fma(whole, splat(0.693359375f), fma(whole, splat(-2.12194440e-4f), curve) + f);
}

// Rational approximation of Eigen's (odd/even polynomials of degree 13/6).
inline vfloat tanh(vfloat x) {
  const float bound = 7.9988117f;
  x = vmax(splat(-bound), vmin(splat(bound), x));
  vfloat x2 = x * x;
  vfloat p = splat(-2.76076847742355e-16f);
  p = fma(p, x2, splat(2.00018790482477e-13f));
  p = fma(p, x2, splat(-8.60467152213735e-11f));
  p = fma(p, x2, splat(5.12229709037114e-08f));
  p = fma(p, x2, splat(1.48572235717979e-05f));
  p = fma(p, x2, splat(6.37261928875436e-04f));
  p = fma(p, x2, splat(4.89352455891786e-03f));
  vfloat q = splat(1.19825839466702e-06f);
  q = fma(q, x2, splat(1.18534705686654e-04f));
  q = fma(q, x2, splat(2.26843463243900e-03f));
  q = fma(q, x2, splat(4.89352518554385e-03f));
  return x * p / q;
}

}  // namespace EYELINE_NAMESPACE
