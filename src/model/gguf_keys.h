// SPDX-License-Identifier: Apache-2.0
//
// The keys of one GGUF file under a prefix, {arch}., as configurations read them. Internal to model/.
//
//   const GgufKeys keys(checkpoint, "model.gguf", "llama.");
//   config.hidden = keys.required_integer("embedding_length");
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint.h"
#include "io/gguf/gguf_value.h"

namespace nibble {

class GgufKeys {
 public:
  // checkpoint: a GGUF file, borrowed.
  GgufKeys(const Checkpoint& checkpoint, std::string source, std::string prefix);

  std::string full(std::string_view key) const { return prefix_ + std::string(key); }

  // nullopt: absent. Error(corrupt): of another kind.
  std::optional<std::uint64_t> integer(std::string_view key) const { return metadata_.unsigned_integer(full(key)); }
  std::uint64_t required_integer(std::string_view key) const;
  // Counts that may differ between layers in the format; here they must be equal.
  std::optional<std::uint64_t> layer_integer(std::string_view key) const;
  // Counts that may differ, one for each layer; a single number counts for all.
  std::optional<std::vector<std::uint64_t>> layer_integers(std::string_view key, std::uint64_t layers) const;
  std::optional<double> number(std::string_view key) const { return metadata_.number(full(key)); }
  std::optional<std::vector<double>> numbers(std::string_view key) const { return metadata_.numbers(full(key)); }
  // A flag counts as 1 or 0.
  std::optional<double> flag_or_number(std::string_view key) const;
  std::optional<std::string> string(std::string_view key) const { return metadata_.string(full(key)); }
  // An array of flags, one for each layer; a single number is nullopt.
  std::optional<std::vector<bool>> layer_flags(std::string_view key, std::uint64_t layers) const;

  bool has_tensor(std::string_view name) const { return checkpoint_.find(name) != nullptr; }

  [[noreturn]] void missing(std::string_view key) const;
  [[noreturn]] void wrong(std::string_view key, std::string_view what) const;
  [[noreturn]] void unsupported(const std::string& what) const;
  // Values that no model has together: Error(corrupt).
  [[noreturn]] void contradicts(const std::string& what) const;

 private:
  const Checkpoint& checkpoint_;
  const GgufMetadata& metadata_;
  std::string source_, prefix_;
};

}  // namespace nibble
