// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert/tensor_difference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include <span>
#include <vector>

namespace nibble {
namespace {

constexpr std::uint64_t kBandElements = std::uint64_t{4} << 20;
constexpr double kInfinite = std::numeric_limits<double>::infinity();

// Elements of a vector, in rows of what keeps together when a file has another order.
struct Order {
  std::vector<std::uint32_t> rows, columns;  // of each of the file's the other's; empty: the same

  std::uint64_t row(std::uint64_t r) const { return rows.empty() ? r : rows[r]; }
  std::uint64_t column(std::uint64_t c) const { return columns.empty() ? c : columns[c]; }
};

class TensorComparison {
 public:
  TensorComparison(const ModelTensor& tensor, const StoredTensor& mine, const StoredTensor& theirs, Order order,
                   StoredNumbers my_numbers, StoredNumbers their_numbers, const std::string& name)
      : tensor_(tensor),
        mine_(mine.values),
        theirs_(theirs.values),
        order_(std::move(order)),
        my_numbers_(my_numbers),
        their_numbers_(their_numbers) {
    result_.name = name;
    result_.format = mine_.format()->name();
    result_.other_format = theirs_.format()->name();
    result_.numbers = mine_.rows() * mine_.cols();
    differences_.resize(static_cast<std::size_t>(mine_.rows()));
    squares_.resize(differences_.size());
  }

  TensorDifference run(ThreadPool& pool) {
    if (tensor_.shape.size() < 2)
      compare_vector();
    else
      compare_matrix(pool);
    // Row by row, whichever thread had which.
    result_.squares = std::accumulate(squares_.begin(), squares_.end(), 0.0);
    result_.differences = std::accumulate(differences_.begin(), differences_.end(), 0.0);
    return result_;
  }

 private:
  void compare_matrix(ThreadPool& pool) {
    QuantizedTensor my_room, their_room;
    const TensorRows theirs = theirs_.read_rows(0, theirs_.rows(), their_room, pool);
    const std::uint64_t unit = mine_.format()->info().row_unit;
    const std::uint64_t step = std::max(unit, kBandElements / mine_.cols() / unit * unit);
    for (std::uint64_t begin = 0; begin < mine_.rows(); begin += step) {
      const std::uint64_t end = std::min(mine_.rows(), begin + step);
      const TensorRows rows = mine_.read_rows(begin, end, my_room, pool);
      pool.parallel_for(end - begin, 4, [&](std::size_t first, std::size_t last, std::size_t) {
        std::vector<float> own(mine_.cols()), other(mine_.cols());
        for (std::size_t i = first; i < last; ++i) {
          rows.decode_row(begin + i, own);
          theirs.decode_row(order_.row(begin + i), other);
          compare_row(begin + i, own, other);
        }
      });
    }
  }

  // Elements move in runs, as many as the order has no place for.
  void compare_vector() {
    const std::vector<float> own = mine_.decode(), other = theirs_.decode();
    const std::size_t length = order_.rows.empty() ? own.size() : own.size() / order_.rows.size();
    std::vector<float> moved(own.size());
    for (std::size_t i = 0; i < moved.size(); ++i)
      moved[i] = order_.rows.empty() ? other[i] : other[order_.rows[i / length] * length + i % length];
    order_ = {};
    compare_row(0, own, moved);
  }

  void compare_row(std::uint64_t row, std::span<const float> own, std::span<const float> other) {
    std::uint64_t changed = 0, first = 0;
    double largest = 0, differences = 0, squares = 0;
    for (std::size_t c = 0; c < own.size(); ++c) {
      const float mine = my_numbers_.read(own[c]), theirs = their_numbers_.read(other[order_.column(c)]);
      squares += static_cast<double>(theirs) * static_cast<double>(theirs);
      if (mine == theirs) continue;
      const double exact = std::fabs(static_cast<double>(mine) - static_cast<double>(theirs)),
                   difference = std::isnan(exact) ? kInfinite : exact;
      if (changed++ == 0) first = c;
      largest = std::max(largest, difference);
      differences += difference * difference;
    }
    squares_[static_cast<std::size_t>(row)] = squares;
    differences_[static_cast<std::size_t>(row)] = differences;
    if (changed == 0) return;
    const std::scoped_lock lock(mutex_);
    if (result_.changed == 0 || row < result_.row) {
      result_.row = row;
      result_.col = first;
    }
    result_.changed += changed;
    result_.largest = std::max(result_.largest, largest);
  }

  const ModelTensor& tensor_;
  TensorSource mine_, theirs_;
  Order order_;
  StoredNumbers my_numbers_, their_numbers_;
  std::mutex mutex_;
  std::vector<double> differences_, squares_;  // of each row
  TensorDifference result_;
};

}  // namespace

double TensorDifference::relative_rms() const {
  if (std::isinf(differences) || (squares == 0 && changed != 0)) return kInfinite;
  return squares > 0 ? std::sqrt(differences / squares) : 0;
}

const ModelTensor* counterpart(const ModelTensor& tensor, const SourceModel& other) {
  const ModelTensor* const found = other.parts().part(tensor.part, tensor.layer);
  return found != nullptr && found->shape == tensor.shape ? found : nullptr;
}

TensorDifference measure_difference(const ModelTensor& tensor, const SourceModel& file, const ModelTensor& theirs,
                                    const SourceModel& other, ThreadPool& pool) {
  const StoredTensor &mine = file.stored(tensor), &stored = other.stored(theirs);
  const Spelling from = other.spelling(), to = file.spelling();
  TensorDifference difference =
      TensorComparison(tensor, mine, stored, {tensor.rows_from(from, to), tensor.columns_from(from, to)},
                       tensor.numbers(to), tensor.numbers(from), tensor.name(to))
          .run(pool);
  file.release(mine);
  other.release(stored);
  return difference;
}

}  // namespace nibble
