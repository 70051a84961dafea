// Fused multiply-adds that wait for nothing: the most that this machine computes in float32; and, where
// it multiplies tiles, in bfloat16.
#if defined(__AMX_BF16__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__AVX512F__)
constexpr int WIDTH = 16;
#elif defined(__AVX__)
constexpr int WIDTH = 8;
#else
constexpr int WIDTH = 4;
#endif
#if defined(__x86_64__)
#define ANY "v"  // any vector register
#else
#define ANY "w"
#endif
constexpr int CHAINS = 12;  // more than latency times units: each sum is ready when its turn comes
typedef float lanes __attribute__((vector_size(WIDTH * 4)));

// Operations done by `threads` threads in `rounds` rounds each.
extern "C" double spin(int threads, long rounds) {
#pragma omp parallel num_threads(threads)
  {
    lanes sum[CHAINS] = {}, a = sum[0] + 1.0f, b = sum[0] + 1e-9f;
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; c++) asm volatile("" : "+" ANY(sum[c]));  // equal chains would be merged
    for (long i = 0; i < rounds; i++) {
#pragma GCC unroll 12
      for (int c = 0; c < CHAINS; c++) sum[c] = sum[c] * a + b;
      asm volatile("" : "+" ANY(a), "+" ANY(b));  // nothing may be taken out of the loop
    }
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; c++) asm volatile("" : : ANY(sum[c]));
  }
  return 2.0 * WIDTH * CHAINS * static_cast<double>(threads) * static_cast<double>(rounds);
}

// The same in products of tiles, of zeros; 0 if there are none.
extern "C" double spin_tiles(int threads, long rounds) {
#if defined(__AMX_BF16__)
  constexpr long ASK = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  if (syscall(SYS_arch_prctl, ASK, TILE_DATA) != 0) return 0;
#pragma omp parallel num_threads(threads)
  {
    alignas(64) unsigned char sizes[64] = {1};  // palette 1: eight registers of 16 rows of 64 bytes
    for (int i = 0; i < 8; i++) sizes[16 + 2 * i] = 64, sizes[48 + i] = 16;
    asm volatile("ldtilecfg %0" : : "m"(sizes));
    asm volatile("tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n tilezero %%tmm3\n"
                 "tilezero %%tmm4\n tilezero %%tmm5\n tilezero %%tmm6\n tilezero %%tmm7" ::);
    for (long i = 0; i < rounds; i++)
      asm volatile("tdpbf16ps %%tmm7, %%tmm6, %%tmm0\n tdpbf16ps %%tmm7, %%tmm6, %%tmm1\n"
                   "tdpbf16ps %%tmm7, %%tmm6, %%tmm2\n tdpbf16ps %%tmm7, %%tmm6, %%tmm3\n"
                   "tdpbf16ps %%tmm7, %%tmm6, %%tmm4\n tdpbf16ps %%tmm7, %%tmm6, %%tmm5" ::);
    asm volatile("tilerelease" ::);
  }
  return 6.0 * 2 * 16 * 16 * 32 * static_cast<double>(threads) * static_cast<double>(rounds);
#else
  (void)threads, (void)rounds;
  return 0;
#endif
}
