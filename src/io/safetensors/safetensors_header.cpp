// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <unordered_set>

#include "base/byte_reader.h"
#include "base/utf8.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kMaxDepth = 64;

struct TypeWidth {
  std::string_view name;
  std::uint64_t bits;
};

// The order of the reference implementation, narrow to wide.
constexpr std::array kTypes = {
    TypeWidth{"BOOL", 8},    TypeWidth{"F4", 4},          TypeWidth{"F6_E2M3", 6},     TypeWidth{"F6_E3M2", 6},
    TypeWidth{"U8", 8},      TypeWidth{"I8", 8},          TypeWidth{"F8_E5M2", 8},     TypeWidth{"F8_E4M3", 8},
    TypeWidth{"F8_E8M0", 8}, TypeWidth{"F8_E4M3FNUZ", 8}, TypeWidth{"F8_E5M2FNUZ", 8}, TypeWidth{"I16", 16},
    TypeWidth{"U16", 16},    TypeWidth{"F16", 16},        TypeWidth{"BF16", 16},       TypeWidth{"I32", 32},
    TypeWidth{"U32", 32},    TypeWidth{"F32", 32},        TypeWidth{"C64", 64},        TypeWidth{"F64", 64},
    TypeWidth{"I64", 64},    TypeWidth{"U64", 64},
};

template <class... Arguments>
[[noreturn]] void corrupt(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw Error(ErrorKind::corrupt, fmt::format(format, std::forward<Arguments>(arguments)...));
}

struct RawEntry {
  std::string name;
  const TypeWidth* type = nullptr;
  Shape shape;
  std::vector<std::uint64_t> data_offsets;
  bool has_shape = false, has_offsets = false;
};

