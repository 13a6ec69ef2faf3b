// SPDX-License-Identifier: Apache-2.0
#include "io/npy/npy_file.h"

#include <fmt/format.h>

#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/byte_reader.h"
#include "base/half.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

[[noreturn]] void corrupt(const std::string& source, std::string_view why) {
  throw Error(ErrorKind::corrupt, fmt::format("{}: {}", source, why));
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What follows 'key': in the header, which is a Python dictionary.
std::string_view after_key(std::string_view header, std::string_view key, const std::string& source) {
  const std::size_t at = header.find(fmt::format("'{}'", key));
  if (at == std::string_view::npos) corrupt(source, fmt::format("its header does not say {}", key));
  header.remove_prefix(at + key.size() + 2);
  const std::size_t value = header.find_first_not_of(" :");
  if (value == std::string_view::npos) corrupt(source, fmt::format("its header ends behind {}", key));
  return header.substr(value);
}

Shape read_shape(std::string_view text, const std::string& source) {
  if (!text.starts_with('(')) corrupt(source, "its header has no shape");
  text.remove_prefix(1);
  Shape shape;
  for (;;) {
    while (!text.empty() && (text.front() == ' ' || text.front() == ',')) text.remove_prefix(1);
    if (text.empty()) corrupt(source, "its header ends within a shape");
    if (text.front() == ')') break;
    std::uint64_t extent = 0;
    std::size_t digits = 0;
    for (; !text.empty() && std::isdigit(static_cast<unsigned char>(text.front())) != 0;
         text.remove_prefix(1), ++digits)
      extent = extent * 10 + static_cast<std::uint64_t>(text.front() - '0');
    if (digits == 0 || digits > 12 || shape.size() >= 32) corrupt(source, "its header has a shape that is none");
    shape.push_back(extent);
  }
  return shape;
}

template <class Stored>
void widen(std::span<const std::byte> bytes, std::vector<float>& numbers, const std::string& source) {
  for (std::size_t i = 0; i + sizeof(Stored) <= bytes.size(); i += sizeof(Stored)) {
    Stored stored;
    std::memcpy(&stored, &bytes[i], sizeof stored);
    const auto number = static_cast<float>(stored);
    if constexpr (std::is_integral_v<Stored> && sizeof(Stored) > 2)
      if (std::abs(static_cast<double>(stored)) > 0x1p24)
        throw Error(ErrorKind::unsupported, fmt::format("{}: a whole number beyond 2^24: {}", source, stored));
    numbers.push_back(number);
  }
}

struct NumberKind {
  std::string_view name;
  std::size_t bytes;
  void (*read)(std::span<const std::byte>, std::vector<float>&, const std::string&);
  void (*write)(std::span<const float>, std::string&);
};

template <class Stored>
void narrow(std::span<const float> numbers, std::string& bytes) {
  for (const float number : numbers) {
    Stored stored;
    if constexpr (std::is_integral_v<Stored>)
      stored = static_cast<Stored>(std::llrint(number));
    else
      stored = static_cast<Stored>(number);
    bytes.append(reinterpret_cast<const char*>(&stored), sizeof stored);
  }
}

void widen_halves(std::span<const std::byte> bytes, std::vector<float>& numbers, const std::string&) {
  for (std::size_t i = 0; i + 2 <= bytes.size(); i += 2) {
    std::uint16_t half;
    std::memcpy(&half, &bytes[i], sizeof half);
    numbers.push_back(f16_to_f32(half));
  }
}

void narrow_to_halves(std::span<const float> numbers, std::string& bytes) {
  for (const float number : numbers) {
    const std::uint16_t half = f32_to_f16(number);
    bytes.append(reinterpret_cast<const char*>(&half), sizeof half);
  }
}

constexpr NumberKind kKinds[] = {{"f4", 4, widen<float>, narrow<float>},
                                 {"f8", 8, widen<double>, narrow<double>},
                                 {"f2", 2, widen_halves, narrow_to_halves},
                                 {"i1", 1, widen<std::int8_t>, narrow<std::int8_t>},
                                 {"u1", 1, widen<std::uint8_t>, narrow<std::uint8_t>},
                                 {"b1", 1, widen<std::uint8_t>, narrow<std::uint8_t>},
                                 {"i2", 2, widen<std::int16_t>, narrow<std::int16_t>},
                                 {"u2", 2, widen<std::uint16_t>, narrow<std::uint16_t>},
                                 {"i4", 4, widen<std::int32_t>, narrow<std::int32_t>},
                                 {"u4", 4, widen<std::uint32_t>, narrow<std::uint32_t>},
                                 {"i8", 8, widen<std::int64_t>, narrow<std::int64_t>},
                                 {"u8", 8, widen<std::uint64_t>, narrow<std::uint64_t>}};

const NumberKind& find_kind(std::string_view name, const std::string& source) {
  for (const NumberKind& kind : kKinds)
    if (kind.name == name) return kind;
  throw Error(ErrorKind::unsupported,
              fmt::format("{}: is of elements that are not read: {}", source, quote_name(name)));
}

// From columns that lie one behind the other to rows.
void turn(NpyArray& array) {
  std::vector<float> turned(array.numbers.size());
  std::vector<std::uint64_t> index(array.shape.size(), 0);
  for (float& number : turned) {
    std::uint64_t at = 0;
    for (std::size_t d = index.size(); d-- > 0;) at = at * array.shape[d] + index[d];
    number = array.numbers[at];
    for (std::size_t d = index.size(); d-- > 0;) {
      if (++index[d] < array.shape[d]) break;
      index[d] = 0;
    }
  }
  array.numbers = std::move(turned);
}

}  // namespace

