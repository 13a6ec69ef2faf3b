// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint.h"

#include <fmt/format.h>

#include <fstream>
#include <functional>
#include <unordered_map>

#include "base/output_file.h"
#include "io/checkpoint_parts.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kMaxSideFile = 512u << 20;

std::string first_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(9, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

// By content first, because names lie; by name where the content is too damaged to tell.
CheckpointParts read_parts(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) throw Error(ErrorKind::not_found, fmt::format("{}: no such file or directory", path.string()));
  if (std::filesystem::is_directory(path, error)) return read_directory_checkpoint(path);
  if (!std::filesystem::is_regular_file(path, error)) throw Error(ErrorKind::io, fmt::format("{}: neither a file nor a directory", path.string()));
  const std::string start = first_bytes(path);
  const std::string extension = lower_extension(path);
  if (start.starts_with("GGUF") || extension == ".gguf") return read_gguf_checkpoint(path);
  if (extension == ".safetensors" || (start.size() == 9 && start[8] == '{')) return read_safetensors_checkpoint(path);
  if (extension == ".json") throw Error(ErrorKind::unusable_input, fmt::format("{}: not weights; give the directory that it lies in", path.string()));
  const bool zip = start.starts_with("PK") || start.starts_with("\x80\x02");
  throw Error(ErrorKind::unsupported, fmt::format("{}: neither GGUF nor safetensors{}", path.string(), zip ? "; save PyTorch weights as safetensors first" : ""));
}

}  // namespace

struct Checkpoint::State : CheckpointParts {
  explicit State(CheckpointParts parts) : CheckpointParts(std::move(parts)) {
    for (std::size_t i = 0; i < tensors.size(); ++i) index.emplace(tensors[i].name, i);
    for (const auto& file : files) bytes += file->bytes().size();
  }

  // The file that these bytes lie in; null for bytes from elsewhere.
  const MappedFile* file_of(std::span<const std::byte> range) const noexcept {
    const std::less_equal<const std::byte*> before;
    for (const auto& file : files) {
      const auto all = file->bytes();
      if (before(all.data(), range.data()) && before(range.data() + range.size(), all.data() + all.size())) return file.get();
    }
    return nullptr;
  }

  std::unordered_map<std::string_view, std::size_t> index;  // keys live in tensors
  std::uint64_t bytes = 0;
};

Checkpoint::Checkpoint(std::unique_ptr<State> state) : state_(std::move(state)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Checkpoint Checkpoint::open(const std::filesystem::path& path) { return Checkpoint(std::make_unique<State>(read_parts(path))); }

ContainerKind Checkpoint::kind() const noexcept { return state_->kind; }
const std::filesystem::path& Checkpoint::path() const noexcept { return state_->path; }
std::uint64_t Checkpoint::file_bytes() const noexcept { return state_->bytes; }
const std::vector<StoredTensor>& Checkpoint::tensors() const noexcept { return state_->tensors; }

const StoredTensor* Checkpoint::find(std::string_view name) const noexcept {
  const auto found = state_->index.find(name);
  return found != state_->index.end() ? &state_->tensors[found->second] : nullptr;
}

const StoredTensor& Checkpoint::tensor(std::string_view name) const {
  if (const StoredTensor* found = find(name)) return *found;
  throw Error(ErrorKind::not_found, fmt::format("{}: tensor {} is missing", state_->path.string(), quote_name(name)));
}

const std::string& Checkpoint::config_json() const noexcept { return state_->config_json; }

std::optional<std::string> Checkpoint::read_side_file(std::string_view file_name) const {
  if (state_->kind != ContainerKind::huggingface) return std::nullopt;
  if (!is_plain_file_name(file_name)) throw Error(ErrorKind::invalid_argument, fmt::format("not the name of a file in a directory: {}", quote_name(file_name)));
  return read_small_file(state_->path / file_name, kMaxSideFile);
}

const GgufMetadata& Checkpoint::gguf() const noexcept { return state_->metadata; }

void Checkpoint::release(std::span<const std::byte> range) const noexcept {
  if (const MappedFile* file = state_->file_of(range)) file->release(range);
}

void Checkpoint::will_need(std::span<const std::byte> range) const noexcept {
  if (const MappedFile* file = state_->file_of(range)) file->will_need(range);
}

void Checkpoint::release(const StoredTensor& tensor) const noexcept {
  release(tensor.data);
  for (const auto plane : tensor.view.planes) release(plane);
}

void Checkpoint::will_need(const StoredTensor& tensor) const noexcept {
  will_need(tensor.data);
  for (const auto plane : tensor.view.planes) will_need(plane);
}

}  // namespace nibble
