// The exported functions: check the call, pick the instruction set once, go.
#include <stdlib.h>
#include <string.h>

#include "attend.h"
#include "eyeline_kernels.h"

#if defined(EYELINE_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

struct Build {
  const char* name;
  bool (*runs_here)();
  bool (*worth_it)();  // where nobody forces it
  int (*attend)(const eyeline_call&);
  int (*attend_backward)(const eyeline_backward&);
  int (*look)(const eyeline_window&);
};

#if defined(__x86_64__)
[[maybe_unused]] bool avx2_runs_here() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
[[maybe_unused]] bool avx512_runs_here() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}
[[maybe_unused]] bool avx512bf16_runs_here() { return avx512_runs_here() && __builtin_cpu_supports("avx512bf16"); }
// Intel's multiply pairs at half the speed of floats.
[[maybe_unused]] bool pairs_are_slow() { return __builtin_cpu_is("intel"); }
#endif

#if defined(EYELINE_AMX)
// Whether there are tiles, and Linux lets this process have them: it saves them only for who asked.
bool amx_runs_here() {
  constexpr unsigned AMX_BF16 = 1u << 22, AMX_TILE = 1u << 24;
  constexpr long ASK = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a, b, c, d = 0;
  if (!avx512bf16_runs_here() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  return (d & AMX_BF16) && (d & AMX_TILE) && syscall(SYS_arch_prctl, ASK, TILE_DATA) == 0;
}
#endif

bool always() { return true; }

#if !defined(EYELINE_AMX) && !defined(EYELINE_AVX512BF16) && !defined(EYELINE_AVX512) && !defined(EYELINE_AVX2) && \
    !defined(EYELINE_GENERIC)
#error "compile with -DEYELINE_GENERIC and whatever else was built: EYELINE_AVX2, ..."
#endif

// Best first.
const Build BUILDS[] = {
#if defined(EYELINE_AMX)
    {"amx", amx_runs_here, always, amx::attend, amx::attend_backward, amx::look},
#endif
#if defined(EYELINE_AVX512BF16)
    {"avx512bf16", avx512bf16_runs_here, [] { return !pairs_are_slow(); }, avx512bf16::attend,
     avx512bf16::attend_backward, avx512bf16::look},
#endif
#if defined(EYELINE_AVX512)
    {"avx512", avx512_runs_here, always, avx512::attend, avx512::attend_backward, avx512::look},
#endif
#if defined(EYELINE_AVX2)
    {"avx2", avx2_runs_here, always, avx2::attend, avx2::attend_backward, avx2::look},
#endif
#if defined(EYELINE_GENERIC)
    {"generic", always, always, generic::attend, generic::attend_backward, generic::look},
#endif
};

const Build* choose() {
  const char* name = getenv("EYELINE_ISA");
  const bool forced = name && *name;
  for (const Build& build : BUILDS) {
    if (forced ? strcmp(name, build.name) != 0 : !build.worth_it()) continue;
    if (build.runs_here()) return &build;
  }
  return nullptr;
}

const Build* chosen() {
  static const Build* const build = choose();
  return build;
}

int check(const eyeline_call* c) {
  const int64_t limit = int64_t{1} << 30;
  if (!c || c->size != static_cast<int32_t>(sizeof *c)) return EYELINE_BAD_STRUCT;
  const int64_t sizes[] = {c->batch, c->heads, c->q_len, c->kv_len, c->head_dim, c->value_dim};
  for (int64_t n : sizes)
    if (n < 0 || n > limit) return EYELINE_BAD_ARGUMENT;
  if (c->dtype < EYELINE_FLOAT32 || c->dtype > EYELINE_FLOAT16) return EYELINE_BAD_ARGUMENT;
  if (c->heads && (c->kv_heads < 1 || c->heads % c->kv_heads)) return EYELINE_BAD_ARGUMENT;
  if (c->threads < 1 || c->top_k < 0 || c->top_k > 64) return EYELINE_BAD_ARGUMENT;
  if (c->pooled && (c->pool_rows < 1 || c->pool_cols < 1)) return EYELINE_BAD_ARGUMENT;
  if (c->batch * c->heads * c->q_len == 0) return EYELINE_OK;  // pointers may then be anything
  if (c->top_k && (!c->top_values || !c->top_indices)) return EYELINE_BAD_ARGUMENT;
  if (c->dropout_threshold > uint64_t{1} << 32) return EYELINE_BAD_ARGUMENT;
  if ((c->dropout_threshold || c->unrounded_output) && (c->entropy || c->top_k || c->received || c->pooled))
    return EYELINE_UNSUPPORTED;
  return EYELINE_OK;
}

int check(const eyeline_backward* g) {
  if (!g || g->size != static_cast<int32_t>(sizeof *g)) return EYELINE_BAD_STRUCT;
  const eyeline_call& c = g->call;
  if (c.entropy || c.top_k || c.received || c.pooled || c.unrounded_output) return EYELINE_BAD_ARGUMENT;
  if (g->sinks_gradient && !c.sinks) return EYELINE_BAD_ARGUMENT;
  if (g->entropy_gradient && !g->entropy) return EYELINE_BAD_ARGUMENT;
  if (!g->forward_output != !g->forward_max || !g->forward_max != !g->forward_sum) return EYELINE_BAD_ARGUMENT;
  return check(&c);
}

int check(const eyeline_window* w) {
  if (!w || w->size != static_cast<int32_t>(sizeof *w)) return EYELINE_BAD_STRUCT;
  const eyeline_call& c = w->call;
  if (w->row_begin < 0 || w->row_end > c.q_len || w->row_begin > w->row_end) return EYELINE_BAD_ARGUMENT;
  if (w->key_begin < 0 || w->key_end > c.kv_len || w->key_begin > w->key_end) return EYELINE_BAD_ARGUMENT;
  if (!w->weights == !w->pixels || (w->pixels && w->pixel < 1)) return EYELINE_BAD_ARGUMENT;
  if (!c.row_max || !c.row_sum || c.output) return EYELINE_BAD_ARGUMENT;
  return check(&c);
}

}  // namespace