NpyArray parse_npy(std::span<const std::byte> bytes, const std::string& source) {
  ByteReader reader(bytes, source);
  if (text_of(bytes.first(std::min(bytes.size(), kMagic.size()))) != kMagic)
    corrupt(source, "is no array of NumPy (.npy)");
  reader.take(kMagic.size(), "its beginning");
  const auto major = reader.read<std::uint8_t>("its version");
  reader.read<std::uint8_t>("its version");
  if (major < 1 || major > 3)
    throw Error(ErrorKind::unsupported, fmt::format("{}: is of a version that is not known: {}", source, major));
  const std::uint64_t length = major == 1 ? reader.read<std::uint16_t>("its header's length")
                                          : reader.read<std::uint32_t>("its header's length");
  const std::string_view header = text_of(reader.take(length, "its header"));
  const std::string_view said = after_key(header, "descr", source);
  const std::size_t end = said.find('\'', 1);
  if (!said.starts_with('\'') || end == std::string_view::npos)
    corrupt(source, "is of several kinds of elements, or of none");
  std::string_view type = said.substr(1, end - 1);
  if (type.starts_with('>'))
    throw Error(ErrorKind::unsupported, fmt::format("{}: has its bytes in big-endian order", source));
  if (type.starts_with('<') || type.starts_with('|') || type.starts_with('=')) type.remove_prefix(1);
  const NumberKind& kind = find_kind(type, source);
  NpyArray array{read_shape(after_key(header, "shape", source), source), {}, std::string(type)};
  const std::uint64_t count = checked_elements(array.shape, source);
  if (count > reader.remaining() / kind.bytes)
    corrupt(source, fmt::format("should have {} numbers and has {}", count, reader.remaining() / kind.bytes));
  array.numbers.reserve(count);
  kind.read(reader.take(count * kind.bytes, "its numbers"), array.numbers, source);
  if (after_key(header, "fortran_order", source).starts_with("True")) turn(array);
  return array;
}

bool is_npz(std::span<const std::byte> bytes) {
  const std::string_view begin = text_of(bytes.first(std::min<std::size_t>(4, bytes.size())));
  return begin == "PK\3\4" || begin == "PK\5\6";  // the latter of an archive of nothing
}

