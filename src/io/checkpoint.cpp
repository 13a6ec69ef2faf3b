// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <unordered_map>

#include "base/file_signature.h"
#include "base/output_file.h"
#include "io/checkpoint_parts.h"
#include "io/foreign_file.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kMaxSideFile = 512u << 20;

std::string first_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(kForeignStart, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

constexpr std::string_view kHubAdvice =
    "; a name on a model hub must be downloaded first (hf download NAME --local-dir DIR)";

// "organisation/model": two words that could be a path as well.
bool is_hub_name(const std::filesystem::path& path) {
  const std::string text = path.string();
  return !text.starts_with('/') && !text.starts_with('.') && std::ranges::count(text, '/') == 1 &&
         !text.ends_with('/') && path.extension() != ".gguf" && path.extension() != ".safetensors" &&
         !is_there(path.parent_path());
}

// By content first, because names lie; by name where the content is too damaged to tell.
CheckpointParts read_parts(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    throw Error(ErrorKind::not_found,
                fmt::format("{}: no such file or directory{}", path.string(), is_hub_name(path) ? kHubAdvice : ""));
  if (std::filesystem::is_directory(path, error)) return read_directory_checkpoint(path);
  if (!std::filesystem::is_regular_file(path, error))
    throw Error(ErrorKind::io, fmt::format("{}: neither a file nor a directory", path.string()));
  const std::string start = first_bytes(path);
  const std::string extension = lower_extension(path);
  if (start.starts_with("GGUF") || extension == ".gguf") return read_gguf_checkpoint(path);
  if (extension == ".safetensors" || has_safetensors_start(start)) return read_safetensors_checkpoint(path);
  if (extension == ".json")
    throw Error(ErrorKind::unusable_input,
                fmt::format("{}: not weights; give the directory that it lies in", path.string()));
  const auto foreign = describe_foreign_weights(start);
  throw Error(ErrorKind::unsupported,
              fmt::format("{}: neither GGUF nor safetensors{}", path.string(), foreign ? " but " + *foreign : ""));
}

}  // namespace

struct Checkpoint::State : CheckpointParts {
  explicit State(CheckpointParts parts) : CheckpointParts(std::move(parts)) {
    for (std::size_t i = 0; i < tensors.size(); ++i) index.emplace(tensors[i].name, i);
    for (std::size_t i = 0; i < tensors.size(); ++i)
      if (!tensors[i].wrapped_name.empty()) index.emplace(tensors[i].wrapped_name, i);
    for (const auto& file : files) bytes += file->bytes().size();
  }

  // The file that these bytes lie in; null for bytes from elsewhere.
  const MappedFile* file_of(std::span<const std::byte> range) const noexcept {
    const std::less_equal<const std::byte*> before;
    for (const auto& file : files) {
      const auto all = file->bytes();
      if (before(all.data(), range.data()) && before(range.data() + range.size(), all.data() + all.size()))
        return file.get();
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

Checkpoint Checkpoint::open(const std::filesystem::path& path) {
  return Checkpoint(std::make_unique<State>(read_parts(path)));
}

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
  std::string place;
  if (const auto listed = state_->absent.find(name); listed != state_->absent.end())
    place = fmt::format("; the index says that it is in {}, which does not hold it", quote_name(listed->second));
  else if (const auto word = name.substr(0, name.find('.') + 1);
           !word.empty() && !tensors().empty() && std::ranges::none_of(tensors(), [word](const StoredTensor& tensor) {
             return tensor.name.starts_with(word);
           }))
    place = fmt::format("; no name here begins with {}; the first is {}", quote_name(word),
                        quote_name(tensors().front().name));
  throw Error(ErrorKind::not_found,
              fmt::format("{}: tensor {} is missing{}", state_->path.string(), quote_name(name), place));
}

const LayerReading& Checkpoint::layer_reading() const noexcept { return state_->layer_reading; }
const std::string& Checkpoint::config_json() const noexcept { return state_->config_json; }

std::optional<std::string> Checkpoint::read_side_file(std::string_view file_name) const {
  if (state_->kind != ContainerKind::huggingface) return std::nullopt;
  if (!is_plain_file_name(file_name))
    throw Error(ErrorKind::invalid_argument,
                fmt::format("not the name of a file in a directory: {}", quote_name(file_name)));
  return nibble::read_side_file(state_->path, file_name);
}

std::optional<std::string> read_side_file(const std::filesystem::path& directory, std::string_view file_name) {
  auto text = read_small_file(directory / file_name, kMaxSideFile);
  if (text)
    if (const auto foreign = describe_foreign_text(*text))
      throw Error(ErrorKind::corrupt, fmt::format("{}: this is {}", (directory / file_name).string(), *foreign));
  return text;
}

const GgufMetadata& Checkpoint::gguf() const noexcept { return state_->metadata; }

namespace {

void require_unchanged(const MappedFile& file) {
  if (file.has_changed())
    throw Error(
        ErrorKind::io,
        fmt::format(
            "{}: changed while it was read; nothing can be said of such a model: run again when no one writes to it",
            file.path().string()));
}

// Planes, without a list made of them, or the pieces of another layout.
template <class Visit>
void each_piece(const StoredTensor& tensor, Visit visit) {
  if (const QuantizedView* const planes = tensor.values.planes()) {
    for (const auto plane : planes->planes) visit(plane);
    return;
  }
  for (const auto piece : tensor.values.stored_bytes()) visit(piece);
}

}  // namespace

void Checkpoint::require_unchanged() const {
  for (const auto& file : state_->files) nibble::require_unchanged(*file);
}

void Checkpoint::require_unchanged(const StoredTensor& tensor) const {
  each_piece(tensor, [&](std::span<const std::byte> piece) {
    if (const MappedFile* const file = state_->file_of(piece)) nibble::require_unchanged(*file);
  });
}

void Checkpoint::release(std::span<const std::byte> range) const noexcept {
  if (const MappedFile* file = state_->file_of(range)) file->release(range);
}

void Checkpoint::will_need(std::span<const std::byte> range) const noexcept {
  if (const MappedFile* file = state_->file_of(range)) file->will_need(range);
}

void Checkpoint::release(const StoredTensor& tensor) const noexcept {
  release(tensor.data);
  each_piece(tensor, [this](std::span<const std::byte> piece) { release(piece); });
}

void Checkpoint::will_need(const StoredTensor& tensor) const noexcept {
  will_need(tensor.data);
  each_piece(tensor, [this](std::span<const std::byte> piece) { will_need(piece); });
}

}  // namespace nibble
