// SPDX-License-Identifier: Apache-2.0
//
// What is read of a model otherwise than it stands in its files: said by whoever reads one. Safe from any thread.
//
//   for (const std::string& line : source_notes(checkpoint)) note(line);
#pragma once

#include <string>
#include <vector>

#include "model/config.h"
#include "model/source_model.h"

namespace nibble {

// A sentence each, which names the model: those below. Where the configuration cannot be read, what the tensors alone
// tell.
std::vector<std::string> source_notes(const SourceModel& source);

// Without the model's name: tensors in F64, and of layers that another program has quantized what of their settings is
// not done and what takes more bits here.
std::vector<std::string> stored_form_notes(const Checkpoint& source);

// A head that lies in the files although the configuration says that the embedding is the head; null: there is none.
const StoredTensor* find_second_head(const SourceModel& source, const ModelConfig& config);
// Where its values are not the embedding's; empty where they are. Reads both.
std::string second_head_note(const SourceModel& source, const ModelConfig& config);

// Of a model whose tokenizer is there and cannot be used: why, and what that keeps from being done. Empty: it can, or
// there is none.
std::string tokenizer_note(const SourceModel& source);

// Of a model that reads pictures, of which the text part is read: what that leaves out. Empty: nothing.
std::string text_part_note(const SourceModel& source, const ModelConfig& config);
// True for a tensor that it speaks of, where it does.
bool is_beside_text(const SourceModel& source, const ModelConfig& config, const StoredTensor& tensor);

// Ends of a text that are no token, of each file that names one. An id of a row of the embedding without a text is
// none: rows are often padded.
std::vector<std::string> stray_end_notes(const SourceModel& source, const ModelConfig& config);

}  // namespace nibble
