// SPDX-License-Identifier: Apache-2.0
//
// A small model to serve, requests for it, and what came of them.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"
#include "serve/batch_loop.h"

namespace nibble::serve {

inline std::filesystem::path tale() { return std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/tale-4M"; }

// All that a request's events said.
struct Told {
  std::string text, error;
  std::vector<ToldToken> tokens, prompt;
  std::optional<FinishReason> finish;
  GenerationUsage usage;

  std::vector<std::int32_t> ids() const {
    std::vector<std::int32_t> ids;
    for (const ToldToken& token : tokens) ids.push_back(token.id);
    return ids;
  }
};

// Safe from any thread.
class Listener {
 public:
  EventCallback callback(const std::string& name) {
    return [this, name](const GenerationEvent& event) {
      const std::lock_guard lock(mutex_);
      Told& told = told_[name + std::to_string(event.index)];
      EXPECT_FALSE(told.finish) << "an event after the last one";
      told.text += event.text;
      told.tokens.insert(told.tokens.end(), event.tokens.begin(), event.tokens.end());
      told.prompt.insert(told.prompt.end(), event.prompt.begin(), event.prompt.end());
      told.error += event.error;
      told.finish = event.finish;
      told.usage = *event.usage;
    };
  }
  Told of(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return told_[name];
  }

 private:
  std::mutex mutex_;
  std::map<std::string, Told> told_;
};

struct ServedTale {
  Machine machine{chosen_isa(), 2};
  SourceModel model = SourceModel::open(tale());
  Decoder decoder{model, exact_options(), machine};
  const Tokenizer& tokenizer = model.tokenizer();

  std::vector<std::int32_t> encode(std::string_view text) const { return tokenizer.encode(text); }
  BatchLimits limits(std::size_t step_tokens = 0) const {
    return {.context = 256, .memory = 1 << 30, .step_tokens = step_tokens};
  }
  // By the engine's own loop.
  Generated alone(std::string_view text, const GenerateOptions& options) {
    return generate(decoder, tokenizer, encode(text), options, {});
  }
};

inline void run_to_end(BatchLoop& loop) {
  for (std::size_t steps = 0; loop.step(); ++steps) ASSERT_LT(steps, 100000u);
}

}  // namespace nibble::serve
