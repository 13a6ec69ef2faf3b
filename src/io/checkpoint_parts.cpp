// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint_parts.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/file_signature.h"
#include "io/foreign_file.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {

MatrixSize matrix_size(const Shape& shape) {
  MatrixSize size;
  if (shape.empty()) return size;
  size.cols = shape.back();
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) size.rows *= shape[i];
  return size;
}

void attach_view(StoredTensor& tensor, const FormatPtr& format, const std::string& source) {
  const MatrixSize size = matrix_size(tensor.shape);
  if (!format || size.rows == 0 || size.cols == 0) return;
  tensor.values = make_view(format, size.rows, size.cols, {tensor.data},
                            fmt::format("{}: tensor {}", source, quote_name(tensor.name)));
}

void attach_narrowed_view(CheckpointParts& parts, StoredTensor& tensor, const std::string& source) {
  if (tensor.data.empty()) return;
  auto& values =
      *parts.narrowed.emplace_back(std::make_unique<std::vector<float>>(tensor.data.size() / sizeof(double)));
  widen_to_f32(DType::f64, tensor.data, values);
  const MatrixSize size = matrix_size(tensor.shape);
  tensor.values = make_view(find_raw_format(DType::f32), size.rows, size.cols, {std::as_bytes(std::span(values))},
                            fmt::format("{}: tensor {}", source, quote_name(tensor.name)));
}

void refuse_foreign_weights(const MappedFile& file) {
  const std::string_view start(reinterpret_cast<const char*>(file.bytes().data()),
                               std::min(file.bytes().size(), kForeignStart));
  if (has_safetensors_start(start)) return;
  if (const auto foreign = describe_foreign_weights(start))
    throw Error(ErrorKind::corrupt, fmt::format("{}: this is {}", file.path().string(), *foreign));
}

std::optional<std::string> read_small_file(const std::filesystem::path& path, std::uint64_t limit) {
  if (!is_there(path)) return std::nullopt;
  const MappedFile file(path);
  if (file.bytes().size() > limit)
    throw Error(ErrorKind::resource,
                fmt::format("{}: larger than {} bytes: {}", path.string(), limit, file.bytes().size()));
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

bool is_there(const std::filesystem::path& path) noexcept {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

}  // namespace nibble
