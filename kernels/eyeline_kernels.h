// The C interface of eyeline's CPU kernels: one struct, one call. No torch, no C++ types.
//
// Legend: b batch, h query head, i query, j key. Query head h reads key/value head
// h / (heads / kv_heads). Strides count elements, not bytes.
#pragma once
#include <stdint.h>

#if defined(_WIN32)
#define EYELINE_EXPORT __declspec(dllexport)
#else
#define EYELINE_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { EYELINE_FLOAT32 = 0, EYELINE_BFLOAT16 = 1, EYELINE_FLOAT16 = 2 };
enum { EYELINE_POOL_SUM = 0, EYELINE_POOL_MAX = 1 };

enum {
  EYELINE_OK = 0,
  // Something not finite was met. Results are undefined: run a careful implementation instead.
  EYELINE_SPECIAL_VALUES = 1,
  EYELINE_BAD_STRUCT = 2,       // `size` is not this header's
  EYELINE_BAD_ARGUMENT = 3,     // a shape, dtype or pointer makes no sense
  EYELINE_UNSUPPORTED = 4,      // legal, but not written yet
  EYELINE_NO_SUCH_ISA = 5,      // EYELINE_ISA names something this CPU or this build lacks
  EYELINE_OUT_OF_MEMORY = 6,
};

typedef struct eyeline_call {
  int32_t size;     // sizeof(eyeline_call)
  int32_t dtype;    // of query, key, value and output
  int32_t threads;  // at most this many; small problems take fewer
  int64_t batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim;

  // The innermost stride is 1. Strides: batch, head, position. Any may be 0 on inputs.
  const void *query, *key, *value;
  int64_t query_stride[3], key_stride[3], value_stride[3];

  float scale;
  float softcap;  // scores become softcap * tanh(scores / softcap); 0 = off

  // Which keys query i may see: all of [0, kv_len), cut by each rule that is given.
  int32_t has_first, has_last;
  int64_t first_offset, last_offset;     // j >= i + first_offset,  j <= i + last_offset
  const int32_t *row_first, *row_last;   // j >= row_first[b,h,i],  j < row_last[b,h,i]
  int64_t row_stride[3];                 // b, h, i of both; 0 broadcasts
  const uint8_t* dense_mask;             // 1 = may attend
  int64_t dense_mask_stride[4];          // b, h, i, j; 0 broadcasts

  // Added to the scores after scale and softcap. -inf masks; NaN and +inf are the caller's error.
  const float* bias;
  int64_t bias_stride[4];                // b, h, i, j; 0 broadcasts
  const float* diagonal;                 // diagonal[b,h][j - i + q_len - 1]: ALiBi, T5 buckets, ...
  int64_t diagonal_stride[2];            // b, h

  const float* sinks;                    // [heads]: a key without a value. NULL = none

  // A weight is dropped if its hash is below the threshold, round(p * 2^32); 0 = no dropout. Those
  // kept are multiplied by the scale, 1 / (1 - p). Not together with entropy ... pooled below.
  uint64_t dropout_threshold;
  float dropout_scale;
  uint32_t dropout_seed;

  // Results. Any may be NULL, except that something must be asked for. Strides: b, h, i.
  void* output;
  int64_t output_stride[3];
  float* unrounded_output;  // [b,h,i,value_dim], contiguous: before it is rounded to the dtype. Not with what was seen.
  // [b,h,i]: weight = exp(score - row_max) / row_sum. The two are kept apart because their
  // log-sum-exp would swallow the sum where scores are as large as 1e9. A row that sees no key has
  // row_max = -inf and row_sum = 0.
  float *row_max, *row_sum;

  // What was seen; contiguous; weights before dropout.
  float* entropy;        // [b,h,i] in nats
  int32_t top_k;         // 0..64
  float* top_values;     // [b,h,i,top_k], largest first, ties to the lower index; 0 where none
  int64_t* top_indices;  // [b,h,i,top_k]; -1 where there is no such key
  float* received;       // [b,h,kv_len]: column sums
  float* pooled;         // [b,h,pool_rows,pool_cols]; the cell of index x is x * count / length
  int64_t pool_rows, pool_cols;
  int32_t pool_reduce;
} eyeline_call;

// Gradients of the output, or of numbers of its rows, with respect to everything that went into them.
typedef struct eyeline_backward {
  int32_t size;       // sizeof(eyeline_backward)
  eyeline_call call;  // its results are not written, except row_max and row_sum if they are given

  // All of the dtype of the query, the innermost stride 1. Strides: batch, head, position.
  // For numbers of the rows alone, value_dim is 0.
  const void* output_gradient;  // any stride may be 0
  int64_t output_gradient_stride[3];
  void *query_gradient, *key_gradient, *value_gradient;
  int64_t query_gradient_stride[3], key_gradient_stride[3], value_gradient_stride[3];

  // What the forward pass found, all three or none (then it is found once more on the way, which takes longer): its
  // output before that was rounded to the dtype, and row_max and row_sum. Strides: batch, head, position.
  const float* forward_output;
  int64_t forward_output_stride[3];
  const float *forward_max, *forward_sum;

  // Gradients of each row's log-sum-exp and entropy, and the entropies: [b,h,i], or all NULL.
  const float *logsumexp_gradient, *entropy_gradient, *entropy;

  // What these hold is added to: hand in zeros. NULL = not wanted.
  float* bias_gradient;
  int64_t bias_gradient_stride[4];  // b, h, i, j; 0 sums over the dimension
  float* diagonal_gradient;         // [heads][q_len + kv_len - 1], summed over the batch
  float* sinks_gradient;            // [heads]
} eyeline_backward;

// Weights of a rectangle of every head, from what an earlier call found.
typedef struct eyeline_window {
  int32_t size;       // sizeof(eyeline_window)
  eyeline_call call;  // row_max and row_sum are read, pool_reduce says how; nothing else is written
  int64_t row_begin, row_end, key_begin, key_end;
  // One of the two. Weights: [b,h,rows,keys]. Pixels: [b,h,ceil(rows / pixel),ceil(keys / pixel)], each
  // the sum or the maximum of a square of weights; hand in zeros.
  float *weights, *pixels;
  int64_t pixel;
} eyeline_window;

EYELINE_EXPORT int eyeline_attend(const eyeline_call* call);
EYELINE_EXPORT int eyeline_attend_backward(const eyeline_backward* backward);
EYELINE_EXPORT int eyeline_look(const eyeline_window* window);
EYELINE_EXPORT const char* eyeline_error(int code);
// The instruction set in use ("avx512", ...), "" if EYELINE_ISA names one that is missing.
EYELINE_EXPORT const char* eyeline_isa(void);

#ifdef __cplusplus
}
#endif
