// SPDX-License-Identifier: Apache-2.0
#include "engine/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "format/format.h"
#include "nibble/error.h"

namespace nibble {

namespace {

[[noreturn]] void refuse_value(const Checkpoint& checkpoint, const StoredTensor& stored, std::uint64_t row,
                               const std::string& defect) {
  throw Error(ErrorKind::corrupt,
              fmt::format("{}: tensor {} (file {}, offset {}): row {}: {}", checkpoint.path().string(), stored.name,
                          stored.file, stored.offset, row, defect));
}

QuantizedTensor decoded(const QuantizedView& view) {
  QuantizedTensor plain(find_format("f32"), view.rows, view.cols);
  const std::vector<float> values = view.decode();
  std::ranges::copy(std::as_bytes(std::span(values)), plain.planes[0].begin());
  return plain;
}

}  // namespace

void WeightLoader::check_values(const StoredTensor& stored, const QuantizedView& view) const {
  const bool raw = view.format->info().kind == FormatKind::raw;
  constexpr std::uint64_t kNone = ~std::uint64_t{0};
  std::atomic<std::uint64_t> first_bad = kNone;  // the smallest row, whatever thread finds it
  machine_.pool.parallel_for(view.rows, 64, [&](std::size_t begin, std::size_t end, std::size_t) {
    std::vector<float> values(raw ? view.cols : 0);
    for (std::size_t row = begin; row < end; ++row) {
      if (raw) view.decode_row(row, values);
      if (raw ? !first_not_finite(values) : !view.format->find_defect(view.row(row), view.cols)) continue;
      for (std::uint64_t known = first_bad; row < known && !first_bad.compare_exchange_weak(known, row);) {
      }
      return;
    }
  });
  if (first_bad == kNone) return;
  if (!raw)
    refuse_value(checkpoint_, stored, first_bad,
                 view.format->find_defect(view.row(first_bad), view.cols).value_or("not sound"));
  std::vector<float> values(view.cols);
  view.decode_row(first_bad, values);
  const std::size_t column = first_not_finite(values).value_or(0);
  refuse_value(checkpoint_, stored, first_bad,
               fmt::format("column {}: value is not finite: {}", column, values[column]));
}

// Weights without a grid in a file of static ones have their inputs rounded as they come.
KernelOptions WeightLoader::kernels_for(std::string_view part, const StoredTensor& stored) const {
  KernelOptions options = kernels_;
  if (activations_.format) {
    const ActivationGrid* const grid = activations_.find(stored.name);
    if (!activations_.format->is_static() || grid != nullptr) options.activation_format = *activations_.format;
    if (grid != nullptr) options.activation_grid = *grid;
  }
  options.activation_format = activations_of_site(options.activation_format, part);
  return options;
}

PackedLinear WeightLoader::matrix(std::string_view part, std::int64_t layer) const {
  const ModelTensor& expected = *tensors_.part(part, layer);
  const StoredTensor& stored = checkpoint_.stored(expected);
  checkpoint_.will_need(stored);
  QuantizedTensor room;
  const QuantizedView view = stored.values.read_rows(0, stored.values.rows(), room, machine_.pool).planes;
  check_values(stored, view);
  // A last bit sends tokens elsewhere: routers that another program has quantized are multiplied as what they stand
  // for.
  const bool is_coded_router = expected.role == TensorRole::router && view.format->info().kind != FormatKind::raw;
  QuantizedTensor plain;
  if (is_coded_router) plain = decoded(view);
  PackedLinear packed = PackedLinear::pack(is_coded_router ? plain.view() : view, kernels_for(part, stored), machine_);
  checkpoint_.release(stored);
  return packed;
}

LatentHeads WeightLoader::latent_heads(std::string_view part, std::int64_t layer,
                                       const LatentHeads::Shape& shape) const {
  const StoredTensor& stored = checkpoint_.stored(*tensors_.part(part, layer));
  QuantizedTensor room;
  const QuantizedView view = stored.values.read_rows(0, stored.values.rows(), room, machine_.pool).planes;
  check_values(stored, view);
  LatentHeads heads = LatentHeads::pack(view, shape, machine_);
  checkpoint_.release(stored);
  return heads;
}

std::vector<float> WeightLoader::vector(std::string_view part, std::int64_t layer) const {
  const ModelTensor* expected = tensors_.part(part, layer);
  if (expected == nullptr) return {};
  const StoredTensor& stored = checkpoint_.stored(*expected);
  QuantizedTensor room;
  const QuantizedView view = stored.values.read_rows(0, stored.values.rows(), room).planes;
  check_values(stored, view);
  std::vector<float> values = view.decode();
  for (float& value : values) value = expected->numbers(spelling_).read(value);
  return values;
}

}  // namespace nibble
