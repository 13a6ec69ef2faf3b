// SPDX-License-Identifier: Apache-2.0
//
// A checkpoint and what it means: opened once, and handed to everyone who works on the model. What it means is read
// when it is first asked for, so that a checkpoint of an unknown family can still be looked at, and once. Safe to use
// from many threads.
//
//   const SourceModel model = SourceModel::open("models/tale");
//   Decoder decoder(model, {}, machine);
//   std::vector<std::int32_t> ids = model.tokenizer().encode(text);
#pragma once

#include <filesystem>
#include <memory>

#include "io/checkpoint.h"
#include "model/arch/architecture.h"
#include "model/config.h"
#include "model/tokenizer/tokenizer.h"

namespace nibble {

class SourceModel : public Checkpoint {
 public:
  // As Checkpoint::open.
  static SourceModel open(const std::filesystem::path& path);
  explicit SourceModel(Checkpoint&& checkpoint);
  SourceModel(SourceModel&&) noexcept;
  SourceModel& operator=(SourceModel&&) noexcept;
  ~SourceModel();

  // Errors as read_model_config's, each time.
  const ModelConfig& config() const;
  // Errors as config's; Error(corrupt): a layer holds weights that the network does not read.
  const ModelTensors& parts() const;
  // How the container names the model's tensors.
  Spelling spelling() const { return spelling_of(*this); }
  // What holds one of the model's tensors; of rows of several parts its own; of a stack of experts' the one expert's,
  // which are gathered as they are read where the stack holds columns by rows, or rows of several kinds in turn.
  // Error(not_found) names file and tensor; Error(corrupt): another shape than the network asks for, with the keys that
  // say so; Error(unsupported): elements that are no weights, a stack of columns that are quantized.
  const StoredTensor& stored(const ModelTensor& part) const;
  // What stored() gives from now on: other numbers in the format and the shape that the part has. What was given before
  // stays as it was. Not while others read the model.
  void replace(const ModelTensor& part, QuantizedTensor values);
  // That every part is there, and as the network asks for it. Errors as stored's.
  void require_parts() const;
  // The tensor of the file that it lies in: stored(), or the whole stack, or the first of two. Error(not_found).
  const StoredTensor& holder(const ModelTensor& part) const;

  // True when a tokenizer lies in or beside the weights, of whatever kind.
  bool has_tokenizer() const { return Tokenizer::available(*this); }
  // Errors as Tokenizer::from_checkpoint's, each time.
  const Tokenizer& tokenizer() const;

 private:
  // What a file holds of it in two halves; null: it does not.
  const StoredTensor* stored_halves(const ModelTensor& part) const;
  // Of what holds the rows of several parts, those of one.
  const StoredTensor& stored_run(const ModelTensor& part, const StoredTensor& whole) const;
  // Whether the stacks of a directory's layer hold [experts, columns, rows] in place of [experts, rows, columns]. Their
  // shapes tell together: a stack may be square, all of them cannot. Where they do not, they are as they are named.
  bool has_turned_stacks(std::int64_t layer) const;

  struct Meaning;
  std::unique_ptr<Meaning> meaning_;
};

}  // namespace nibble
