// SPDX-License-Identifier: Apache-2.0
//
// GGUF metadata: ordered key -> typed value. The type a key was stored with is kept, because llama.cpp insists on it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace nibble {

// The numbering of the GGUF specification.
enum class GgufType : std::uint32_t { u8 = 0, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

std::string_view gguf_type_name(GgufType type);  // "u32", "string", ...

// An array of numbers keeps its element type beside the widened values; bools are 0 and 1 among the unsigned.
struct GgufArray {
  GgufType element = GgufType::u32;
  std::variant<std::vector<std::int64_t>, std::vector<std::uint64_t>, std::vector<double>, std::vector<std::string>>
      values;
  std::size_t size() const;
  bool operator==(const GgufArray&) const = default;
};

struct GgufValue {
  GgufType type = GgufType::u32;
  std::variant<std::int64_t, std::uint64_t, double, bool, std::string, GgufArray> value;

  bool operator==(const GgufValue&) const = default;

  static GgufValue of_u32(std::uint32_t v);
  static GgufValue of_i32(std::int32_t v);
  static GgufValue of_u64(std::uint64_t v);
  static GgufValue of_f32(float v);
  static GgufValue of_bool(bool v);
  static GgufValue of_string(std::string v);
  static GgufValue of_strings(std::vector<std::string> v);
  static GgufValue of_f32s(const std::vector<float>& v);
  static GgufValue of_i32s(const std::vector<std::int32_t>& v);
  static GgufValue of_bools(const std::vector<bool>& v);
};

class GgufMetadata {
 public:
  struct Item {
    std::string key;
    GgufValue value;
    bool operator==(const Item&) const = default;
  };
  const std::vector<Item>& items() const noexcept { return items_; }
  bool empty() const noexcept { return items_.empty(); }
  void set_source(std::string source) { source_ = std::move(source); }  // the file that errors below name
  const GgufValue* find(std::string_view key) const noexcept;
  void set(std::string key, GgufValue value);     // replaces or appends
  void append(std::string key, GgufValue value);  // for a key that is known to be new: no search
  void erase(std::string_view key);

  // Readers that accept any width of the kind asked for. nullopt: the key is absent. Error(corrupt): it has another
  // kind.
  std::optional<std::uint64_t> unsigned_integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;  // any integer or float
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> string(std::string_view key) const;
  const std::vector<std::string>* strings(std::string_view key) const;  // null when absent
  std::optional<std::vector<double>> numbers(std::string_view key) const;

 private:
  [[noreturn]] void refuse(std::string_view key, std::string_view wanted, const GgufValue& value) const;

  std::vector<Item> items_;
  std::string source_;
};

}  // namespace nibble
