// SPDX-License-Identifier: Apache-2.0
#include "kernels/encode/encoders.h"

#include <cstring>

#include "base/half.h"
#include "format/family/legacy_block.h"
#include "format/span_loops.h"
#include "format/trellis/trellis_format.h"
#include "kernels/encode/encoder_list.h"
#include "kernels/select.h"

namespace nibble {
namespace {

// Everything as the format does it.
class Delegate : public Format {
 public:
  explicit Delegate(FormatPtr base) : Format(base->info()), base_(std::move(base)) {}

  std::vector<PlaneSpec> planes(std::uint64_t rows, std::uint64_t cols) const override {
    return base_->planes(rows, cols);
  }
  std::size_t grid_bytes() const override { return base_->grid_bytes(); }
  std::unique_ptr<TensorGrid> prepare(std::span<const float> weights, std::uint64_t rows, std::uint64_t cols,
                                      std::span<const float> importance, const FitOptions& options) const override {
    return base_->prepare(weights, rows, cols, importance, options);
  }
  bool needs_prepare() const override { return base_->needs_prepare(); }
  std::uint64_t cut_multiple(std::uint64_t cols) const override { return base_->cut_multiple(cols); }
  void pack_tensor(const TensorGrid* tensor_grid, const RowPlanes& planes) const override {
    base_->pack_tensor(tensor_grid, planes);
  }
  std::unique_ptr<TensorGrid> unpack_tensor(const ConstRowPlanes& planes, std::uint64_t rows,
                                            std::uint64_t cols) const override {
    return base_->unpack_tensor(planes, rows, cols);
  }
  void fit(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
           std::uint64_t row, const FitOptions& options, std::byte* grid, std::size_t span_index) const override {
    base_->fit(x, importance, tensor_grid, row, options, grid, span_index);
  }
  std::vector<GridPart> grid_parts(const std::byte* grid, std::size_t column) const override {
    return base_->grid_parts(grid, column);
  }
  Code nearest(const std::byte* grid, std::size_t column, const float* target, const float* metric) const override {
    return base_->nearest(grid, column, target, metric);
  }
  void value(const std::byte* grid, std::size_t column, Code code, float* out) const override {
    base_->value(grid, column, code, out);
  }
  std::uint64_t num_codes() const override { return base_->num_codes(); }
  void pack(const std::byte* grid, const Code* codes, std::size_t span_index, std::size_t columns,
            const RowPlanes& row) const override {
    base_->pack(grid, codes, span_index, columns, row);
  }
  void unpack(const ConstRowPlanes& row, std::size_t span_index, std::size_t columns, const TensorGrid* tensor_grid,
              std::uint64_t row_index, std::byte* grid, Code* codes) const override {
    base_->unpack(row, span_index, columns, tensor_grid, row_index, grid, codes);
  }
  void encode_row(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
                  std::uint64_t row_index, const FitOptions& options, const RowPlanes& row) const override {
    base_->encode_row(x, importance, tensor_grid, row_index, options, row);
  }
  void decode_row(const ConstRowPlanes& row, const TensorGrid* tensor_grid, std::uint64_t row_index,
                  std::span<float> out) const override {
    base_->decode_row(row, tensor_grid, row_index, out);
  }
  std::optional<std::string> find_defect(const ConstRowPlanes& row, std::uint64_t cols) const override {
    return base_->find_defect(row, cols);
  }
  std::optional<std::string> find_tensor_defect(const TensorGrid* tensor_grid) const override {
    return base_->find_tensor_defect(tensor_grid);
  }

 protected:
  FormatPtr base_;
};

class FastBlocks final : public Delegate {
 public:
  FastBlocks(const FormatPtr& base, const BlockTwin& twin) : Delegate(base), twin_(twin) {}

  void fit(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
           std::uint64_t row, const FitOptions& options, std::byte* grid, std::size_t span_index) const override {
    if (twin_.fit == nullptr || clips(options))
      return base_->fit(x, importance, tensor_grid, row, options, grid, span_index);
    twin_.fit(x.data(), importance.empty() ? nullptr : importance.data(), options, grid);
  }

  void encode_row(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
                  std::uint64_t row_index, const FitOptions& options, const RowPlanes& row) const override {
    const float* const weights = importance.empty() ? nullptr : importance.data();
    const bool declined =
        twin_.encode == nullptr || clips(options) || (twin_.is_plain && wants_search(options, weights));
    if (declined) return base_->encode_row(x, importance, tensor_grid, row_index, options, row);
    twin_.encode(x.data(), weights, options, x.size() / twin_.columns, row[0]);
  }

  void decode_row(const ConstRowPlanes& row, const TensorGrid* tensor_grid, std::uint64_t row_index,
                  std::span<float> out) const override {
    if (twin_.decode == nullptr) return base_->decode_row(row, tensor_grid, row_index, out);
    twin_.decode(row[0], out.size() / twin_.columns, out.data());
  }

 private:
  static bool clips(const FitOptions& options) {
    return options.rule == FitRule::percentile || options.rule == FitRule::entropy;
  }

  const BlockTwin& twin_;
};

// f16 and bf16: widening in runs of sixteen, the rest as the format does it.
class FastHalves final : public Delegate {
 public:
  FastHalves(const FormatPtr& base, void (*widen)(const std::uint16_t*, std::size_t, float*))
      : Delegate(base), widen_(widen) {}

  void decode_row(const ConstRowPlanes& row, const TensorGrid* tensor_grid, std::uint64_t row_index,
                  std::span<float> out) const override {
    const std::size_t whole = out.size() / 16 * 16;
    // Rows in mapped files lie at even addresses at least, or the loop in words would not be defined.
    if (reinterpret_cast<std::uintptr_t>(row[0]) % alignof(std::uint16_t) != 0)
      return base_->decode_row(row, tensor_grid, row_index, out);
    widen_(reinterpret_cast<const std::uint16_t*>(row[0]), whole, out.data());
    ConstRowPlanes rest = row;
    rest[0] += 2 * whole;
    if (whole < out.size()) base_->decode_row(rest, tensor_grid, row_index, out.subspan(whole));
  }

 private:
  void (*widen_)(const std::uint16_t*, std::size_t, float*);
};

}  // namespace

FormatPtr with_kernels(const FormatPtr& format, Isa isa) {
  if (isa == Isa::scalar) return format;
  if (format->name() == "f16") return std::make_shared<FastHalves>(format, kernel_table(isa).widen_f16);
  if (format->name() == "bf16") return std::make_shared<FastHalves>(format, kernel_table(isa).widen_bf16);
  if (const TrellisShape* const trellis = trellis_shape(*format))
    return make_trellis_format(*trellis, encoders(isa).path_steps);
  const auto* const looped = dynamic_cast<const LoopedFormat*>(format.get());
  const FormatPtr fast = looped != nullptr ? looped->with_loops(encoders(isa).span_loops) : format;
  for (const BlockTwin& twin : encoders(isa).block_twins)
    if (twin.name == format->name()) return std::make_shared<FastBlocks>(fast, twin);
  return fast;
}

}  // namespace nibble
