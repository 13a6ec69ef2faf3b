// SPDX-License-Identifier: Apache-2.0
#include "model/source_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model/sound_tensors.h"
#include "nibble/error.h"
#include "tensor/shape.h"

namespace nibble {

struct SourceModel::Meaning {
  std::mutex mutex;
  std::optional<ModelConfig> config;
  std::optional<ModelTensors> parts;
  std::optional<Tokenizer> tokenizer;
  std::unordered_map<std::string, StoredTensor> experts;  // of stacks, by name and number
  std::unordered_map<std::int64_t, bool> turned_layers;   // whose stacks hold columns by rows
  std::vector<std::vector<std::byte>> turned;             // matrices of such stacks, rows by columns
};

namespace {

struct Cut {
  std::uint64_t row = 0, num_rows = 0, column = 0, num_columns = 0;
};

// A part of a matrix, columns as rows: [num_columns, num_rows].
std::vector<std::byte> turn(const QuantizedView& view, const Cut& part) {
  const std::size_t size = dtype_size(view.specs.front().dtype), depth = static_cast<std::size_t>(part.num_rows);
  std::vector<std::byte> result(static_cast<std::size_t>(part.num_columns) * depth * size);
  constexpr std::size_t kTile = 64;  // rows of the result that are written side by side
  for (std::size_t begin = 0; begin < part.num_columns; begin += kTile) {
    const std::size_t end = std::min<std::size_t>(part.num_columns, begin + kTile);
    for (std::size_t c = 0; c < depth; ++c) {
      const std::byte* const from = view.row(part.row + c)[0] + part.column * size;
      for (std::size_t r = begin; r < end; ++r) std::memcpy(&result[(r * depth + c) * size], from + r * size, size);
    }
  }
  return result;
}

}  // namespace

SourceModel SourceModel::open(const std::filesystem::path& path) { return SourceModel(Checkpoint::open(path)); }

SourceModel::SourceModel(Checkpoint&& checkpoint)
    : Checkpoint(std::move(checkpoint)), meaning_(std::make_unique<Meaning>()) {}
SourceModel::SourceModel(SourceModel&&) noexcept = default;
SourceModel& SourceModel::operator=(SourceModel&&) noexcept = default;
SourceModel::~SourceModel() = default;

const ModelConfig& SourceModel::config() const {
  const std::scoped_lock lock(meaning_->mutex);
  if (!meaning_->config) meaning_->config = read_model_config(*this);
  return *meaning_->config;
}

const ModelTensors& SourceModel::parts() const {
  const ModelConfig& known = config();
  const std::scoped_lock lock(meaning_->mutex);
  if (!meaning_->parts) {
    ModelTensors parts(known);
    require_no_strangers(*this, known, parts);
    meaning_->parts.emplace(std::move(parts));
  }
  return *meaning_->parts;
}

const StoredTensor& SourceModel::holder(const ModelTensor& part) const {
  if (spelling() == Spelling::huggingface && !part.hf_stack.empty() && find(part.hf_name) == nullptr)
    if (const StoredTensor* const other = find(part.hf_stack)) return *other;
  return tensor(part.name(spelling()));
}

bool SourceModel::has_turned_stacks(std::int64_t layer) const {
  const ModelTensors& known = parts();
  const std::scoped_lock lock(meaning_->mutex);
  const auto [told, is_new] = meaning_->turned_layers.try_emplace(layer, false);
  if (!is_new) return told->second;
  bool any_as_named = false;
  for (const ModelTensor& tensor : known.all()) {
    if (tensor.layer != layer || tensor.experts == 0 || tensor.expert != 0) continue;
    const StoredTensor* const stack = find(tensor.hf_stack);
    if (stack == nullptr) continue;
    const std::uint64_t rows = tensor.kinds * tensor.shape[0], cols = tensor.shape[1];
    const bool is_as_named = is_same_shape(stack->shape, {tensor.experts, rows, cols}),
               is_turned = is_same_shape(stack->shape, {tensor.experts, cols, rows});
    any_as_named = any_as_named || (is_as_named && !is_turned);
    told->second = told->second || (is_turned && !is_as_named);
  }
  return told->second = told->second && !any_as_named;
}

const StoredTensor& SourceModel::stored(const ModelTensor& part) const {
  const StoredTensor& whole = holder(part);
  if (part.experts == 0 || whole.name == part.hf_name) return whole;
  // Of a directory's stacks several kinds may share one, each with its rows below the other's.
  const std::uint64_t kinds = spelling() == Spelling::gguf ? 1 : part.kinds, place = kinds == 1 ? 0 : part.place;
  const std::uint64_t rows = part.shape[0], cols = part.shape[1];
  const bool is_turned = spelling() == Spelling::huggingface && has_turned_stacks(part.layer);
  const std::string name = fmt::format("{}[{}]", whole.name, part.expert * kinds + place);
  const std::scoped_lock lock(meaning_->mutex);
  if (const auto known = meaning_->experts.find(name); known != meaning_->experts.end()) return known->second;
  const Shape expected = is_turned ? Shape{part.experts, cols, kinds * rows} : Shape{part.experts, kinds * rows, cols};
  if (!is_same_shape(whole.shape, expected) || !whole.values.format())
    throw Error(
        ErrorKind::corrupt,
        fmt::format("{}: tensor '{}' does not have the shape that the model's configuration asks for: {}, not {}",
                    whole.file, whole.name, shape_text(whole.shape), shape_text(expected)));
  StoredTensor one = whole;
  one.name = name;
  one.shape = part.shape;
  if (is_turned) {
    const FormatPtr& format = whole.values.format();
    const QuantizedView* const planes = whole.values.planes();
    if (planes == nullptr || format->info().kind != FormatKind::raw)
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: tensor '{}' holds its experts' matrices columns by rows, which can be read of "
                              "floating-point numbers only: {}",
                              whole.file, whole.name, format->name()));
    meaning_->turned.push_back(
        turn(*planes, {.row = part.expert * cols, .num_rows = cols, .column = place * rows, .num_columns = rows}));
    one.values = make_view(format, rows, cols, {meaning_->turned.back()}, name);
  } else {
    one.values = whole.values.slice((part.expert * kinds + place) * rows, rows);
  }
  const std::vector<std::span<const std::byte>> pieces = one.values.stored_bytes();
  one.bytes = 0;
  for (const auto piece : pieces) one.bytes += piece.size();
  one.data = pieces.size() == 1 ? pieces.front() : std::span<const std::byte>{};
  one.offset += (part.expert * kinds + (is_turned ? 0 : place)) * one.bytes;
  return meaning_->experts.emplace(name, std::move(one)).first->second;
}

const Tokenizer& SourceModel::tokenizer() const {
  if (!has_tokenizer()) config();  // a network that is not known matters more than a tokenizer that is not there
  const std::scoped_lock lock(meaning_->mutex);
  if (!meaning_->tokenizer) meaning_->tokenizer.emplace(Tokenizer::from_checkpoint(*this));
  return *meaning_->tokenizer;
}

}  // namespace nibble
