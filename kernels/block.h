// A block: up to LANES queries that read the same key/value head, and which keys they may see.
#pragma once
#include "pack_tiles.h"
#include "simd.h"

namespace EYELINE_NAMESPACE {

// The queries that share keys, in a line. With one query per head and call (`fold` > 1) the line
// runs through all heads of a group first, so that K and V are read once for the whole group.
struct Line {
  int64_t count;   // how many lines: batch x heads, or batch x kv_heads when folded
  int64_t heads;   // lines per batch item
  int64_t fold;    // query heads in a line
  int64_t length;  // queries in a line

  Line(const eyeline_call& c, bool may_fold)
      : Line(c, may_fold && c.q_len < LANES ? c.heads / c.kv_heads : 1) {}

  // One line for each key/value head: all queries that its gradients come from.
  static Line of_keys(const eyeline_call& c) { return Line(c, c.heads / c.kv_heads); }

 private:
  Line(const eyeline_call& c, int64_t heads_in_line) {
    fold = heads_in_line;
    heads = c.heads / fold;
    count = c.batch * heads;
    length = c.q_len * fold;
  }
};

struct Block {
  int count;  // queries
  int vecs;   // vectors that hold them
  int64_t batch, kv_head;
  int64_t head[LANES], row[LANES];
  alignas(64) int first[LANES], last[LANES];  // each query sees keys of [first, last)
  int begin, end;                             // some query sees keys of [begin, end)
  int full_begin, full_end;                   // every query sees all keys of [full_begin, full_end)

  // Lanes past `count` repeat the last query's numbers, so that they never make a difference.
  void fill(const eyeline_call& c, const Line& line, int64_t index, int64_t start, int64_t stop) {
    count = static_cast<int>(stop - start);
    vecs = (count + WIDTH - 1) / WIDTH;
    batch = index / line.heads;
    int64_t first_head = index % line.heads * line.fold;
    kv_head = first_head / (c.heads / c.kv_heads);
    begin = 0x7fffffff;
    end = 0;
    int64_t at = start / line.fold, of_line = start % line.fold;  // counted on: to divide takes long
    for (int lane = 0; lane < count; lane++) {
      row[lane] = at;
      head[lane] = first_head + of_line;
      find_range(c, lane);
      if (++of_line == line.fold) of_line = 0, at++;
    }
    for (int lane = count; lane < LANES; lane++) {
      row[lane] = row[count - 1];
      head[lane] = head[count - 1];
      first[lane] = first[count - 1];
      last[lane] = last[count - 1];
    }
    full_begin = first[0];
    full_end = last[0];
    for (int lane = 0; lane < count; lane++) {
      full_begin = most(full_begin, first[lane]);
      full_end = least(full_end, last[lane]);
      if (first[lane] >= last[lane]) continue;
      begin = least(begin, first[lane]);
      end = most(end, last[lane]);
    }
    if (begin >= end) begin = end = 0;
  }

  int64_t statistic(const eyeline_call& c, int lane) const {
    return (batch * c.heads + head[lane]) * c.q_len + row[lane];
  }

 private:
  void find_range(const eyeline_call& c, int lane) {
    int64_t i = row[lane], low = 0, high = c.kv_len;
    if (c.has_first) low = most(low, i + c.first_offset);
    if (c.has_last) high = least(high, i + c.last_offset + 1);
    int64_t at = batch * c.row_stride[0] + head[lane] * c.row_stride[1] + i * c.row_stride[2];
    if (c.row_first) low = most<int64_t>(low, c.row_first[at]);
    if (c.row_last) high = least<int64_t>(high, c.row_last[at]);
    first[lane] = static_cast<int>(least(low, c.kv_len));
    last[lane] = static_cast<int>(most<int64_t>(high, 0));
  }
};

template <class T>
inline const typename T::number* query_row(const eyeline_call& c, const Block& b, int lane) {
  return static_cast<const typename T::number*>(c.query) + b.batch * c.query_stride[0] +
         b.head[lane] * c.query_stride[1] + b.row[lane] * c.query_stride[2];
}
template <class T>
inline typename T::number* output_row(const eyeline_call& c, const Block& b, int lane) {
  return static_cast<typename T::number*>(c.output) + b.batch * c.output_stride[0] +
         b.head[lane] * c.output_stride[1] + b.row[lane] * c.output_stride[2];
}
template <class T>
inline const typename T::number* key_row(const eyeline_call& c, const Block& b, int64_t j) {
  return static_cast<const typename T::number*>(c.key) + b.batch * c.key_stride[0] +
         b.kv_head * c.key_stride[1] + j * c.key_stride[2];
}
template <class T>
inline const typename T::number* value_row(const eyeline_call& c, const Block& b, int64_t j) {
  return static_cast<const typename T::number*>(c.value) + b.batch * c.value_stride[0] +
         b.kv_head * c.value_stride[1] + j * c.value_stride[2];
}

// lanes[unit][lane] = power * row[lane][unit], `power` one of 2; lanes past `count` become 0.
template <class T, class U>
inline void pack_lanes(const typename T::number* const* row, int count, int64_t width, float power,
                       float* lanes) {
  if constexpr (U::TERMS == 1)
    rows_to_lanes<T>(row, count, width, power, lanes);
  else
    rows_to_lane_units(row, count, width, units<U>(width), power, lanes);
}

template <class T, class U>
inline void pack_query(const eyeline_call& c, const Block& b, float* lanes) {
  const typename T::number* row[LANES];
  for (int lane = 0; lane < b.count; lane++) row[lane] = query_row<T>(c, b, lane);
  pack_lanes<T, U>(row, b.count, c.head_dim, Scale(c.scale).power, lanes);
}

}  // namespace EYELINE_NAMESPACE
