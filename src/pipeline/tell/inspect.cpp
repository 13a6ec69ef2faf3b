// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/progress_meter.h"
#include "io/gguf/gguf_header.h"
#include "model/config.h"
#include "model/stored_activations.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "pipeline/export/manifest.h"

namespace nibble {
namespace {

constexpr std::uint64_t kGrainElements = 65536;
constexpr std::uint64_t kBandElements = std::uint64_t{16} << 20;  // between releases of mapped pages

std::uint64_t rows_of(std::uint64_t elements, std::uint64_t cols) {
  return std::max<std::uint64_t>(1, elements / std::max<std::uint64_t>(1, cols));
}

const char* container_name(ContainerKind kind) {
  switch (kind) {
    case ContainerKind::huggingface:
      return "huggingface";
    case ContainerKind::safetensors:
      return "safetensors";
    case ContainerKind::gguf:
      return "gguf";
  }
  return "";
}

std::uint64_t count_elements(const StoredTensor& tensor) {
  std::uint64_t count = 1;
  for (const std::uint64_t extent : tensor.shape) count *= extent;
  return count;
}

// Raw moments of a chunk; added up in the order of the chunks, so that threads do not matter.
struct Moments {
  std::uint64_t count = 0, not_finite = 0;
  double sum = 0, sum2 = 0, sum3 = 0, sum4 = 0;
  float minimum = std::numeric_limits<float>::infinity(), maximum = -std::numeric_limits<float>::infinity();

  void add(std::span<const float> values) {
    for (const float value : values) {
      if (!std::isfinite(value)) {
        ++not_finite;
        continue;
      }
      ++count;
      minimum = std::min(minimum, value);
      maximum = std::max(maximum, value);
      const double x = value, x2 = x * x;
      sum += x;
      sum2 += x2;
      sum3 += x2 * x;
      sum4 += x2 * x2;
    }
  }
  void add(const Moments& other) {
    count += other.count;
    not_finite += other.not_finite;
    sum += other.sum;
    sum2 += other.sum2;
    sum3 += other.sum3;
    sum4 += other.sum4;
    minimum = std::min(minimum, other.minimum);
    maximum = std::max(maximum, other.maximum);
  }
};

// Calls visit(chunk, values) for every row; rows of one chunk come in order on one thread.
template <class Visit>
void each_row(const Checkpoint& checkpoint, const StoredTensor& tensor, std::uint64_t grain, ThreadPool& pool,
              Visit visit) {
  const TensorSource& source = tensor.values;
  const std::uint64_t band = rows_of(kBandElements, source.cols()) / grain * grain;
  const std::uint64_t step = std::max(grain, band);
  QuantizedTensor room;
  for (std::uint64_t begin = 0; begin < source.rows(); begin += step) {
    const std::uint64_t count = std::min(step, source.rows() - begin);
    const TensorRows rows = source.read_rows(begin, begin + count, room, pool);
    pool.parallel_for(count, grain, [&](std::size_t first, std::size_t last, std::size_t) {
      std::vector<float> values(source.cols());
      for (std::size_t row = first; row < last; ++row) {
        rows.decode_row(begin + row, values);
        visit((begin + first) / grain, values);
      }
    });
    checkpoint.release(tensor);
  }
}

// A manifest of our own, or what llama.cpp's tools note of the file type and of the importance matrix.
std::string quantizer_of(const Checkpoint& checkpoint) {
  if (const auto manifest = manifest_of(checkpoint)) {
    const nlohmann::json json = nlohmann::json::parse(*manifest, nullptr, false);
    const bool is_quantized = !json.is_object() || !json.contains("trained") || json["trained"].contains("rounded");
    return is_quantized ? "nibble: " + *manifest : "";
  }
  std::string text;
  for (const char* key :
       {"general.quantized_by", "general.file_type", "quantize.imatrix.file", "quantize.imatrix.dataset"}) {
    const GgufValue* const value = checkpoint.gguf().find(key);
    if (value == nullptr) continue;
    text += (text.empty() ? "" : ", ") + std::string(key) + " ";
    const std::optional<std::uint64_t> number =
        std::string_view(key) == "general.file_type" ? checkpoint.gguf().unsigned_integer(key) : std::nullopt;
    text += number ? std::to_string(*number) : checkpoint.gguf().string(key).value_or("?");
  }
  return text;
}

// Files that go on behind their last tensor, which only GGUF's readers let pass. Files without a tensor have no such
// place.
std::vector<Defect> find_overlong_files(const Checkpoint& checkpoint) {
  std::vector<Defect> defects;
  if (checkpoint.kind() != ContainerKind::gguf) return defects;
  const std::uint64_t alignment = gguf_alignment(checkpoint.gguf(), checkpoint.path().string());
  std::map<std::string, std::uint64_t> ends;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    std::uint64_t& end = ends[tensor.file];
    end = std::max(end, tensor.offset + tensor.bytes);
  }
  for (const auto& [file, end] : ends) {
    const std::uint64_t padded = (end + alignment - 1) / alignment * alignment;
    const std::uint64_t size = std::filesystem::file_size(checkpoint.path().parent_path() / file);
    if (size > padded)
      defects.push_back(
          {"", file,
           fmt::format("goes on behind its last tensor at offset {}: {} bytes too many", padded, size - padded)});
  }
  return defects;
}

}  // namespace

