// Compiled once for each instruction set: cut a call into tasks and hand them to threads.
#include "attend.h"

#include "backward.h"
#include "chunks.h"
#include "decode.h"
#include "forward.h"
#include "shares.h"
#include "threads.h"
#include "window.h"

namespace EYELINE_NAMESPACE {

// Few queries: keys are cut into parts, so that each thread has some.
template <class T>
static int decode(const eyeline_call& c, const Line& line, int threads) {
  const int64_t wanted = threads == 1 ? 1 : ceil_div(4 * threads, line.count);
  const int64_t keys = round_up(ceil_div(c.kv_len, least(wanted, ceil_div(c.kv_len, 256))), KEYS);
  const int64_t parts = ceil_div(c.kv_len, keys), each = Decode<T>::part_floats(c);
  const size_t room = static_cast<size_t>(line.count * parts * each) * sizeof(float);
  float* left = static_cast<float*>(malloc(room));
  if (!left) return EYELINE_OUT_OF_MEMORY;
  Tasks tasks(line.count * parts), joining(line.count);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    Scratch& scratch = Scratch::of_this_thread();
    Decode<T> work(c, line, scratch);
    for (int64_t i; tasks.next(&i);) {
      const int64_t begin = i % parts * keys;
      if (!work.run(i / parts, begin, least(begin + keys, c.kv_len), left + i * each))
        tasks.stop(EYELINE_SPECIAL_VALUES);
    }
#pragma omp barrier
    for (int64_t i; tasks.result() == EYELINE_OK && joining.next(&i);)
      if (!work.join(i, parts, left + i * parts * each)) joining.stop(EYELINE_SPECIAL_VALUES);
    scratch.relax();
  }
  free(left);
  return tasks.result() == EYELINE_OK ? joining.result() : tasks.result();
}

template <class T, class U>
static int forward(const eyeline_call& c, const Line& line, int threads) {
  // Large tasks share packed values, small ones share the work; a short line cut into large ones would
  // leave a small rest that costs as much packing. The shortest are only cut for threads that have nothing else:
  // few queries of many keys, the new part of a text, where reading and packing is much of the work
  int64_t queries = (line.length < 1024 ? MOST_BLOCKS<U> / 2 : MOST_BLOCKS<U>) * LANES;
  const int64_t enough = (line.length <= 4 * LANES ? 3 : 6) * threads;
  while (queries > LANES && line.count * ceil_div(line.length, queries) < enough) queries /= 2;
  const int64_t per_line = ceil_div(line.length, queries);
  Tasks tasks(line.count * per_line);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    Scratch& scratch = Scratch::of_this_thread();
    Forward<T, U> work(c, ceil_div(least(queries, line.length), LANES), scratch);
    for (int64_t task; tasks.next(&task);) {
      // with a causal mask the last queries see the most: begin with them
      int64_t start = (per_line - 1 - task % per_line) * queries;
      if (!work.run(line, task / per_line, start, least(start + queries, line.length)))
        tasks.stop(EYELINE_SPECIAL_VALUES);
    }
    scratch.relax();
  }
  return tasks.result();
}

template <class T, class U>
static int observe(const eyeline_call& c) {
  const Line line(c, false);
  const int threads = useful_threads(c);
  Chunks chunks(c, Observe<T, U>::queries_at_once(c), threads);
  if (!chunks.fine()) return EYELINE_OUT_OF_MEMORY;
  Tasks tasks(chunks.count());
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    Scratch& scratch = Scratch::of_this_thread();
    Observe<T, U> work(c, scratch);
    for (int64_t i; tasks.next(&i);)
      if (!work.run(line, chunks.head(i), chunks.start(i), chunks.stop(i), chunks.begin(i)))
        tasks.stop(EYELINE_SPECIAL_VALUES);
    scratch.relax();
  }
  chunks.merge();
  return tasks.result();
}

template <class T, class U>
static int forward_or_observe(const eyeline_call& c) {
  if (c.entropy || c.top_k || c.received || c.pooled) return observe<T, U>(c);
  const Line line(c, true);
  const int threads = useful_threads(c);
  return Decode<T>::suits(c, line) ? decode<T>(c, line, threads) : forward<T, U>(c, line, threads);
}

