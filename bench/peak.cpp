// Fused multiply-adds that wait for nothing: the most that this machine computes in float32.
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
