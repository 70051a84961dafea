// Asking the memory for what will be read next.
//
// It answers late, and what it foresees by itself ends at a page. So lines are asked for some time before they are
// needed, one by one between the sums, and in the order in which they lie, whatever order the sums take: rows that
// are read two or four at a time without that, or asked for column by column, come half as fast (Zen 3).
#pragma once
#include "simd.h"

namespace EYELINE_NAMESPACE {

template <class number>
class Ahead {
 public:
  static constexpr int64_t LINE = 64 / sizeof(number);        // in numbers, as all here
  static constexpr int64_t FAR = (8 << 10) / sizeof(number);  // a quarter of the smallest first-level cache

  Ahead() = default;
  // Of `rows` rows (at least 1), for somebody who begins with the first of them.
  Ahead(const number* first, int64_t stride, int64_t width, int64_t rows) : stride_(stride) {
    const int64_t skipped = least(rows_far(width), rows - 1);
    rows_ = rows - skipped;
    row_ = line_ = first + skipped * stride;
    if (stride == width) width *= rows_, rows_ = 1;  // they lie in one piece
    end_ = row_ + width;
  }

  // The next line.
  void ask() {
    __builtin_prefetch(line_);
    line_ += LINE;
    if (line_ < end_) return;
    if (--rows_ > 0) {
      row_ += stride_;
      end_ += stride_;
      line_ = row_;
    } else {
      line_ -= LINE;  // there are no more: the last one again
    }
  }

  // How many rows are as far; a row that holds nothing counts as if it held one number.
  static int64_t rows_far(int64_t width) { return ceil_div(FAR, most<int64_t>(width, 1)); }

  // How many lines begin in the numbers [from, to) of a row.
  static int64_t lines(int64_t from, int64_t to) { return ceil_div(to, LINE) - ceil_div(from, LINE); }

 private:
  const number *line_ = nullptr, *end_ = nullptr, *row_ = nullptr;
  int64_t stride_ = 0, rows_ = 0;
};

}  // namespace EYELINE_NAMESPACE
