// AVX2 with FMA and F16C: 8 lanes, 16 registers.
#pragma once
#include <immintrin.h>

namespace EYELINE_NAMESPACE {

constexpr int WIDTH = 8;
constexpr int ROWS = 4;  // 12 sums + 3 + 1 = all 16 registers
constexpr int VECS = 3;
constexpr bool PACK_KEYS = true;  // in panels, where several blocks of queries read them

using vfloat = __m256;
using vint = __m256i;
struct vmask {
  __m256 lanes;  // all ones or all zeros
};

inline vfloat splat(float x) { return _mm256_set1_ps(x); }
inline vint splat(int x) { return _mm256_set1_epi32(x); }
inline vfloat load(const float* p) { return _mm256_loadu_ps(p); }
inline vint load(const int* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline void store(int* p, vint x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
inline void store(float* p, vfloat x) { _mm256_storeu_ps(p, x); }

// In a register from here on, where several sums use it: gcc would read it from memory for each.
#define EYELINE_IN_REGISTER
inline vfloat in_register(vfloat x) {
  asm("" : "+x"(x));
  return x;
}

inline vfloat fma(vfloat a, vfloat b, vfloat c) { return _mm256_fmadd_ps(a, b, c); }
// A NaN in the second argument comes through, one in the first does not.
inline vfloat vmax(vfloat a, vfloat b) { return _mm256_max_ps(a, b); }
inline vfloat vmin(vfloat a, vfloat b) { return _mm256_min_ps(a, b); }
inline vint plus(vint a, vint b) { return _mm256_add_epi32(a, b); }
inline vint times(vint a, vint b) { return _mm256_mullo_epi32(a, b); }
inline vint exclusive_or(vint a, vint b) { return _mm256_xor_si256(a, b); }
template <int Bits>
inline vint shift_right(vint a) {
  return _mm256_srli_epi32(a, Bits);  // zeros come in
}

inline vmask less(vint a, vint b) { return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a))}; }
inline vmask less(vfloat a, vfloat b) { return {_mm256_cmp_ps(a, b, _CMP_LT_OQ)}; }
inline vmask equal(vfloat a, vfloat b) { return {_mm256_cmp_ps(a, b, _CMP_EQ_OQ)}; }
inline vmask both(vmask a, vmask b) { return {_mm256_and_ps(a.lanes, b.lanes)}; }
inline vmask either(vmask a, vmask b) { return {_mm256_or_ps(a.lanes, b.lanes)}; }
inline vmask negated(vmask a) {
  return {_mm256_xor_ps(a.lanes, _mm256_castsi256_ps(splat(-1)))};
}
inline unsigned bits(vmask a) { return static_cast<unsigned>(_mm256_movemask_ps(a.lanes)); }
inline bool any(vmask a) { return bits(a) != 0; }
inline vint as_int(vfloat a) { return _mm256_castps_si256(a); }
inline vfloat as_float(vint a) { return _mm256_castsi256_ps(a); }
template <int Bits>
inline vint shift_left(vint a) {
  return _mm256_slli_epi32(a, Bits);
}
inline vfloat zero_if(vmask m, vfloat x) { return _mm256_andnot_ps(m.lanes, x); }
inline vfloat pick(vmask m, vfloat yes, vfloat no) { return _mm256_blendv_ps(no, yes, m.lanes); }

#define EYELINE_LOOK_UP
constexpr int POWERS_OF_2 = 8;  // in a table (exponential.h)
// table[index mod 8], lane by lane.
inline vint look_up(const int (&table)[8], vint index) { return _mm256_permutevar8x32_epi32(load(table), index); }
inline vint plus_or_zero(vmask m, vint a, vint b) { return as_int(_mm256_and_ps(m.lanes, as_float(plus(a, b)))); }
// For numbers that are not above 0: no further from it.
inline vmask no_further(vfloat a, vfloat b) { return {_mm256_cmp_ps(a, b, _CMP_GE_OQ)}; }

inline vfloat load_bf16(const uint16_t* p) {
  __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
// 16 of them, the even ones apart from the odd ones: a load, a shift and an "and" instead of two of each.
#define EYELINE_APART
inline void load_bf16_apart(const uint16_t* p, vfloat& even, vfloat& odd) {
  const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  even = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
  odd = _mm256_castsi256_ps(_mm256_and_si256(both, splat(static_cast<int>(0xffff0000))));
}
// 16 numbers in their order to the even and the odd ones, and back.
inline void apart(vfloat& a, vfloat& b) {
  const __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88)), odd = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd));
  a = _mm256_castpd_ps(_mm256_permute4x64_pd(even, 0xd8));
  b = _mm256_castpd_ps(_mm256_permute4x64_pd(odd, 0xd8));
}
inline void together(vfloat& even, vfloat& odd) {
  const vfloat low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
  even = _mm256_permute2f128_ps(low, high, 0x20);
  odd = _mm256_permute2f128_ps(low, high, 0x31);
}
inline vfloat load_f16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline void store_f16(uint16_t* p, vfloat x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
inline void store_bf16(uint16_t* p, vfloat x) {
  __m256i b = _mm256_castps_si256(x);
  __m256i odd = _mm256_and_si256(_mm256_srli_epi32(b, 16), splat(1));
  __m256i rounded = _mm256_add_epi32(b, _mm256_add_epi32(odd, splat(0x7fff)));
  __m256i high = _mm256_srli_epi32(rounded, 16);
  __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
// All ones where the byte is not 0.
inline vmask load_bytes(const uint8_t* p) {
  __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(wide, splat(0)))};
}

// The same of 32 bytes, a bit each.
inline uint32_t bits_of_bytes(const uint8_t* p) {
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return ~static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, _mm256_setzero_si256())));
}
// Where a has any bit of b; b has one.
inline vmask any_bit(vint a, vint b) {
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(a, b), b))};
}

// to[c][r] = x[r] lane c.
#define EYELINE_WEAVE
inline void weave(const vfloat (&x)[ROWS], float* to) {
  const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(x[0], x[1])), b = _mm256_castps_pd(_mm256_unpacklo_ps(x[2], x[3]));
  const __m256d c = _mm256_castps_pd(_mm256_unpackhi_ps(x[0], x[1])), d = _mm256_castps_pd(_mm256_unpackhi_ps(x[2], x[3]));
  // columns 0 and 4, 1 and 5, ...
  const vfloat first = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), second = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
  const vfloat third = _mm256_castpd_ps(_mm256_unpacklo_pd(c, d)), fourth = _mm256_castpd_ps(_mm256_unpackhi_pd(c, d));
  store(to, _mm256_permute2f128_ps(first, second, 0x20));
  store(to + WIDTH, _mm256_permute2f128_ps(third, fourth, 0x20));
  store(to + 2 * WIDTH, _mm256_permute2f128_ps(first, second, 0x31));
  store(to + 3 * WIDTH, _mm256_permute2f128_ps(third, fourth, 0x31));
}

// x[r] lane c  <->  x[c] lane r.
inline void transpose(vfloat (&x)[8]) {
  vfloat t[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    x[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    x[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    x[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    x[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[i] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x20);
    t[i + 4] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) x[i] = t[i];
}

}  // namespace EYELINE_NAMESPACE
