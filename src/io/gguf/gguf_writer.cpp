// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/mapped_file.h"
#include "base/utf8.h"
#include "io/checkpoint_writer.h"
#include "io/gguf/gguf_header.h"
#include "io/message_text.h"
#include "io/tensor_stream.h"
#include "nibble/error.h"

namespace nibble {
namespace {

template <class... Arguments>
[[noreturn]] void refuse(ErrorKind kind, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw Error(kind, fmt::format(format, std::forward<Arguments>(arguments)...));
}

// The bytes before the data section.
class HeaderBytes {
 public:
  explicit HeaderBytes(std::string output) : output_(std::move(output)) {}

  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(bytes_)); }

  template <class T>
  void put(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes_.append(raw, sizeof(T));
  }

  void put_string(std::string_view text) {
    put(std::uint64_t{text.size()});
    bytes_ += text;
  }

  void put_item(const std::string& key, const GgufValue& value) {
    key_ = &key;
    put_string(key);
    put(static_cast<std::uint32_t>(value.type));
    if (value.type == GgufType::array) {
      const auto* array = std::get_if<GgufArray>(&value.value);
      if (!array) mistyped();
      return put_array(*array);
    }
    std::visit([&](const auto& v) { put_scalar(value.type, v); }, value.value);
  }

  void pad(std::uint64_t alignment) {
    bytes_.resize(static_cast<std::size_t>((bytes_.size() + alignment - 1) / alignment * alignment), '\0');
  }
  void put_raw(std::string_view text) { bytes_ += text; }

 private:
  [[noreturn]] void mistyped() const {
    refuse(ErrorKind::invalid_argument, "{}: metadata key {}: the value does not fit its type", output_,
           quote_name(*key_));
  }

  template <class Stored, class Given>
  void put_checked(Given value) {
    if constexpr (std::is_integral_v<Stored> && std::is_integral_v<Given>)
      if (!std::in_range<Stored>(value)) mistyped();
    put(static_cast<Stored>(value));
  }

  template <class Given>
  void put_scalar(GgufType type, const Given& value) {
    if constexpr (std::is_same_v<Given, std::uint64_t>) {
      switch (type) {
        case GgufType::u8:
          return put_checked<std::uint8_t>(value);
        case GgufType::u16:
          return put_checked<std::uint16_t>(value);
        case GgufType::u32:
          return put_checked<std::uint32_t>(value);
        case GgufType::u64:
          return put(value);
        default:
          mistyped();
      }
    } else if constexpr (std::is_same_v<Given, std::int64_t>) {
      switch (type) {
        case GgufType::i8:
          return put_checked<std::int8_t>(value);
        case GgufType::i16:
          return put_checked<std::int16_t>(value);
        case GgufType::i32:
          return put_checked<std::int32_t>(value);
        case GgufType::i64:
          return put(value);
        default:
          mistyped();
      }
    } else if constexpr (std::is_same_v<Given, double>) {
      if (type == GgufType::f32) return put(static_cast<float>(value));
      if (type == GgufType::f64) return put(value);
      mistyped();
    } else if constexpr (std::is_same_v<Given, bool>) {
      if (type != GgufType::boolean) mistyped();
      put(std::uint8_t{value ? std::uint8_t{1} : std::uint8_t{0}});
    } else if constexpr (std::is_same_v<Given, std::string>) {
      if (type != GgufType::string) mistyped();
      put_string(value);
    } else {
      mistyped();
    }
  }

  void put_array(const GgufArray& array) {
    put(static_cast<std::uint32_t>(array.element));
    put(std::uint64_t{array.size()});
    std::visit(
        [&](const auto& values) {
          for (const auto& value : values) {
            if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::uint64_t>)
              if (array.element == GgufType::boolean) {
                put_scalar(array.element, value != 0);
                continue;
              }
            put_scalar(array.element, value);
          }
        },
        array.values);
  }

  std::string output_, bytes_;
  const std::string* key_ = nullptr;
};

void judge_metadata(const GgufMetadata& metadata, const std::string& output) {
  std::unordered_set<std::string_view> keys;
  for (const auto& [key, value] : metadata.items()) {
    if (key.empty() || key.size() > kGgufMaxKey || find_invalid_utf8(key) != std::string::npos)
      refuse(ErrorKind::invalid_argument, "{}: metadata key is empty, too long or not UTF-8: {}", output,
             quote_name(key));
    if (!keys.insert(key).second)
      refuse(ErrorKind::invalid_argument, "{}: metadata key {} is given twice", output, quote_name(key));
  }
  if (metadata.find("split.count"))
    refuse(ErrorKind::invalid_argument,
           "{}: metadata key 'split.count' has no place in a single file; remove the keys that begin with 'split.'",
           output);
}

