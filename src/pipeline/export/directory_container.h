// SPDX-License-Identifier: Apache-2.0
//
// What Hugging Face directories have in common, whoever reads their weights: config.json, tokenizer and other small
// files beside them, and what may be replaced. Internal to pipeline/export.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint_writer.h"
#include "pipeline/export/container.h"

namespace nibble {

inline constexpr std::string_view kNoTokenizer =
    "no tokenizer lies beside the weights, and so none beside the output's: programs that read text need one";

// What lies beside a nibble directory's card: how it is used.
inline constexpr std::string_view kNibbleUse = "nibble chat .\nnibble run . -p 'Once upon a time'";

inline constexpr std::uint64_t kDirectoryShardBytes = 5'000'000'000;

// Names of what may lie beside the weights of a directory and means the same for what is made of it, beside the
// tokenizer.
std::span<const char* const> kept_side_files();

class DirectoryContainer : public Container {
 public:
  Spelling naming() const noexcept override { return Spelling::huggingface; }
  bool is_file() const noexcept override { return false; }
  std::uint64_t margin() const noexcept override { return 256; }  // a plane more in the list and the header
  std::string in_the_way(const std::filesystem::path& output) const override;
  void require_sound(const SourceModel& source) const override;

 protected:
  // Commands that load such a directory from within it, a line each.
  virtual std::string use(const ContainerContents& contents) const = 0;
  // config.json, the model's card, the manifest and the source's small files; a GGUF source's keys become tokenizer
  // files.
  std::vector<SideFile> files(const ContainerContents& contents, std::string config_json) const;
};

// config.json of the output, without a word of how its weights lie: the source's, or what a GGUF file's keys say.
std::string directory_config(const ContainerContents& contents);
std::uint64_t shard_bytes_of(const QuantizePlan& plan);  // the plan's, or 5 GB

}  // namespace nibble
