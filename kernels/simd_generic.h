// Any CPU: four lanes in the compiler's own vector type, which gcc and clang turn into SSE2, NEON,
// VSX, ... or into scalars.
#pragma once
#include <string.h>

namespace EYELINE_NAMESPACE {

constexpr int WIDTH = 4;
#if defined(__aarch64__)
constexpr int ROWS = 6;  // 32 registers: 18 sums + 3 + 1
#else
constexpr int ROWS = 4;  // 16 registers: 12 sums + 3 + 1
#endif
constexpr int VECS = 3;
constexpr bool PACK_KEYS = false;

typedef float vfloat __attribute__((vector_size(16)));
typedef int32_t vint __attribute__((vector_size(16)));
struct vmask {
  vint lanes;  // -1 or 0
};

inline vfloat splat(float x) { return vfloat{x, x, x, x}; }
inline vint splat(int x) { return vint{x, x, x, x}; }
inline vfloat load(const float* p) {
  vfloat x;
  memcpy(&x, p, sizeof x);
  return x;
}
inline vint load(const int* p) {
  vint x;
  memcpy(&x, p, sizeof x);
  return x;
}
inline void store(float* p, vfloat x) { memcpy(p, &x, sizeof x); }
inline void store(int* p, vint x) { memcpy(p, &x, sizeof x); }
inline vint as_int(vfloat x) {
  vint y;
  memcpy(&y, &x, sizeof y);
  return y;
}
inline vfloat as_float(vint x) {
  vfloat y;
  memcpy(&y, &x, sizeof y);
  return y;
}
inline vfloat pick(vmask m, vfloat yes, vfloat no) {
  return as_float((m.lanes & as_int(yes)) | (~m.lanes & as_int(no)));
}

inline vfloat fma(vfloat a, vfloat b, vfloat c) { return a * b + c; }
// A NaN in the second argument comes through, one in the first does not.
inline vfloat vmax(vfloat a, vfloat b) { return pick({a > b}, a, b); }
inline vfloat vmin(vfloat a, vfloat b) { return pick({a < b}, a, b); }
// Integers wrap around: only unsigned ones may do so in C++.
typedef uint32_t vbits __attribute__((vector_size(16)));
inline vint plus(vint a, vint b) { return (vint)((vbits)a + (vbits)b); }
inline vint times(vint a, vint b) { return (vint)((vbits)a * (vbits)b); }
inline vint exclusive_or(vint a, vint b) { return a ^ b; }
template <int Bits>
inline vint shift_right(vint a) {
  return (vint)((vbits)a >> Bits);  // zeros come in
}

template <int Bits>
inline vint shift_left(vint a) {
  return (vint)((vbits)a << Bits);
}
inline vfloat zero_if(vmask m, vfloat x) { return as_float(~m.lanes & as_int(x)); }

inline vmask less(vint a, vint b) { return {a < b}; }
inline vmask less(vfloat a, vfloat b) { return {a < b}; }
inline vmask equal(vfloat a, vfloat b) { return {a == b}; }
inline vmask both(vmask a, vmask b) { return {a.lanes & b.lanes}; }
inline vmask either(vmask a, vmask b) { return {a.lanes | b.lanes}; }
inline vmask negated(vmask a) { return {~a.lanes}; }
inline unsigned bits(vmask a) {
  unsigned result = 0;
  for (int i = 0; i < WIDTH; i++) result |= static_cast<unsigned>(a.lanes[i] & 1) << i;
  return result;
}
inline bool any(vmask a) { return bits(a) != 0; }

inline float float_of_bits(uint32_t b) {
  float x;
  memcpy(&x, &b, sizeof x);
  return x;
}
inline uint32_t bits_of_float(float x) {
  uint32_t b;
  memcpy(&b, &x, sizeof b);
  return b;
}
inline float float_of_f16(uint16_t h) {
  uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, rest = h & 0x7fff;
  if (rest >= 0x7c00) return float_of_bits(sign | 0x7f800000 | ((rest & 0x3ff) << 13));
  // 2^112 moves the exponent's zero and makes small numbers normal
  float x = float_of_bits(rest << 13) * float_of_bits(0x77800000);
  return float_of_bits(sign | bits_of_float(x));
}
inline uint16_t f16_of_float(float x) {
  uint32_t b = bits_of_float(x), sign = (b >> 16) & 0x8000, rest = b & 0x7fffffff;
  if (rest > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
  if (rest >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);
  if (rest < 0x38800000) {  // subnormal: let an addition do the rounding
    float shifted = float_of_bits(rest) + 0.5f;
    return static_cast<uint16_t>(sign | (bits_of_float(shifted) - 0x3f000000));
  }
  rest += 0xc8000fff + ((rest >> 13) & 1);  // exponent bias 127 -> 15, then to nearest even
  return static_cast<uint16_t>(sign | (rest >> 13));
}
inline vfloat load_bf16(const uint16_t* p) {
  vfloat x;
  for (int i = 0; i < WIDTH; i++) x[i] = float_of_bits(static_cast<uint32_t>(p[i]) << 16);
  return x;
}
inline vfloat load_f16(const uint16_t* p) {
  vfloat x;
  for (int i = 0; i < WIDTH; i++) x[i] = float_of_f16(p[i]);
  return x;
}
inline void store_f16(uint16_t* p, vfloat x) {
  for (int i = 0; i < WIDTH; i++) p[i] = f16_of_float(x[i]);
}
inline void store_bf16(uint16_t* p, vfloat x) {
  for (int i = 0; i < WIDTH; i++) {
    uint32_t b = bits_of_float(x[i]);
    p[i] = static_cast<uint16_t>((b + 0x7fff + ((b >> 16) & 1)) >> 16);  // to nearest even
  }
}
inline vmask load_bytes(const uint8_t* p) {
  vint x;
  for (int i = 0; i < WIDTH; i++) x[i] = p[i] != 0 ? -1 : 0;
  return {x};
}
// The same of 32 bytes, a bit each.
inline uint32_t bits_of_bytes(const uint8_t* p) {
  uint32_t found = 0;
  for (int i = 0; i < 32; i++) found |= static_cast<uint32_t>(p[i] != 0) << i;
  return found;
}
inline vmask any_bit(vint a, vint b) { return {(a & b) != 0}; }

// x[r] lane c  <->  x[c] lane r.
inline void transpose(vfloat (&x)[4]) {
  vfloat t[4];
  for (int r = 0; r < 4; r++)
    for (int c = 0; c < 4; c++) t[c][r] = x[r][c];
  for (int r = 0; r < 4; r++) x[r] = t[r];
}

}  // namespace EYELINE_NAMESPACE
