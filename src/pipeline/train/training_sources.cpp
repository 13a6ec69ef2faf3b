// SPDX-License-Identifier: Apache-2.0
#include "pipeline/train/training_sources.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <string_view>

#include "io/checkpoint_parts.h"
#include "model/config_text.h"
#include "nibble/error.h"
#include "nibble/model.h"
#include "pipeline/export/directory_container.h"
#include "pipeline/quantize/source_survey.h"
#include "pipeline/train/initial_weights.h"
#include "pipeline/train/train_decoder.h"

namespace nibble {
namespace {

// The slowest decay that a file which holds its logarithm still tells from none.
constexpr float kLeastDecay = 1e-6F;

std::string read_config(const std::filesystem::path& path) {
  auto text = read_side_file(path.parent_path(), path.filename().string());
  if (!text)
    throw Error(ErrorKind::not_found,
                fmt::format("{}: the configuration is not there or cannot be read", path.string()));
  return *std::move(text);
}

std::string hash_of(std::string_view text) { return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size())); }

std::filesystem::path tokenizer_of(const std::filesystem::path& named, const std::filesystem::path& config) {
  std::filesystem::path path = named.empty() ? config.parent_path() : named;
  if (path.empty()) path = ".";
  if (!std::filesystem::exists(path / "tokenizer.json") && !std::filesystem::exists(path / "tokenizer.model"))
    throw Error(
        ErrorKind::not_found,
        fmt::format("{}: neither tokenizer.json nor tokenizer.model is here; name the directory of a tokenizer, "
                    "or let `nibble train-tokenizer` make one",
                    path.string()),
        "tokenizer");
  return path;
}

}  // namespace

TrainingSources::TrainingSources(const TrainRequest& request) {
  std::string name = request.from.string();
  if (!request.from.empty()) {
    model_ = SourceModel::open(request.from);
    model_->require_parts();
  } else {
    const std::filesystem::path path =
        std::filesystem::is_directory(request.config) ? request.config / "config.json" : request.config;
    name = path.string();
    config_text_ = read_config(path);
    tokenizer_path_ = tokenizer_of(request.tokenizer, path);
    config_ = parse_model_config(config_text_, name);
    tensors_.emplace(*config_);
    tokenizer_ = Tokenizer::from_directory(tokenizer_path_);
  }
  if (tokenizer().vocab_size() > config().vocab_size)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{}: vocab_size is less than the tokens of the tokenizer; raise it: {} and {}", name,
                            config().vocab_size, tokenizer().vocab_size()));
  const std::uint64_t length = request.settings.batch.length;
  if (length > config().context)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a row of a batch is longer than the model's context: {} and {}", length, config().context),
                "length");
  if (!request.teacher.empty()) {
    teacher_ = SourceModel::open(request.teacher);
    teacher_->require_parts();
    require_teacher(request);
  }
  training_ = join_documents(request.text, tokenizer(), request.documents);
  held_out_ = request.validation.empty() ? hold_out(training_, request.held_out)
                                         : join_documents(request.validation, tokenizer(), request.documents);
}

// A teacher speaks of the same tokens: as many, and the same ones for the same text.
void TrainingSources::require_teacher(const TrainRequest& request) const {
  const std::string path = request.teacher.string();
  const ModelConfig& theirs = teacher_->config();
  if (theirs.vocab_size != config().vocab_size)
    throw Error(ErrorKind::unusable_input,
                fmt::format("{}: the teacher has another vocabulary than the model that is trained; take one that has "
                            "the same: {} and {} tokens",
                            path, theirs.vocab_size, config().vocab_size),
                "teacher");
  if (request.settings.batch.length > theirs.context)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{}: a row of a batch is longer than the teacher's context: {} and {}", path,
                            request.settings.batch.length, theirs.context),
                "length");
  if (!teacher_->has_tokenizer()) return;
  constexpr std::size_t kTried = 65536;  // bytes
  const std::string_view text = std::string_view(request.text).substr(0, kTried);
  if (teacher_->tokenizer().encode(text) != tokenizer().encode(text))
    throw Error(ErrorKind::unusable_input,
                fmt::format("{}: the teacher's tokenizer makes other tokens of this text; take a teacher with the "
                            "tokenizer of the model that is trained",
                            path),
                "teacher");
}

NetworkWeights TrainingSources::first_weights(std::uint64_t seed, ThreadPool& pool) const {
  NetworkWeights weights =
      model_ ? NetworkWeights(*model_, pool) : NetworkWeights(initial_weights(*tensors_, seed, pool));
  for (std::size_t i = 0; i < tensors().all().size(); ++i)
    if (tensors().all()[i].hf_numbers.is_log_of_minus) weights.all()[i].largest = -kLeastDecay;
  return weights;
}

std::vector<SideFile> TrainingSources::tokenizer_files() const {
  std::vector<SideFile> files;
  if (model_ && spelling() == Spelling::gguf) {
    Tokenizer::HfFiles made = tokenizer().to_huggingface();
    files.push_back({"tokenizer.json", std::move(made.tokenizer_json)});
    files.push_back({"tokenizer_config.json", std::move(made.tokenizer_config_json)});
    return files;
  }
  for (const std::string& name : Tokenizer::file_names()) {
    if (name == "config.json") continue;
    auto text = model_ ? model_->read_side_file(name) : read_side_file(tokenizer_path_, name);
    if (text) files.push_back({name, *std::move(text)});
  }
  return files;
}

std::vector<SideFile> TrainingSources::kept_files() const {
  std::vector<SideFile> files;
  if (model_ && spelling() == Spelling::gguf) return files;
  for (const char* const name : kept_side_files()) {
    const bool is_kept = model_.has_value() || name == std::string_view("generation_config.json");
    auto text = !is_kept ? std::nullopt : model_ ? model_->read_side_file(name) : read_side_file(tokenizer_path_, name);
    if (text) files.push_back({name, *std::move(text)});
  }
  return files;
}

std::map<std::string, std::string> TrainingSources::identity(std::uint64_t seed, ThreadPool& pool) const {
  const auto hash_ids = [](const TokenStream& stream) {
    const std::string begin = stream.begin ? std::to_string(*stream.begin) : "none";
    return hash_of({reinterpret_cast<const char*>(stream.ids.data()), stream.ids.size() * sizeof(std::int32_t)}) +
           ", begun by " + begin;
  };
  const auto hash_model = [&](const SourceModel& model) { return survey_source(model, {}, pool).hash; };
  std::string tokenizer;
  for (const SideFile& file : tokenizer_files()) tokenizer += file.name + '\0' + file.text + '\0';
  std::map<std::string, std::string> identity = {{"tokenizer", hash_of(tokenizer)},
                                                 {"training tokens", hash_ids(training_)},
                                                 {"held-out tokens", hash_ids(held_out_)},
                                                 {"version", std::string(version())}};
  if (model_) {
    identity["model gone on from"] = hash_model(*model_);
  } else {
    identity["config.json"] = hash_of(config_text_);
    identity["weights' seed"] = std::to_string(seed);
  }
  if (teacher_) identity["teacher"] = hash_model(*teacher_);
  return identity;
}

}  // namespace nibble