// Call `f` with what the products of these numbers multiply best.
template <class T, class F>
static int with_units(const eyeline_call& c, F f) {
#if defined(EYELINE_TILES)
  if constexpr (T::PAIRED)
    if (c.head_dim > NARROW) return f(Tiles());
#elif defined(EYELINE_PAIRS)
  if constexpr (T::PAIRED)
    if (c.head_dim > NARROW) return f(Pairs());
#endif
  (void)c;
  return f(Floats());
}

template <class T, class U>
static int gradients(const eyeline_backward& g) {
  const eyeline_call& c = g.call;
  if (!c.batch || !c.heads) return EYELINE_OK;
  const Line line = Line::of_keys(c);
  const int threads = useful_threads(c);
  const Shares shares(g, line, Backward<T, U>::rounds(g, line), threads);
  if (!shares.fine()) return EYELINE_OUT_OF_MEMORY;
  Tasks tasks(shares.count()), merging(shares.stretches());
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    Scratch& scratch = Scratch::of_this_thread();
    Backward<T, U> work(g, line, !shares.apart(), scratch);
    if (!work.fine()) tasks.stop(EYELINE_OUT_OF_MEMORY);
    for (int64_t i; tasks.next(&i);)
      if (!shares.each_line(i, [&](int64_t index, float* sums, const Side& side) {
            return work.run(index, shares.part(i), shares.parts(), sums, side);
          }))
        tasks.stop(EYELINE_SPECIAL_VALUES);
#pragma omp barrier
    for (int64_t i; tasks.result() == EYELINE_OK && merging.next(&i);)
      if (!shares.merge<T>(i)) merging.stop(EYELINE_SPECIAL_VALUES);
    scratch.relax();
  }
  if (tasks.result() != EYELINE_OK) return tasks.result();
  shares.merge_sides();
  return merging.result();
}

template <class T>
static int backward(const eyeline_backward& g) {
  return with_units<T>(g.call, [&](auto kind) { return gradients<T, decltype(kind)>(g); });
}

template <class T, class U>
static int look(const eyeline_window& w) {
  const Line line(w.call, false);
  const int64_t rows = w.row_end - w.row_begin, each = Window<T, U>::rows_each(w);
  const int64_t per_line = ceil_div(rows, each);
  eyeline_call part = w.call;  // how much there is to do
  part.q_len = rows, part.kv_len = w.key_end - w.key_begin, part.value_dim = 0;
  const int threads = useful_threads(part);
  Tasks tasks(line.count * per_line);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    Scratch& scratch = Scratch::of_this_thread();
    Window<T, U> work(w, scratch);
    for (int64_t task; tasks.next(&task);) {
      const int64_t start = w.row_begin + task % per_line * each;
      if (!work.run(line, task / per_line, start, least(start + each, w.row_end)))
        tasks.stop(EYELINE_SPECIAL_VALUES);
    }
    scratch.relax();
  }
  return tasks.result();
}

template <class T>
static int look(const eyeline_window& w) {
  return with_units<T>(w.call, [&](auto kind) { return look<T, decltype(kind)>(w); });
}

template <class T>
static int attend(const eyeline_call& c) {
  return with_units<T>(c, [&](auto kind) { return forward_or_observe<T, decltype(kind)>(c); });
}

int attend(const eyeline_call& c) {
  switch (c.dtype) {
    case EYELINE_FLOAT32: return attend<Float32>(c);
    case EYELINE_BFLOAT16: return attend<BFloat16>(c);
    default: return attend<Float16>(c);
  }
}

int attend_backward(const eyeline_backward& g) {
  switch (g.call.dtype) {
    case EYELINE_FLOAT32: return backward<Float32>(g);
    case EYELINE_BFLOAT16: return backward<BFloat16>(g);
    default: return backward<Float16>(g);
  }
}

int look(const eyeline_window& w) {
  switch (w.call.dtype) {
    case EYELINE_FLOAT32: return look<Float32>(w);
    case EYELINE_BFLOAT16: return look<BFloat16>(w);
    default: return look<Float16>(w);
  }
}

}  // namespace EYELINE_NAMESPACE