// Takes the header token by token, so that repeated keys are seen and no document is built. Throws at the first fault.
class HeaderHandler final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderHandler(const std::string& source) : source_(source) {}

  std::vector<RawEntry> entries;
  std::map<std::string, std::string> metadata;

  bool start_object(std::size_t) override {
    switch (where_) {
      case Where::document:
        where_ = Where::top;
        return true;
      case Where::top:
        where_ = in_metadata_ ? Where::metadata : Where::entry;
        return true;
      case Where::entry:
        return begin_field(true);
      case Where::ignored:
        return deeper();
      default:
        unexpected("an object");
    }
  }

  bool end_object() override {
    switch (where_) {
      case Where::top:
        where_ = Where::document;
        return true;
      case Where::metadata:
        where_ = Where::top;
        return true;
      case Where::entry:
        finish_entry();
        where_ = Where::top;
        return true;
      default:
        return shallower();
    }
  }

  bool start_array(std::size_t) override {
    if (where_ == Where::ignored) return deeper();
    if (where_ != Where::entry) unexpected("an array");
    return begin_field(false);
  }

  bool end_array() override {
    if (where_ == Where::shape || where_ == Where::offsets)
      where_ = Where::entry;
    else
      shallower();
    return true;
  }

  bool key(string_t& text) override {
    if (where_ == Where::top)
      begin_entry(text);
    else if (where_ == Where::metadata)
      metadata_key_ = text;
    else if (where_ == Where::entry)
      field_ = text;
    return true;
  }

  bool string(string_t& text) override {
    if (where_ == Where::metadata) {
      if (!metadata.emplace(metadata_key_, text).second)
        corrupt("{}: __metadata__ has the key {} twice", source_, quote_name(metadata_key_));
      return true;
    }
    if (where_ == Where::entry && field_ == "dtype") {
      if (entry_.type) corrupt("{}: tensor {}: field 'dtype' appears twice", source_, quote_name(entry_.name));
      const auto found = std::ranges::find(kTypes, std::string_view(text), &TypeWidth::name);
      if (found == kTypes.end())
        corrupt("{}: tensor {}: unknown dtype: {}", source_, quote_name(entry_.name), quote_name(text));
      entry_.type = &*found;
      return true;
    }
    return scalar("a string");
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (where_ == Where::shape) {
      if (entry_.shape.size() == kSafetensorsMaxRank)
        corrupt("{}: tensor {}: more than {} dimensions", source_, quote_name(entry_.name), kSafetensorsMaxRank);
      entry_.shape.push_back(value);
      return true;
    }
    if (where_ == Where::offsets) {
      if (entry_.data_offsets.size() == 2)
        corrupt("{}: tensor {}: data_offsets should hold two numbers but hold more", source_, quote_name(entry_.name));
      entry_.data_offsets.push_back(value);
      return true;
    }
    return scalar("a number");
  }

  bool null() override { return scalar("null"); }
  bool boolean(bool) override { return scalar("a boolean"); }
  bool number_integer(number_integer_t) override { return scalar("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return scalar("a number that is not an unsigned integer");
  }
  bool binary(binary_t&) override { return scalar("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    corrupt("{}: header is not JSON at offset {}", source_, 8 + (position > 0 ? position - 1 : 0));
  }

 private:
  enum class Where { document, top, metadata, entry, shape, offsets, ignored };

  std::string place() const {
    if (where_ == Where::document) return "header";
    if (in_metadata_)
      return where_ == Where::metadata ? fmt::format("__metadata__ {}", quote_name(metadata_key_)) : "__metadata__";
    if (where_ == Where::shape) return fmt::format("tensor {}: shape", quote_name(entry_.name));
    if (where_ == Where::offsets) return fmt::format("tensor {}: data_offsets", quote_name(entry_.name));
    if (where_ == Where::entry) return fmt::format("tensor {}: field {}", quote_name(entry_.name), quote_name(field_));
    return fmt::format("tensor {}", quote_name(entry_.name));
  }

  std::string_view wanted() const {
    if (where_ == Where::document || where_ == Where::top) return "an object";
    if (where_ == Where::shape || where_ == Where::offsets) return "unsigned integers";
    if (where_ == Where::metadata || field_ == "dtype") return "a string";
    return "an array of unsigned integers";
  }

  [[noreturn]] void unexpected(std::string_view found) const {
    corrupt("{}: {} should be {} but is {}", source_, place(), wanted(), found);
  }

  bool known_field() const { return field_ == "dtype" || field_ == "shape" || field_ == "data_offsets"; }

  // A value that nothing above took: fine in fields that this reader does not know, wrong everywhere else.
  bool scalar(std::string_view found) const {
    if (where_ == Where::ignored || (where_ == Where::entry && !known_field())) return true;
    unexpected(found);
  }

  bool deeper() {
    if (++depth_ > kMaxDepth)
      corrupt("{}: tensor {}: JSON is nested deeper than {} levels", source_, quote_name(entry_.name), kMaxDepth);
    return true;
  }

  bool shallower() {
    if (--depth_ == 0) where_ = Where::entry;
    return true;
  }

  bool begin_field(bool object) {
    if (!known_field()) {
      where_ = Where::ignored;
      depth_ = 0;
      return deeper();
    }
    if (object || field_ == "dtype") unexpected(object ? "an object" : "an array");
    bool& seen = field_ == "shape" ? entry_.has_shape : entry_.has_offsets;
    if (seen) corrupt("{}: tensor {}: field {} appears twice", source_, quote_name(entry_.name), quote_name(field_));
    seen = true;
    where_ = field_ == "shape" ? Where::shape : Where::offsets;
    return true;
  }

  void begin_entry(const std::string& name) {
    in_metadata_ = name == "__metadata__";
    if (!names_.insert(name).second) corrupt("{}: tensor {} appears twice in the header", source_, quote_name(name));
    if (names_.size() > kSafetensorsMaxTensors)
      corrupt("{}: header has more than {} tensors", source_, kSafetensorsMaxTensors);
    entry_ = RawEntry{};
    entry_.name = name;
  }

  void finish_entry() {
    const std::string_view missing = !entry_.type          ? "dtype"
                                     : !entry_.has_shape   ? "shape"
                                     : !entry_.has_offsets ? "data_offsets"
                                                           : "";
    if (!missing.empty()) corrupt("{}: tensor {}: field '{}' is missing", source_, quote_name(entry_.name), missing);
    if (entry_.data_offsets.size() != 2)
      corrupt("{}: tensor {}: data_offsets should hold two numbers but hold {}", source_, quote_name(entry_.name),
              entry_.data_offsets.size());
    entries.push_back(std::move(entry_));
  }

  const std::string& source_;
  Where where_ = Where::document;
  bool in_metadata_ = false;
  std::size_t depth_ = 0;  // inside an ignored value
  RawEntry entry_;
  std::string field_, metadata_key_;
  std::unordered_set<std::string> names_;
};

// Bytes of the tensor by its shape and type.
std::uint64_t expected_bytes(const RawEntry& entry, const std::string& source) {
  const std::string what = fmt::format("{}: tensor {}", source, quote_name(entry.name));
  const std::uint64_t elements = checked_elements(entry.shape, what);
  if (elements > (std::uint64_t{1} << 63) / entry.type->bits)
    corrupt("{}: the number of bits overflows: {} {}", what, entry.type->name, shape_text(entry.shape));
  const std::uint64_t bits = elements * entry.type->bits;
  if (bits % 8 != 0)
    corrupt("{}: elements do not fill whole bytes: {} {}", what, entry.type->name, shape_text(entry.shape));
  return bits / 8;
}

// Tensors must fill the data section without gaps, overlaps or a rest.
SafetensorsHeader place(std::vector<RawEntry>&& raw, std::uint64_t data_offset, std::uint64_t file_bytes,
                        const std::string& source) {
  // By name last: the order of tensors without bytes must not depend on chance.
  std::ranges::sort(raw, {}, [](const RawEntry& entry) {
    return std::tie(entry.data_offsets[0], entry.data_offsets[1], entry.name);
  });
  SafetensorsHeader header;
  header.entries.reserve(raw.size());
  std::uint64_t expected = 0;
  for (RawEntry& entry : raw) {
    const std::uint64_t begin = entry.data_offsets[0], end = entry.data_offsets[1];
    if (end < begin)
      corrupt("{}: tensor {}: data_offsets end before they begin: [{}, {}]", source, quote_name(entry.name), begin,
              end);
    if (begin != expected)
      corrupt("{}: tensor {}: {}: data_offsets begin at {}, not at {}", source, quote_name(entry.name),
              begin < expected ? "overlaps the tensor before it" : "leaves a gap after the tensor before it", begin,
              expected);
    const std::uint64_t bytes = expected_bytes(entry, source);
    if (bytes != end - begin)
      corrupt("{}: tensor {}: {} {} needs {} bytes but data_offsets hold {}", source, quote_name(entry.name),
              entry.type->name, shape_text(entry.shape), bytes, end - begin);
    if (end > file_bytes - data_offset)
      corrupt("{}: tensor {}: ends beyond the file: needs {} bytes at offset {}, file has {} bytes", source,
              quote_name(entry.name), bytes, data_offset + begin, file_bytes);
    header.entries.push_back(
        {std::move(entry.name), entry.type->name, std::move(entry.shape), data_offset + begin, bytes});
    expected = end;
  }
  if (expected != file_bytes - data_offset)
    corrupt("{}: the file goes on after its last tensor at offset {}: {} bytes too many", source,
            data_offset + expected, file_bytes - data_offset - expected);
  return header;
}

}  // namespace

SafetensorsHeader parse_safetensors(std::span<const std::byte> bytes, const std::string& source) {
  ByteReader reader(bytes, source);
  const auto length = reader.read<std::uint64_t>("header length");
  if (length > kSafetensorsMaxHeader)
    corrupt("{}: header length at offset 0 is over the limit of {} bytes: {}", source, kSafetensorsMaxHeader, length);
  const auto header_bytes = reader.take(length, "header");
  const std::string_view text(reinterpret_cast<const char*>(header_bytes.data()), header_bytes.size());
  if (text.empty() || text[0] != '{') corrupt("{}: header does not begin with '{{' at offset 8", source);
  if (const auto bad = find_invalid_utf8(text); bad != std::string_view::npos)
    corrupt("{}: header is not UTF-8 at offset {}", source, 8 + bad);
  // The JSON library takes a zero byte for the end of the text.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos)
    corrupt("{}: header is not JSON at offset {}", source, 8 + zero);
  HeaderHandler handler(source);
  nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
  SafetensorsHeader header = place(std::move(handler.entries), 8 + length, bytes.size(), source);
  header.metadata = std::move(handler.metadata);
  return header;
}

}  // namespace nibble
