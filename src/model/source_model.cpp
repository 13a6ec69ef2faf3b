// SPDX-License-Identifier: Apache-2.0
#include "model/source_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "model/expert_rows.h"
#include "model/latent_rows.h"
#include "model/sound_tensors.h"
#include "nibble/error.h"
#include "tensor/shape.h"

namespace nibble {

struct SourceModel::Meaning {
  std::mutex mutex;
  std::optional<ModelConfig> config;
  std::optional<ModelTensors> parts;
  std::optional<Tokenizer> tokenizer;
  std::unordered_map<std::string, StoredTensor> pieces;  // of stacks and joint rows, by name
  std::unordered_map<std::int64_t, bool> turned_layers;  // whose stacks hold columns by rows
  struct Replaced {
    QuantizedTensor values;
    StoredTensor stored;
  };
  std::unordered_map<std::string, std::unique_ptr<const Replaced>> replaced;  // by the part's name
};

namespace {

// Where a stack of floating-point numbers holds one expert's matrix, or vector. kinds: whose rows, or numbers, the
// stack has for each expert.
ElementPlaces places_in_stack(const ModelTensor& part, std::uint64_t kinds, bool is_turned) {
  const std::uint64_t rows = part.shape.size() < 2 ? 1 : part.shape[0], cols = part.shape.back();
  const bool is_vector = part.shape.size() < 2;
  const std::uint64_t first = part.expert * kinds * rows * cols, step = part.alternates ? kinds : 1;
  const std::uint64_t before = part.alternates ? part.place : part.place * (is_vector ? cols : rows);
  if (is_turned) return {first + before, step, kinds * rows};
  if (is_vector) return {first + before, 0, step};
  return {first + before * cols, step * cols, 1};
}

// Of a piece of a larger tensor, whose values are its own already: its size, and its bytes where they lie together.
void finish_piece(StoredTensor& piece, std::uint64_t rows, std::uint64_t cols) {
  piece.bytes = 0;
  for (const PlaneSpec& plane : piece.values.format()->planes(rows, cols)) piece.bytes += plane.bytes;
  const QuantizedView* const planes = piece.values.planes();
  piece.data = planes != nullptr && planes->planes.size() == 1 ? planes->planes.front() : std::span<const std::byte>{};
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
  const std::string& other_name = part.other_name(spelling());
  if (stored_halves(part) != nullptr) return tensor(part.gguf_halves.keys);
  if (other_name.empty() || find(part.name(spelling())) != nullptr) return tensor(part.name(spelling()));
  if (const StoredTensor* const other = find(other_name)) return *other;
  if (spelling() == Spelling::huggingface && !part.hf_own_stack.empty())
    if (const StoredTensor* const own = find(part.hf_own_stack)) return *own;
  const std::string& first = parts().all().front().other_name(spelling());  // tells which names the others have
  return tensor(!first.empty() && find(first) != nullptr ? other_name : part.name(spelling()));
}

const StoredTensor* SourceModel::stored_halves(const ModelTensor& part) const {
  const auto& [keys_name, values_name, shape] = part.gguf_halves;
  if (spelling() != Spelling::gguf || keys_name.empty() || find(part.gguf_name) != nullptr) return nullptr;
  const StoredTensor* const keys = find(keys_name);
  if (keys == nullptr) return nullptr;
  const StoredTensor& values = tensor(values_name);
  const std::uint64_t latent = part.shape.back();
  require_half(*this, *keys, {shape.heads, latent, shape.key_dim});
  require_half(*this, values, {shape.heads, shape.value_dim, latent});
  const std::scoped_lock lock(meaning_->mutex);
  if (const auto known = meaning_->pieces.find(part.gguf_name); known != meaning_->pieces.end()) return &known->second;
  StoredTensor one = *keys;
  one.name = part.gguf_name;
  one.shape = part.shape;
  one.values = join_latent_halves(keys->values, values.values, shape);
  finish_piece(one, part.shape.front(), latent);
  one.bytes = keys->bytes + values.bytes;
  return &meaning_->pieces.emplace(part.gguf_name, std::move(one)).first->second;
}

const StoredTensor& SourceModel::stored_run(const ModelTensor& part, const StoredTensor& whole) const {
  const ModelTensor::Run& run = part.run(spelling());
  require_shape(*this, config(), part, whole, {.is_run = true});
  if (run.whole == part.shape.front()) return whole;
  const std::string name = fmt::format("{}[{}]", whole.name, part.part);
  const std::scoped_lock lock(meaning_->mutex);
  if (const auto known = meaning_->pieces.find(name); known != meaning_->pieces.end()) return known->second;
  StoredTensor one = whole;
  one.name = name;
  one.shape = part.shape;
  const bool is_vector = part.shape.size() < 2;
  const std::uint64_t rows = is_vector ? 1 : part.shape.front(), cols = part.shape.back();
  if (is_vector) {
    if (whole.values.planes() == nullptr || whole.values.format()->info().kind != FormatKind::raw)
      throw Error(ErrorKind::unsupported, fmt::format("{}: tensor '{}' must hold floating-point numbers: {}",
                                                      whole.file, whole.name, whole.values.format()->name()));
    one.values = gather_elements(*whole.values.planes(), 1, cols, {run.begin, 0, 1});
  } else {
    one.values = whole.values.slice(run.begin, rows);
  }
  finish_piece(one, rows, cols);
  if (one.values.planes() != nullptr) one.offset += run.begin * (one.bytes / part.shape.front());
  return meaning_->pieces.emplace(name, std::move(one)).first->second;
}

bool SourceModel::has_turned_stacks(std::int64_t layer) const {
  const ModelTensors& known = parts();
  const std::scoped_lock lock(meaning_->mutex);
  const auto [told, is_new] = meaning_->turned_layers.try_emplace(layer, false);
  if (!is_new) return told->second;
  bool any_as_named = false;
  for (const ModelTensor& tensor : known.all()) {
    if (tensor.layer != layer || tensor.experts == 0 || tensor.expert != 0 || tensor.shape.size() < 2) continue;
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

void SourceModel::replace(const ModelTensor& part, QuantizedTensor values) {
  auto one = std::make_unique<Meaning::Replaced>(Meaning::Replaced{std::move(values), stored(part)});
  if (one->values.format->name() != one->stored.values.format()->name() ||
      one->values.rows != one->stored.values.rows() || one->values.cols != one->stored.values.cols())
    throw Error(ErrorKind::internal, "a tensor is replaced by one of another form: " + one->stored.name);
  one->stored.values = one->values.view();
  one->stored.data = one->values.planes.size() == 1 ? std::span<const std::byte>(one->values.planes.front())
                                                    : std::span<const std::byte>{};
  meaning_->replaced[part.hf_name] = std::move(one);
}

const StoredTensor& SourceModel::stored(const ModelTensor& part) const {
  if (const auto found = meaning_->replaced.find(part.hf_name); found != meaning_->replaced.end())
    return found->second->stored;
  if (const StoredTensor* const joined = stored_halves(part)) return *joined;
  const StoredTensor& whole = holder(part);
  const bool is_own = whole.name == (part.experts == 0 ? part.name(spelling()) : part.hf_name);
  if (is_own) require_shape(*this, config(), part, whole, {});
  if (is_own) return whole;
  if (part.experts == 0) return stored_run(part, whole);
  // Several kinds may share a stack, each with its rows below the other's.
  const std::uint64_t kinds = whole.name == part.other_name(spelling()) ? part.kinds : 1,
                      place = kinds == 1 ? 0 : part.place;
  const bool is_vector = part.shape.size() < 2;
  const std::uint64_t rows = is_vector ? 1 : part.shape[0], cols = part.shape.back();
  const bool is_turned = !is_vector && spelling() == Spelling::huggingface && has_turned_stacks(part.layer);
  require_shape(*this, config(), part, whole, {.is_stack = true, .is_turned = is_turned, .kinds = kinds});
  const std::string name = fmt::format("{}[{}]", whole.name, part.expert * kinds + place);
  const std::scoped_lock lock(meaning_->mutex);
  if (const auto known = meaning_->pieces.find(name); known != meaning_->pieces.end()) return known->second;
  StoredTensor one = whole;
  one.name = name;
  one.shape = part.shape;
  const std::uint64_t first = part.expert * kinds * rows;
  const bool alternates = part.alternates && kinds > 1;
  const bool has_raw_planes = whole.values.planes() != nullptr && whole.values.format()->info().kind == FormatKind::raw;
  if (!is_turned && !alternates && (kinds == 1 || !is_vector))
    one.values = whole.values.slice(first + place * rows, rows);
  else if (has_raw_planes)
    one.values = gather_elements(*whole.values.planes(), rows, cols, places_in_stack(part, kinds, is_turned));
  else if (is_turned || is_vector)
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: tensor '{}' holds its experts' matrices columns by rows, which can be read of "
                            "floating-point numbers only: {}",
                            whole.file, whole.name, whole.values.format()->name()));
  else
    one.values = gather_rows(whole.values, rows, first + place, kinds);
  finish_piece(one, rows, cols);
  const QuantizedView* const planes = one.values.planes();
  one.offset += (part.expert * kinds + (planes != nullptr ? place : 0)) * one.bytes;
  return meaning_->pieces.emplace(name, std::move(one)).first->second;
}

void SourceModel::require_parts() const {
  for (const ModelTensor& part : parts().all()) stored(part);
}

const Tokenizer& SourceModel::tokenizer() const {
  if (!has_tokenizer()) config();  // a network that is not known matters more than a tokenizer that is not there
  const std::scoped_lock lock(meaning_->mutex);
  if (!meaning_->tokenizer) meaning_->tokenizer.emplace(Tokenizer::from_checkpoint(*this));
  return *meaning_->tokenizer;
}

}  // namespace nibble