ModelInfo describe_weights(const Checkpoint& checkpoint) {
  ModelInfo info;
  info.container = container_name(checkpoint.kind());
  info.tensors = checkpoint.tensors().size();
  info.bytes = checkpoint.file_bytes();
  for (const StoredTensor& tensor : checkpoint.tensors()) info.parameters += count_elements(tensor);
  if (info.parameters > 0)
    info.bits_per_weight = 8.0 * static_cast<double>(info.bytes) / static_cast<double>(info.parameters);
  return info;
}

std::string obstacle_of(const SourceModel& model) {
  try {
    model.require_parts();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

ModelInfo describe_model(const SourceModel& checkpoint) {
  ModelInfo info = describe_weights(checkpoint);
  if (const auto name = checkpoint.gguf().string("general.architecture")) info.architecture = *name;
  try {
    const ModelConfig& config = checkpoint.config();
    info.architecture = config.architecture;
    info.vocabulary = config.vocab_size;
    info.hidden = config.hidden;
    info.layers = config.layers;
    info.context = config.context;
    info.intermediate = config.intermediate;
    info.heads = config.heads;
    info.kv_heads = config.kv_heads;
    info.experts = config.num_experts;
    info.experts_used = config.experts_used;
    info.head_dim = config.head_dim;
    info.rope_base = config.rope.base;
    info.tied_head = config.tied_embedding;
    info.obstacle = obstacle_of(checkpoint);
    if (const auto format = read_activations(checkpoint).format) info.activations = activation_format_name(*format);
  } catch (const Error& error) {
    // A file of tensors without a configuration, or of a family not known here, can be looked at all the same.
    info.obstacle = error.what();
  }
  try {
    if (checkpoint.has_tokenizer()) {
      const Tokenizer& tokenizer = checkpoint.tokenizer();
      info.tokenizer = tokenizer.kind();
      info.chat_template = tokenizer.chat_template();
    }
  } catch (const Error&) {
    // One that is not known here keeps nobody from looking at the tensors.
  }
  info.quantizer = quantizer_of(checkpoint);
  return info;
}

namespace {

std::vector<std::string> describe_parts(const TensorSource& source) {
  std::vector<std::string> lines;
  if (!source.format() || !source.parts()) return lines;
  for (const TensorPart part : parts_of(*source.parts())) {
    std::string line(part_name(part));
    if (part == TensorPart::input_transform) line += " " + source.parts()->input_transform.name();
    if (part == TensorPart::output_transform) line += " " + source.parts()->output_transform.name();
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

std::vector<TensorListing> list_tensors(const Checkpoint& checkpoint) {
  std::vector<TensorListing> result;
  for (const StoredTensor& tensor : checkpoint.tensors())
    result.push_back({tensor.name, tensor.shape,
                      tensor.values.format() ? tensor.values.format()->name() : std::string(dtype_name(tensor.dtype)),
                      count_elements(tensor), tensor.bytes, tensor.file, tensor.offset, describe_parts(tensor.values)});
  return result;
}

TensorStatistics measure_statistics(const Checkpoint& checkpoint, const StoredTensor& tensor, ThreadPool& pool) {
  const TensorSource& source = tensor.values;
  TensorStatistics result;
  if (!source.format() || source.rows() == 0 || source.cols() == 0) return result;
  const std::uint64_t grain = rows_of(kGrainElements, source.cols()), chunks = (source.rows() + grain - 1) / grain;
  std::vector<Moments> moments(chunks);
  each_row(checkpoint, tensor, grain, pool,
           [&](std::uint64_t chunk, std::span<const float> values) { moments[chunk].add(values); });
  Moments all;
  for (const Moments& chunk : moments) all.add(chunk);
  result.count = all.count;
  result.not_finite = all.not_finite;
  if (all.count == 0) return result;

  const double n = static_cast<double>(all.count), mean = all.sum / n;
  const double m2 = std::max(0.0, all.sum2 / n - mean * mean);
  const double m4 =
      all.sum4 / n - 4 * mean * all.sum3 / n + 6 * mean * mean * all.sum2 / n - 3 * mean * mean * mean * mean;
  result.mean = mean;
  result.deviation = std::sqrt(m2);
  result.minimum = all.minimum;
  result.maximum = all.maximum;
  result.absmax = std::max(std::fabs(result.minimum), std::fabs(result.maximum));
  if (m2 > 0) result.kurtosis = std::max(1.0, m4 / (m2 * m2));
  const double top = std::max(0.0, result.maximum), bottom = std::min(0.0, result.minimum);
  if (top > bottom) result.asymmetry = (top + bottom) / (top - bottom);

  std::vector<std::uint64_t> beyond(chunks);
  const double limit = 6 * result.deviation;
  if (result.maximum - mean > limit || mean - result.minimum > limit)
    each_row(checkpoint, tensor, grain, pool, [&](std::uint64_t chunk, std::span<const float> values) {
      for (const float value : values)
        if (std::isfinite(value) && std::fabs(value - mean) > limit) ++beyond[chunk];
    });
  std::uint64_t total = 0;
  for (const std::uint64_t count : beyond) total += count;
  result.beyond_6_sigma = static_cast<double>(total) / n;
  return result;
}

CheckResult check_checkpoint(const Checkpoint& checkpoint, std::size_t max_defects, ThreadPool& pool,
                             const ProgressCallback& progress) {
  CheckResult result;
  std::uint64_t total_bytes = 0;
  for (const StoredTensor& tensor : checkpoint.tensors()) total_bytes += tensor.bytes;
  ProgressMeter meter(progress, "check", total_bytes, "check was cancelled; nothing was written");
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    ++result.tensors;
    result.bytes += tensor.bytes;
    const TensorSource& source = tensor.values;
    if (source.format()) {
      const Format& format = *source.format();
      result.rows += source.rows();
      std::mutex mutex;
      std::vector<Defect> found;
      if (auto defect = format.find_tensor_defect(source.tensor_grid().get()))
        found.push_back({tensor.name, tensor.file, std::move(*defect), 0});
      const std::uint64_t band = rows_of(kBandElements, source.cols());
      QuantizedTensor room;
      for (std::uint64_t begin = 0; begin < source.rows(); begin += band) {
        const std::uint64_t count = std::min(band, source.rows() - begin);
        const TensorRows rows = source.read_rows(begin, begin + count, room, pool);
        pool.parallel_for(count, rows_of(kGrainElements, source.cols()),
                          [&](std::size_t first, std::size_t last, std::size_t) {
                            for (std::size_t row = first; row < last; ++row)
                              if (auto defect = format.find_defect(rows.row(begin + row), source.cols())) {
                                const std::scoped_lock lock(mutex);
                                found.push_back({tensor.name, tensor.file, std::move(*defect), begin + row});
                              }
                          });
        checkpoint.release(tensor);
      }
      std::ranges::sort(found, {}, &Defect::row);
      result.total += found.size();
      for (Defect& defect : found)
        if (result.defects.size() < max_defects) result.defects.push_back(std::move(defect));
    }
    meter.advance(tensor.bytes, tensor.name);
  }
  const auto add_file = [&](Defect defect, std::uint64_t& count) {
    ++result.total;
    ++count;
    if (result.defects.size() < max_defects) result.defects.push_back(std::move(defect));
  };
  for (Defect& defect : find_overlong_files(checkpoint)) add_file(std::move(defect), result.overlong);
  for (ChangedFile& file : find_changed_files(checkpoint))
    add_file({"", std::move(file.name), std::move(file.what)}, result.changed);
  return result;
}

}  // namespace nibble
