// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "io/onnx/onnx_package.h"
#include "io/onnx/tensor_list.h"
#include "io/packing/dequantize_linear.h"
#include "io/packing/matmul_nbits.h"
#include "io/streamed_directory.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// Constants that runtimes map: at pages where that wastes little.
constexpr std::uint64_t kPage = 4096, kLine = 64, kLarge = std::uint64_t{1} << 16;
// Constants of this length and less lie in the model's own file.
constexpr std::size_t kSmall = 256;

class OnnxWriter final : public StreamedDirectory {
 public:
  OnnxWriter(const std::filesystem::path& path, OnnxPackage package, const std::vector<SideFile>& side_files,
             const std::vector<PlannedTensor>& plan)
      : StreamedDirectory(path, plan), model_(std::move(package.model)), places_(std::move(package.places)) {
    if (places_.size() != plan.size()) refuse("places and tensors differ in number");
    lay_out();
    model_.metadata.emplace_back(kOnnxTensorsKey, write_onnx_tensor_list(plan, places_));
    text_ = serialize_onnx(model_);
    open([&] {
      data_.emplace(within(kOnnxDataFile));
      for (const OnnxInitializer& constant : constants_)
        data_->write_at(constant.external->offset, std::as_bytes(std::span(constant.bytes)));
      for (std::size_t i = 0; i < places_.size(); ++i) place(i);
      write_small_file(kOnnxFile, text_);
      for (const SideFile& file : side_files) write_small_file(file.name, file.text);
    });
  }

  std::uint64_t planned_bytes() const noexcept override { return text_.size() + data_bytes_; }

 private:
  void commit_files() override { data_->commit(); }
  void close_files() override { data_.reset(); }

  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorKind::internal, fmt::format("{}: {}", path_.string(), why));
  }

  // Gives every constant that is not small its place in the data file.
  void lay_out() {
    for (OnnxInitializer& one : model_.initializers) {
      if (!one.bytes.empty() && one.bytes.size() <= kSmall) continue;
      const auto bytes = initializer_bytes(one);
      if (!bytes || (!one.bytes.empty() && one.bytes.size() != *bytes))
        refuse("an initializer has no size: " + one.name);
      const std::uint64_t step = *bytes >= kLarge ? kPage : kLine;
      const std::uint64_t offset = (data_bytes_ + step - 1) / step * step;
      data_bytes_ = offset + *bytes;
      one.external = {std::string(kOnnxDataFile), offset, *bytes};
      if (!one.bytes.empty()) constants_.push_back(one);
      one.bytes.clear();
      external_.emplace(one.name, &one);
    }
  }

  const OnnxInitializer& initializer(const std::string& name) const {
    const auto found = external_.find(name);
    if (found == external_.end()) refuse("no initializer takes rows: " + name);
    return *found->second;
  }
  // Where so many bytes lie in the data file.
  std::uint64_t offset_of(const std::string& name, std::uint64_t offset, std::uint64_t bytes) const {
    const OnnxExternal& external = *initializer(name).external;
    if (offset > external.length || bytes > external.length - offset) refuse("rows beyond the end of " + name);
    return external.offset + offset;
  }
  std::uint64_t write_at(const std::string& name, std::uint64_t offset, std::span<const std::byte> bytes) {
    data_->write_at(offset_of(name, offset, bytes.size()), bytes);
    return bytes.size();
  }

  // Of rows of `length` bytes each; nothing where they have none.
  std::uint64_t write_rows_at(const OnnxPlace& to, const std::string& name, std::uint64_t length,
                              std::span<const std::byte> bytes) {
    if (length == 0) return 0;
    if (to.step == 1) return write_at(name, to.first * length, bytes);
    for (std::uint64_t row = 0; row < bytes.size() / length; ++row)
      write_at(name, (to.first + row * to.step) * length, bytes.subspan(row * length, length));
    return bytes.size();
  }

  void place(std::size_t index) {
    const PlannedTensor& planned = stream_.planned(index);
    const OnnxPlace& to = places_[index];
    const MatrixSize size = matrix_size(planned.shape);
    switch (to.layout) {
      case OnnxPlace::Layout::plain: {
        const std::uint64_t bytes = stream_.bytes(index), unit = planned.shape.size() < 2 ? size.cols : size.rows;
        return stream_.place(index, 0, *data_, offset_of(to.values, to.first * (bytes / unit), bytes));
      }
      case OnnxPlace::Layout::nbits: {
        const bool is_half = initializer(to.scales).type == OnnxType::f16;
        const NBitsLayout layout = nbits_layout(*planned.format, size.cols, is_half ? ScaleType::f16 : ScaleType::f32);
        return stream_.gather(index, nbits_format(layout)->name(), [this, &to, layout](const QuantizedView& whole) {
          const NBitsRows rows = pack_nbits(whole, layout);
          return write_rows_at(to, to.values, layout.value_bytes(), rows.values) +
                 write_rows_at(to, to.scales, layout.scale_bytes(), rows.scales) +
                 write_rows_at(to, to.zero_points, layout.zero_point_bytes(), rows.zero_points);
        });
      }
      case OnnxPlace::Layout::dequantize: {
        const DequantizeLayout layout = dequantize_layout(*planned.format, size.rows, size.cols);
        return stream_.gather(index, dequantize_format(layout)->name(),
                              [this, &to, layout](const QuantizedView& whole) {
                                const DequantizeTensor tensor = pack_dequantize(whole, layout);
                                return write_at(to.values, 0, tensor.values) + write_at(to.scales, 0, tensor.scales) +
                                       (layout.has_zero_points ? write_at(to.zero_points, 0, tensor.zero_points) : 0);
                              });
      }
    }
  }

  void verify(ThreadPool* pool) const override {
    const MappedFile model(within(kOnnxFile)), data(within(kOnnxDataFile));
    bool is_same = std::ranges::equal(model.bytes(), std::as_bytes(std::span(text_)));
    for (const OnnxInitializer& constant : constants_)
      is_same =
          is_same && std::ranges::equal(data.bytes().subspan(constant.external->offset, constant.external->length),
                                        std::as_bytes(std::span(constant.bytes)));
    if (!is_same) refuse("read back differs from what was written; the disk may be failing");
    stream_.verify(Checkpoint::open(temporary_path()), pool);
  }

  OnnxModel model_;
  std::vector<OnnxPlace> places_;
  std::vector<OnnxInitializer> constants_;                                 // in the data file, with their bytes
  std::unordered_map<std::string_view, const OnnxInitializer*> external_;  // all that lie there
  std::string text_;                                                       // of model.onnx
  std::uint64_t data_bytes_ = 0;
  std::optional<OutputFile> data_;
};

}  // namespace

std::unique_ptr<CheckpointWriter> make_onnx_writer(const std::filesystem::path& path, OnnxPackage package,
                                                   const std::vector<SideFile>& side_files,
                                                   const std::vector<PlannedTensor>& plan) {
  return std::make_unique<OnnxWriter>(path, std::move(package), side_files, plan);
}

}  // namespace nibble
