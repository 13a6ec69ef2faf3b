// SPDX-License-Identifier: Apache-2.0
//
// Quantized directories of tests/data with something changed, and what is said of them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error_kind.h"
#include "kernels/chosen_isa.h"
#include "model/stored_activations.h"
#include "model/tiny_models.h"
#include "pipeline/models.h"
#include "pipeline/tell/source_notes.h"

namespace nibble {

class EditedDirectory : public testing::Test {
 protected:
  // What opening the model of tests/data with something changed says, without the directory.
  std::string refusal(const std::string& name, const std::function<void(EditableModel&)>& edit) {
    EditableModel model = EditableModel::read(data_directory() / name);
    edit(model);
    model.write(scratch_ / "edited");
    const std::string message =
        error_of([&] { Decoder(SourceModel::open(scratch_ / "edited"), exact_options(), machine_); }).second;
    const std::string begin = (scratch_ / "edited").string() + ": ";
    EXPECT_TRUE(message.starts_with(begin)) << message;
    return message.substr(std::min(message.size(), begin.size()));
  }
  std::vector<std::string> notes_of(const EditableModel& model) {
    model.write(scratch_ / "edited");
    std::vector<std::string> notes = source_notes(SourceModel::open(scratch_ / "edited"));
    for (std::string& note : notes) note = note.substr((scratch_ / "edited").string().size() + 2);
    return notes;
  }
  std::optional<ActivationFormat> activations_of(const EditableModel& model) {
    model.write(scratch_ / "edited");
    return read_activations(SourceModel::open(scratch_ / "edited")).format;
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
};

}  // namespace nibble