extern "C" {

EYELINE_EXPORT int eyeline_attend(const eyeline_call* call) {
  const Build* build = chosen();
  if (!build) return EYELINE_NO_SUCH_ISA;
  const int code = check(call);
  if (code != EYELINE_OK || call->batch * call->heads * call->q_len == 0) return code;
  return build->attend(*call);
}

EYELINE_EXPORT int eyeline_attend_backward(const eyeline_backward* backward) {
  const Build* build = chosen();
  if (!build) return EYELINE_NO_SUCH_ISA;
  const int code = check(backward);
  return code == EYELINE_OK ? build->attend_backward(*backward) : code;
}

EYELINE_EXPORT int eyeline_look(const eyeline_window* window) {
  const Build* build = chosen();
  if (!build) return EYELINE_NO_SUCH_ISA;
  const int code = check(window);
  if (code != EYELINE_OK || window->row_begin == window->row_end || window->key_begin == window->key_end)
    return code;
  return build->look(*window);
}

EYELINE_EXPORT const char* eyeline_error(int code) {
  switch (code) {
    case EYELINE_OK: return "no error";
    case EYELINE_SPECIAL_VALUES: return "met NaN, an infinity or an overflow";
    case EYELINE_BAD_STRUCT: return "a struct has the wrong size: header and library differ";
    case EYELINE_BAD_ARGUMENT: return "a shape, dtype or pointer makes no sense";
    case EYELINE_UNSUPPORTED: return "not supported by the kernels yet";
    case EYELINE_NO_SUCH_ISA: return "EYELINE_ISA names an instruction set that is not here";
    case EYELINE_OUT_OF_MEMORY: return "out of memory";
  }
  return "unknown error";
}

EYELINE_EXPORT const char* eyeline_isa(void) {
  const Build* build = chosen();
  return build ? build->name : "";
}
}