// The directory at an archive's end says where each file lies and how long it is.
std::vector<std::pair<std::string, NpyArray>> parse_npz(std::span<const std::byte> bytes, const std::string& source) {
  const std::size_t end = text_of(bytes).rfind("PK\5\6");
  if (end == std::string_view::npos) corrupt(source, "is no archive of NumPy (.npz), or its end is missing");
  ByteReader tail(bytes.subspan(end), source);
  tail.take(10, "its directory");
  const auto count = tail.read<std::uint16_t>("its directory");
  tail.read<std::uint32_t>("its directory");
  const auto first = tail.read<std::uint32_t>("its directory");
  if (first > bytes.size()) corrupt(source, "its directory is missing");
  ByteReader directory(bytes.subspan(first), source);
  std::vector<std::pair<std::string, NpyArray>> arrays;
  for (std::uint16_t i = 0; i < count; ++i) {
    if (text_of(directory.take(4, "its directory")) != "PK\1\2") corrupt(source, "its directory is damaged");
    directory.take(4, "its directory");
    const auto flags = directory.read<std::uint16_t>("its directory"),
               method = directory.read<std::uint16_t>("its directory");
    directory.take(8, "its directory");
    const auto stored = directory.read<std::uint32_t>("its directory");
    directory.read<std::uint32_t>("its directory");
    const auto name_length = directory.read<std::uint16_t>("its directory"),
               more = directory.read<std::uint16_t>("its directory"),
               comment = directory.read<std::uint16_t>("its directory");
    directory.take(8, "its directory");
    const auto place = directory.read<std::uint32_t>("its directory");
    std::string name(text_of(directory.take(name_length, "its directory")));
    directory.take(std::uint64_t{more} + comment, "its directory");
    const std::string where = fmt::format("{}: {}", source, quote_name(name));
    if (method != 0 || (flags & 1) != 0)
      throw Error(ErrorKind::unsupported, fmt::format("{}: is compressed; numpy.savez writes it as it is", where));
    if (place > bytes.size()) corrupt(where, "lies beyond the end of the archive");
    ByteReader file(bytes.subspan(place), where);
    if (text_of(file.take(4, "its header")) != "PK\3\4") corrupt(where, "is not where the directory says");
    file.take(22, "its header");
    const auto local_name = file.read<std::uint16_t>("its header"), local_more = file.read<std::uint16_t>("its header");
    file.take(std::uint64_t{local_name} + local_more, "its header");
    if (name.ends_with(".npy")) name.resize(name.size() - 4);
    arrays.emplace_back(std::move(name), parse_npy(file.take(stored, "its bytes"), where));
  }
  return arrays;
}

std::string serialize_npy(const NpyArray& array) {
  const NumberKind& kind = find_kind(array.type, "an array");
  std::string header =
      fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}{}), }}", kind.bytes == 1 ? '|' : '<',
                  kind.name, fmt::join(array.shape, ", "), array.shape.size() == 1 ? "," : "");
  // The numbers begin at a multiple of 64 bytes.
  const std::size_t before = kMagic.size() + 4;
  header.append(63 - (before + header.size()) % 64, ' ');
  header += '\n';
  std::string bytes(kMagic);
  bytes += {'\1', '\0', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  bytes += header;
  kind.write(array.numbers, bytes);
  return bytes;
}

namespace {

// CRC-32 of ZIP (reflected 0x04c11db7).
std::uint32_t checksum(std::string_view bytes) {
  std::uint32_t crc = ~std::uint32_t{0};
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

template <class T>
void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

std::string serialize_npz(const std::vector<std::pair<std::string, NpyArray>>& arrays) {
  std::string bytes, directory;
  for (const auto& [key, array] : arrays) {
    const std::string name = key + ".npy", file = serialize_npy(array);
    if (bytes.size() + file.size() > 0xffffffffu)
      throw Error(ErrorKind::unsupported, "archives beyond 4 GB are not written");
    const auto place = static_cast<std::uint32_t>(bytes.size()), length = static_cast<std::uint32_t>(file.size());
    std::string entry;  // what both headers say
    for (const int number : {20, 0, 0, 0, 33})
      put(entry, static_cast<std::uint16_t>(number));  // version, flags, method, 1980-01-01
    for (const std::uint32_t number : {checksum(file), length, length}) put(entry, number);
    put(entry, static_cast<std::uint16_t>(name.size()));
    put(entry, std::uint16_t{0});
    bytes += "PK\3\4" + entry + name + file;
    directory += "PK\1\2";
    put(directory, std::uint16_t{20});
    directory += entry;
    directory.append(10, '\0');
    put(directory, place);
    directory += name;
  }
  const auto first = static_cast<std::uint32_t>(bytes.size()), length = static_cast<std::uint32_t>(directory.size());
  const auto count = static_cast<std::uint16_t>(arrays.size());
  bytes += directory + "PK\5\6" + std::string(4, '\0');
  put(bytes, count);
  put(bytes, count);
  put(bytes, length);
  put(bytes, first);
  put(bytes, std::uint16_t{0});
  return bytes;
}

}  // namespace nibble
