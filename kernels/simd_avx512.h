// AVX-512: 16 lanes, 32 registers, mask registers.
#pragma once
#include <immintrin.h>

namespace EYELINE_NAMESPACE {

constexpr int WIDTH = 16;  // lanes of a vector
constexpr int ROWS = 8;    // a register tile is ROWS x VECS vectors: 24 sums + 3 + 1 registers
constexpr int VECS = 3;
constexpr bool PACK_KEYS = false;  // a tile reads them for 48 queries: they come in time from where they lie

using vfloat = __m512;
using vint = __m512i;
using vmask = __mmask16;

inline vfloat splat(float x) { return _mm512_set1_ps(x); }
inline vint splat(int x) { return _mm512_set1_epi32(x); }
inline vfloat load(const float* p) { return _mm512_loadu_ps(p); }
inline vint load(const int* p) { return _mm512_loadu_si512(p); }
inline void store(float* p, vfloat x) { _mm512_storeu_ps(p, x); }
inline void store(int* p, vint x) { _mm512_storeu_si512(p, x); }

inline vfloat fma(vfloat a, vfloat b, vfloat c) { return _mm512_fmadd_ps(a, b, c); }
// A NaN in the second argument comes through, one in the first does not.
inline vfloat vmax(vfloat a, vfloat b) { return _mm512_max_ps(a, b); }
inline vfloat vmin(vfloat a, vfloat b) { return _mm512_min_ps(a, b); }
inline vint plus(vint a, vint b) { return _mm512_add_epi32(a, b); }
inline vint times(vint a, vint b) { return _mm512_mullo_epi32(a, b); }
inline vint exclusive_or(vint a, vint b) { return _mm512_xor_si512(a, b); }
template <int Bits>
inline vint shift_right(vint a) {
  return _mm512_srli_epi32(a, Bits);  // zeros come in
}

inline vmask less(vint a, vint b) { return _mm512_cmplt_epi32_mask(a, b); }
inline vmask less(vfloat a, vfloat b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
inline vmask equal(vfloat a, vfloat b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
inline vmask both(vmask a, vmask b) { return a & b; }
inline vmask either(vmask a, vmask b) { return a | b; }
inline vmask negated(vmask a) { return static_cast<vmask>(~a); }
inline bool any(vmask a) { return a != 0; }
inline unsigned bits(vmask a) { return a; }
inline vint as_int(vfloat a) { return _mm512_castps_si512(a); }
inline vfloat as_float(vint a) { return _mm512_castsi512_ps(a); }
template <int Bits>
inline vint shift_left(vint a) {
  return _mm512_slli_epi32(a, Bits);
}
inline vfloat zero_if(vmask m, vfloat x) { return _mm512_maskz_mov_ps(negated(m), x); }
inline vfloat pick(vmask m, vfloat yes, vfloat no) { return _mm512_mask_blend_ps(m, no, yes); }

#define EYELINE_LOOK_UP
constexpr int POWERS_OF_2 = 32;  // in a table (exponential.h)
// table[index mod 32], lane by lane.
inline vint look_up(const int (&table)[32], vint index) {
  return _mm512_permutex2var_epi32(load(table), index, load(table + 16));
}
inline vint plus_or_zero(vmask m, vint a, vint b) { return _mm512_maskz_add_epi32(m, a, b); }
// No greater as unsigned integers: for numbers that are not above 0, no further from it.
inline vmask no_further(vfloat a, vfloat b) { return _mm512_cmple_epu32_mask(as_int(a), as_int(b)); }

// Numbers in memory as float lanes.
inline vfloat load_bf16(const uint16_t* p) {
  __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
inline vfloat load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void store_f16(uint16_t* p, vfloat x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline void store_bf16(uint16_t* p, vfloat x) {
  __m512i b = _mm512_castps_si512(x);
  __m512i odd = _mm512_and_si512(_mm512_srli_epi32(b, 16), splat(1));
  __m512i rounded = _mm512_add_epi32(b, _mm512_add_epi32(odd, splat(0x7fff)));  // to nearest even
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

#if defined(__AVX512BF16__)
#define EYELINE_PAIRS
#if defined(__AMX_BF16__)
#define EYELINE_TILES
#endif
// Pairs of bfloat16 in 32 bits, the lower half first.
inline vint load_bits(const float* p) { return _mm512_loadu_si512(p); }
inline vfloat add_pair_products(vint a, vint b, vfloat sum) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
// The lower halves of a, zeros above them, joined with the upper halves of b.
inline vint high_half_of_second(vint a, vint b) {
  return _mm512_ternarylogic_epi32(a, b, splat(-65536), 0xf8);  // a | (b & mask)
}
// Up to 16 numbers, 0 past `count`; and units of two such.
using vhalf = __m256i;
inline vhalf no_numbers() { return _mm256_setzero_si256(); }
inline vhalf load_some(const uint16_t* p, int64_t count) {
  if (count >= WIDTH) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << count) - 1), p);
}
inline vint join_units(vhalf a, vhalf b) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(a), _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
}
// Units (a[i], b[i]): the first eight to `low`, the others to `high`.
inline void interleave(const uint16_t* a, const uint16_t* b, float* low, float* high) {
  const vint units = join_units(load_some(a, WIDTH), load_some(b, WIDTH));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(low), _mm512_castsi512_si256(units));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(high), _mm512_extracti64x4_epi64(units, 1));
}
// Lane i: (low[i], high[i]), rounded to nearest even.
inline vint to_pairs(vfloat low, vfloat high) {
  const __m512i interleave = _mm512_set_epi32(
      0x1f000f, 0x1e000e, 0x1d000d, 0x1c000c, 0x1b000b, 0x1a000a, 0x190009, 0x180008,
      0x170007, 0x160006, 0x150005, 0x140004, 0x130003, 0x120002, 0x110001, 0x100000);
  const __m512i both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
  return _mm512_permutexvar_epi16(interleave, both);
}
// The same of neighbours: 16 numbers to 8 units.
inline void store_halves(float* to, vfloat x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
}
#endif

// 1 where the byte is not 0.
inline vmask load_bytes(const uint8_t* p) {
  return _mm_test_epi8_mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)),
                            _mm_set1_epi8(-1));
}

// The same of 32 bytes, a bit each.
inline uint32_t bits_of_bytes(const uint8_t* p) {
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm256_test_epi8_mask(x, x);
}
inline vmask any_bit(vint a, vint b) { return _mm512_test_epi32_mask(a, b); }

// Which of up to 16 numbers of a column are no less than `bound`: a bit for each.
#define EYELINE_GATHER
template <int Stride>
inline unsigned gather_at_least(const float* column, int count, float bound) {
  const __m512i number = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __mmask16 there = static_cast<__mmask16>((1u << count) - 1);
  const vfloat x = _mm512_mask_i32gather_ps(splat(0.0f), there, _mm512_mullo_epi32(number, splat(Stride)), column, 4);
  return _mm512_mask_cmp_ps_mask(there, x, splat(bound), _CMP_GE_OQ);
}
// List the numbers of the lanes that are named; returns how many. Writes a whole vector.
inline int list_lanes(vmask named, vint numbers, int* list) {
  store(list, _mm512_maskz_compress_epi32(named, numbers));
  return __builtin_popcount(named);
}

// x[r] lane c  <->  x[c] lane r.
inline void transpose(vfloat (&x)[16]) {
  vfloat t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    x[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    x[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    x[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    x[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_f32x4(x[i], x[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(x[i], x[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    x[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    x[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    x[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
    x[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

}  // namespace EYELINE_NAMESPACE