class GgufWriter final : public CheckpointWriter {
 public:
  GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata, const std::vector<PlannedTensor>& plan)
      : path_(path), stream_(plan, path.string()) {
    judge_metadata(metadata, path.string());
    alignment_ = gguf_alignment(metadata, path.string());
    for (std::size_t i = 0; i < stream_.size(); ++i) judge_tensor(i);
    const HeaderBytes header = make_header(metadata);
    header_bytes_ = header.bytes().size();
    header_hash_ = XXH3_64bits(header.bytes().data(), header.bytes().size());
    file_.emplace(path_);
    file_->write(header.bytes());
    file_bytes_ = header_bytes_;
    for (std::size_t i = 0; i < stream_.size(); ++i) {
      stream_.place(i, 0, *file_, file_bytes_);
      file_bytes_ += padded(stream_.bytes(i));
    }
    pad_end();
  }

  void write_rows(std::size_t index, const QuantizedView& band) override {
    require_open();
    stream_.write_rows(index, band);
  }

  void finish(bool sync, const OutputJudge& judge, ThreadPool* pool) override {
    require_open();
    try {
      stream_.require_complete();
      naming_final_path(file_->temporary_path(), path_, [&] { verify(pool); });
      if (judge) judge(file_->temporary_path());
      file_->commit(sync);
    } catch (...) {
      file_.reset();
      throw;
    }
    file_.reset();
  }

  std::uint64_t planned_bytes() const noexcept override { return file_bytes_; }
  std::uint64_t bytes_written() const noexcept override { return header_bytes_ + stream_.bytes_written(); }

 private:
  std::uint64_t padded(std::uint64_t size) const { return (size + alignment_ - 1) / alignment_ * alignment_; }

  void require_open() const {
    if (!file_) refuse(ErrorKind::internal, "{}: the writer has finished or failed", path_.string());
  }

  void judge_tensor(std::size_t index) const {
    const PlannedTensor& planned = stream_.planned(index);
    const std::string where = fmt::format("{}: tensor {}", path_.string(), quote_name(planned.name));
    if (!planned.format->info().ggml_type)
      refuse(ErrorKind::unsupported, "{}: GGUF cannot hold the format {}; write a directory, or choose a GGUF format",
             where, planned.format->name());
    if (planned.parts) require_only(parts_of(*planned.parts), {}, "a GGUF file", where);
    if (planned.name.size() > kGgufMaxName)
      refuse(ErrorKind::unsupported, "{}: GGUF names have at most {} bytes: {}", where, kGgufMaxName,
             planned.name.size());
    if (dimensions(planned.shape).size() > kGgufMaxDimensions)
      refuse(ErrorKind::unsupported, "{}: GGUF tensors have at most {} dimensions: {}", where, kGgufMaxDimensions,
             shape_text(planned.shape));
  }

  // ne, innermost first, without outer 1s.
  static Shape dimensions(const Shape& shape) {
    Shape reversed(shape.rbegin(), shape.rend());
    while (reversed.size() > 1 && reversed.back() == 1) reversed.pop_back();
    if (reversed.empty()) reversed.push_back(1);
    return reversed;
  }

  HeaderBytes make_header(const GgufMetadata& metadata) const {
    HeaderBytes header(path_.string());
    header.put_raw("GGUF");
    header.put(std::uint32_t{3});
    header.put(std::uint64_t{stream_.size()});
    header.put(std::uint64_t{metadata.items().size()});
    for (const auto& [key, value] : metadata.items()) header.put_item(key, value);
    std::uint64_t offset = 0;
    for (std::size_t i = 0; i < stream_.size(); ++i) {
      const PlannedTensor& planned = stream_.planned(i);
      header.put_string(planned.name);
      const Shape extents = dimensions(planned.shape);
      header.put(static_cast<std::uint32_t>(extents.size()));
      for (const std::uint64_t extent : extents) header.put(extent);
      header.put(*planned.format->info().ggml_type);
      header.put(offset);
      offset += padded(stream_.bytes(i));
    }
    header.pad(alignment_);
    return header;
  }

  // Padding between tensors is what a file shows where nothing was written: zeros. The end must be written to exist.
  void pad_end() {
    constexpr std::byte kZero{0};
    if (file_bytes_ > header_bytes_) file_->write_at(file_bytes_ - 1, std::span(&kZero, 1));
  }

  void verify(ThreadPool* pool) const {
    const auto temporary = file_->temporary_path();
    const MappedFile mapped(temporary);
    if (mapped.bytes().size() != file_bytes_)
      refuse(ErrorKind::internal, "{}: read back {} bytes but wrote {}", path_.string(), mapped.bytes().size(),
             file_bytes_);
    if (XXH3_64bits(mapped.bytes().data(), header_bytes_) != header_hash_)
      refuse(ErrorKind::internal, "{}: the header read back differs from what was written; the disk may be failing",
             path_.string());
    stream_.verify(Checkpoint::open(temporary), pool);
  }

  std::filesystem::path path_;
  TensorStream stream_;
  std::optional<OutputFile> file_;
  std::uint64_t alignment_ = kGgufDefaultAlignment;
  std::size_t header_bytes_ = 0;
  std::uint64_t header_hash_ = 0, file_bytes_ = 0;
};

}  // namespace

std::unique_ptr<CheckpointWriter> make_gguf_writer(const std::filesystem::path& path, const GgufMetadata& metadata,
                                                   const std::vector<PlannedTensor>& plan) {
  return std::make_unique<GgufWriter>(path, metadata, plan);
}

}  // namespace nibble
