// SPDX-License-Identifier: Apache-2.0
#include "train/state_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "base/scratch_directory.h"
#include "io/safetensors/safetensors_layout.h"
#include "nibble/error.h"

namespace nibble {
namespace {

class StateFile : public testing::Test {
 protected:
  ScratchDirectory scratch_;
  std::filesystem::path path_ = scratch_ / "state.safetensors";
  std::vector<float> weights_ = {1.5f, -2.0f, 0x1p-140f, 3e38f}, momentum_ = {0.25f, 0.5f};

  TrainingState state() {
    return {.settings = {{"rate", "0.003"}, {"batch", "8"}},
            .counts = {{"step", 1234567890123456789u}, {"pass", 2}},
            .figures = {{"least_loss", 0.1}},
            .tensors = {{"model.w", {2, 2}, weights_}, {"momentum.model.w", {2}, momentum_}}};
  }
  std::string refusal(TrainingState& wanted, ErrorKind kind) {
    try {
      read_training_state(path_, wanted);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      std::string what = error.what();
      if (what.starts_with(path_.string() + ": ")) what.erase(0, path_.string().size() + 2);
      return what;
    }
    return "accepted";
  }
};

TEST_F(StateFile, IsReadAsItWasWritten) {
  TrainingState written = state();
  write_training_state(written, path_);
  const std::vector<float> weights = weights_, momentum = momentum_;
  weights_.assign(4, 0);
  momentum_.assign(2, 0);
  TrainingState read = state();
  read.counts = {{"step", 0}, {"pass", 0}};
  read.figures = {{"least_loss", 0}};
  read_training_state(path_, read);
  EXPECT_EQ(read.counts, written.counts);
  EXPECT_EQ(read.figures, written.figures);
  EXPECT_EQ(weights_, weights);
  EXPECT_EQ(momentum_, momentum);
}

TEST_F(StateFile, OtherSettingsAreNamed) {
  write_training_state(state(), path_);
  TrainingState other = state();
  other.settings = {{"rate", "0.004"}, {"length", "512"}};
  weights_.assign(4, 7);
  EXPECT_EQ(refusal(other, ErrorKind::invalid_argument),
            "this run was begun with other settings; give the same, or begin anew, elsewhere or "
            "without this file. length: nothing there, 512 "
            "here; rate: 0.003 there, 0.004 here; batch: 8 there, nothing here");
  EXPECT_EQ(weights_, std::vector<float>(4, 7));
}

TEST_F(StateFile, OtherTensorsAndCountsAreNamed) {
  write_training_state(state(), path_);
  TrainingState other = state();
  other.tensors[0].shape = {4};
  EXPECT_EQ(refusal(other, ErrorKind::invalid_argument),
            "tensor 'model.w' is of another model: F32 [2, 2], here F32 [4]");
  other = state();
  other.tensors[1].name = "mean.model.w";
  EXPECT_EQ(refusal(other, ErrorKind::corrupt), "there is no tensor 'mean.model.w'");
  other = state();
  other.counts["row"] = 0;
  EXPECT_EQ(refusal(other, ErrorKind::corrupt), "the state lacks 'row'");
}

TEST_F(StateFile, NumbersThatAreNoneAreRefused) {
  momentum_[1] = std::numeric_limits<float>::quiet_NaN();
  write_training_state(state(), path_);
  TrainingState wanted = state();
  EXPECT_EQ(refusal(wanted, ErrorKind::corrupt),
            "tensor 'momentum.model.w' holds a number that is not finite, element 1");
}

TEST_F(StateFile, FilesOfAnotherKindAreRefused) {
  const auto write = [&](const std::map<std::string, std::string>& metadata) {
    std::ofstream(path_, std::ios::binary) << lay_out_safetensors({}, "x", metadata).header;
  };
  TrainingState wanted = state();
  write({{"format", "pt"}});
  EXPECT_EQ(refusal(wanted, ErrorKind::unsupported), "not the state of a training run");
  write({{"format", "nibble.training"}, {"version", "2"}});
  EXPECT_EQ(refusal(wanted, ErrorKind::unsupported), "the state of a run by another version; begin anew: version 2");
  for (const char* settings : {"", "[]", "{\"rate\": 1}", "{"}) {
    write({{"format", "nibble.training"}, {"version", "1"}, {"settings", settings}});
    EXPECT_EQ(refusal(wanted, ErrorKind::corrupt), "'settings' of its metadata is not what a run writes");
  }
  for (const char* counts : {"{\"step\": -1}", "{\"step\": 0.5}", "{\"step\": \"1\"}"}) {
    write({{"format", "nibble.training"},
           {"version", "1"},
           {"settings", R"({"rate": "0.003", "batch": "8"})"},
           {"counts", counts},
           {"figures", "{}"}});
    EXPECT_EQ(refusal(wanted, ErrorKind::corrupt), "'counts' of its metadata is not what a run writes");
  }
}

// Whatever happens to the bytes, the file is read whole or refused, and nothing is read then.
TEST_F(StateFile, DamageIsRefused) {
  write_training_state(state(), path_);
  std::string bytes;
  {
    std::ifstream file(path_, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  constexpr std::size_t kNumbers = 6 * sizeof(float);  // which end the file
  const std::vector<float> before(4, 7);
  const auto read = [&](const std::string& damaged) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << damaged;
    weights_ = before;
    TrainingState wanted = state();
    try {
      read_training_state(path_, wanted);
      return true;
    } catch (const Error&) {
      EXPECT_EQ(weights_, before);
      return false;
    }
  };
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(read(bytes.substr(0, size))) << size;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
    EXPECT_FALSE(read(damaged) && i >= bytes.size() - kNumbers) << i;
  }
  EXPECT_TRUE(read(bytes));
}

}  // namespace
}  // namespace nibble
