// SPDX-License-Identifier: Apache-2.0
#include "io/gguf/gguf_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "base/byte_reader.h"
#include "base/utf8.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kMaxString = std::uint64_t{1} << 30;  // gguf.cpp's own limits
constexpr std::uint64_t kMaxArray = std::uint64_t{1} << 30;
constexpr std::uint64_t kMaxKeys = 1u << 20;
constexpr std::uint64_t kSmallestItem = 8 + 1 + 4 + 1;        // key of one byte, type, value of one byte
constexpr std::uint64_t kSmallestTensor = 8 + 1 + 4 + 4 + 8;  // name of one byte, no dimensions, type, offset

template <class... Arguments>
[[noreturn]] void corrupt(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw Error(ErrorKind::corrupt, fmt::format(format, std::forward<Arguments>(arguments)...));
}

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& source)
      : reader_(bytes, source), source_(source), file_bytes_(bytes.size()) {}

  GgufHeader parse() {
    read_magic_and_version();
    const std::uint64_t num_tensors = read_count("tensor", kSmallestTensor, std::numeric_limits<std::uint64_t>::max());
    const std::uint64_t num_items = read_count("metadata key", kSmallestItem, kMaxKeys);
    for (std::uint64_t i = 0; i < num_items; ++i) read_item(i);
    header_.metadata.set_source(source_);
    header_.alignment = gguf_alignment(header_.metadata, source_);
    header_.tensors.reserve(static_cast<std::size_t>(num_tensors));
    for (std::uint64_t i = 0; i < num_tensors; ++i) read_tensor(i);
    header_.data_offset = padded(reader_.offset());
    place_tensors();
    return std::move(header_);
  }

 private:
  void read_magic_and_version() {
    const auto magic = reader_.take(4, "magic");
    if (std::memcmp(magic.data(), "GGUF", 4) != 0)
      corrupt("{}: not a GGUF file: the magic at offset 0 is not 'GGUF'", source_);
    header_.version = reader_.read<std::uint32_t>("version");
    if ((header_.version & 0xffffu) == 0)
      throw Error(
          ErrorKind::unsupported,
          fmt::format(
              "{}: wrong byte order: the file is big-endian; convert it on the machine that wrote it: version 0x{:08x}",
              source_, header_.version));
    if (header_.version != 2 && header_.version != 3)
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: GGUF version at offset 4 is neither 2 nor 3: {}", source_, header_.version));
  }

  // A count, believed only as far as the rest of the file could hold that many of the smallest.
  std::uint64_t read_count(std::string_view what, std::uint64_t smallest, std::uint64_t limit) {
    const std::size_t at = reader_.offset();
    const auto count = reader_.read<std::uint64_t>(fmt::format("{} count", what));
    const std::uint64_t most = std::min<std::uint64_t>(reader_.remaining() / smallest, limit);
    if (count > most)
      corrupt("{}: {} count at offset {} is more than the file can hold, {}: {}", source_, what, at, most, count);
    return count;
  }

  std::string read_string(std::string_view field, std::uint64_t limit) {
    const std::size_t at = reader_.offset();
    const auto length = reader_.read<std::uint64_t>(fmt::format("length of {}", field));
    if (length > limit) corrupt("{}: {} at offset {} is longer than {} bytes: {}", source_, field, at, limit, length);
    const auto bytes = reader_.take(length, field);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  void read_item(std::uint64_t index) {
    const std::size_t at = reader_.offset();
    std::string key = read_string("metadata key", kGgufMaxKey);
    if (key.empty()) corrupt("{}: metadata key {} at offset {} is empty", source_, index, at);
    if (find_invalid_utf8(key) != std::string::npos)
      corrupt("{}: metadata key {} at offset {} is not UTF-8: {}", source_, index, at, quote_name(key));
    if (!keys_.insert(key).second)
      corrupt("{}: metadata key {} appears twice, again at offset {}", source_, quote_name(key), at);
    const GgufType type = read_type(key);
    GgufValue value = type == GgufType::array ? GgufValue{type, read_array(key)} : read_scalar(key, type);
    header_.metadata.append(std::move(key), std::move(value));
  }

  GgufType read_type(const std::string& key) {
    const std::size_t at = reader_.offset();
    const auto id = reader_.read<std::uint32_t>("metadata type");
    if (id > static_cast<std::uint32_t>(GgufType::f64))
      corrupt("{}: metadata key {}: unknown value type at offset {}: {}", source_, quote_name(key), at, id);
    return static_cast<GgufType>(id);
  }

  GgufValue read_scalar(const std::string& key, GgufType type) {
    constexpr std::string_view kField = "metadata value";
    switch (type) {
      case GgufType::u8:
        return {type, std::uint64_t{reader_.read<std::uint8_t>(kField)}};
      case GgufType::u16:
        return {type, std::uint64_t{reader_.read<std::uint16_t>(kField)}};
      case GgufType::u32:
        return {type, std::uint64_t{reader_.read<std::uint32_t>(kField)}};
      case GgufType::u64:
        return {type, reader_.read<std::uint64_t>(kField)};
      case GgufType::i8:
        return {type, std::int64_t{reader_.read<std::int8_t>(kField)}};
      case GgufType::i16:
        return {type, std::int64_t{reader_.read<std::int16_t>(kField)}};
      case GgufType::i32:
        return {type, std::int64_t{reader_.read<std::int32_t>(kField)}};
      case GgufType::i64:
        return {type, reader_.read<std::int64_t>(kField)};
      case GgufType::f32:
        return {type, static_cast<double>(reader_.read<float>(kField))};
      case GgufType::f64:
        return {type, reader_.read<double>(kField)};
      case GgufType::boolean:
        return {type, reader_.read<std::uint8_t>(kField) != 0};
      case GgufType::string:
        return {type, read_string(fmt::format("value of {}", quote_name(key)), kMaxString)};
      case GgufType::array:
        break;
    }
    throw Error(ErrorKind::internal, "an array is not a scalar");
  }

  template <class Stored, class Kept>
  std::vector<Kept> read_numbers(std::uint64_t count) {
    const auto bytes = reader_.take(count * sizeof(Stored), "metadata array");
    std::vector<Kept> out(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < out.size(); ++i) {
      Stored element;
      std::memcpy(&element, bytes.data() + i * sizeof(Stored), sizeof(Stored));
      out[i] = static_cast<Kept>(element);
    }
    return out;
  }

  static std::uint64_t smallest_element(GgufType type) {
    switch (type) {
      case GgufType::u8:
      case GgufType::i8:
      case GgufType::boolean:
        return 1;
      case GgufType::u16:
      case GgufType::i16:
        return 2;
      case GgufType::u32:
      case GgufType::i32:
      case GgufType::f32:
        return 4;
      default:
        return 8;
    }
  }

  GgufArray read_array(const std::string& key) {
    const std::size_t type_at = reader_.offset();
    const GgufType element = read_type(key);
    if (element == GgufType::array)
      corrupt("{}: metadata key {}: array of arrays at offset {}", source_, quote_name(key), type_at);
    const std::size_t at = reader_.offset();
    const auto count = reader_.read<std::uint64_t>("metadata array length");
    const std::uint64_t most = std::min<std::uint64_t>(reader_.remaining() / smallest_element(element), kMaxArray);
    if (count > most)
      corrupt("{}: metadata key {}: array length at offset {} is more than the file can hold, {}: {}", source_,
              quote_name(key), at, most, count);
    switch (element) {
      case GgufType::u8:
        return {element, read_numbers<std::uint8_t, std::uint64_t>(count)};
      case GgufType::u16:
        return {element, read_numbers<std::uint16_t, std::uint64_t>(count)};
      case GgufType::u32:
        return {element, read_numbers<std::uint32_t, std::uint64_t>(count)};
      case GgufType::u64:
        return {element, read_numbers<std::uint64_t, std::uint64_t>(count)};
      case GgufType::i8:
        return {element, read_numbers<std::int8_t, std::int64_t>(count)};
      case GgufType::i16:
        return {element, read_numbers<std::int16_t, std::int64_t>(count)};
      case GgufType::i32:
        return {element, read_numbers<std::int32_t, std::int64_t>(count)};
      case GgufType::i64:
        return {element, read_numbers<std::int64_t, std::int64_t>(count)};
      case GgufType::f32:
        return {element, read_numbers<float, double>(count)};
      case GgufType::f64:
        return {element, read_numbers<double, double>(count)};
      case GgufType::boolean: {
        auto flags = read_numbers<std::uint8_t, std::uint64_t>(count);
        for (auto& flag : flags) flag = flag != 0 ? 1 : 0;
        return {element, std::move(flags)};
      }
      default:
        break;
    }
    std::vector<std::string> strings;
    strings.reserve(static_cast<std::size_t>(count));
    const std::string field = fmt::format("string of {}", quote_name(key));
    for (std::uint64_t i = 0; i < count; ++i) strings.push_back(read_string(field, kMaxString));
    return {element, std::move(strings)};
  }

  void read_tensor(std::uint64_t index) {
    GgufTensorInfo info;
    const std::size_t at = reader_.offset();
    info.name = read_string("tensor name", kGgufMaxName);
    if (info.name.empty()) corrupt("{}: name of tensor {} at offset {} is empty", source_, index, at);
    if (find_invalid_utf8(info.name) != std::string::npos)
      corrupt("{}: name of tensor {} at offset {} is not UTF-8: {}", source_, index, at, quote_name(info.name));
    if (!names_.insert(info.name).second)
      corrupt("{}: tensor {} appears twice, again at offset {}", source_, quote_name(info.name), at);
    const std::uint64_t row = read_dimensions(info);
    const std::size_t type_at = reader_.offset();
    const auto id = reader_.read<std::uint32_t>("tensor type");
    info.type = find_ggml_type(id);
    if (!info.type)
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: tensor {}: {} at offset {}: {}", source_, quote_name(info.name),
                              describe_unknown_ggml_type(id), type_at, id));
    if (row % info.type->block_elements != 0)
      corrupt("{}: tensor {}: rows do not fill whole blocks of {}: {} at a multiple of {}", source_,
              quote_name(info.name), info.type->name, row, info.type->block_elements);
    const std::uint64_t blocks =
        checked_elements(info.shape, fmt::format("{}: tensor {}", source_, quote_name(info.name))) /
        info.type->block_elements;
    if (blocks > file_bytes_ / info.type->block_bytes)
      corrupt("{}: tensor {}: larger than the file of {} bytes: {} {}", source_, quote_name(info.name), file_bytes_,
              info.type->name, shape_text(info.shape));
    info.bytes = blocks * info.type->block_bytes;
    info.offset = reader_.read<std::uint64_t>("tensor offset");  // relative to the data section until place_tensors()
    header_.tensors.push_back(std::move(info));
  }

  // Returns the length of a row, ne[0].
  std::uint64_t read_dimensions(GgufTensorInfo& info) {
    const std::size_t at = reader_.offset();
    const auto num_dimensions = reader_.read<std::uint32_t>("number of dimensions");
    if (num_dimensions > kGgufMaxDimensions)
      corrupt("{}: tensor {}: more than {} dimensions at offset {}: {}", source_, quote_name(info.name),
              kGgufMaxDimensions, at, num_dimensions);
    for (std::uint32_t i = 0; i < num_dimensions; ++i) {
      const std::size_t extent_at = reader_.offset();
      const auto extent = reader_.read<std::int64_t>("dimension");
      if (extent < 0)
        corrupt("{}: tensor {}: negative dimension at offset {}: {}", source_, quote_name(info.name), extent_at,
                extent);
      info.shape.push_back(static_cast<std::uint64_t>(extent));
    }
    while (info.shape.size() > 1 && info.shape.back() == 1) info.shape.pop_back();
    if (info.shape.empty()) info.shape.push_back(1);
    const std::uint64_t row = info.shape.front();
    std::ranges::reverse(info.shape);
    return row;
  }

  // Sizes are at most those of the file here, so that the padded value cannot overflow.
  std::uint64_t padded(std::uint64_t size) const { return (size + header_.alignment - 1) & ~(header_.alignment - 1); }

  // Offsets must follow one another exactly, each tensor padded to the alignment; and every tensor must lie in the
  // file.
  void place_tensors() {
    std::uint64_t expected = 0;
    for (GgufTensorInfo& info : header_.tensors) {
      if (info.offset != expected)
        corrupt("{}: tensor {}: offset in the data section should be {} but is {}", source_, quote_name(info.name),
                expected, info.offset);
      const std::uint64_t room = file_bytes_ > header_.data_offset ? file_bytes_ - header_.data_offset : 0;
      if (expected > room || info.bytes > room - expected)
        corrupt("{}: tensor {}: ends beyond the file: needs {} bytes at offset {}, file has {} bytes", source_,
                quote_name(info.name), info.bytes, header_.data_offset + expected, file_bytes_);
      expected = padded(expected + info.bytes);
      info.offset += header_.data_offset;
    }
  }

  ByteReader reader_;
  const std::string& source_;
  std::uint64_t file_bytes_;
  GgufHeader header_;
  std::unordered_set<std::string> keys_, names_;
};

}  // namespace

std::uint32_t gguf_alignment(const GgufMetadata& metadata, const std::string& source) {
  const GgufValue* value = metadata.find("general.alignment");
  if (!value) return kGgufDefaultAlignment;
  if (value->type != GgufType::u32)
    corrupt("{}: metadata key 'general.alignment' should be u32 but is stored as {}", source,
            gguf_type_name(value->type));
  const auto alignment = std::get<std::uint64_t>(value->value);
  if (!std::has_single_bit(alignment))
    corrupt("{}: metadata key 'general.alignment' is not a power of two: {}", source, alignment);
  return static_cast<std::uint32_t>(alignment);
}

GgufHeader parse_gguf(std::span<const std::byte> bytes, const std::string& source) {
  return Parser(bytes, source).parse();
}

}  // namespace nibble
