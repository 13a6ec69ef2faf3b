// SPDX-License-Identifier: Apache-2.0
//
// docs/container.md specifies it.
#include "pipeline/export/directory_container.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {
namespace {

class NibbleContainer final : public DirectoryContainer {
 public:
  std::string_view name() const noexcept override { return "nibble"; }
  std::string_view description() const noexcept override {
    return "a Hugging Face directory, codes, scales and zero points as tensors of their own";
  }
  bool holds(TensorPart) const noexcept override { return true; }
  // Nothing else keeps as much in as few bits as trellises; matrices that are looked up by rows cannot have them.
  std::vector<std::string> budget_formats() const override {
    return {"trellis1:l12", "trellis2:l12", "trellis3:l12", "trellis4:l12", "trellis5:l12", "trellis6:l12", "int8:row"};
  }
  std::vector<std::string> other_budget_formats() const override {
    return {"e8p2",      "int2:g64:half", "int3:g128:signed", "int3:g128:signed+outliers:0.5%",
            "int4:g128", "int4:g32",      "int5:g64",         "int6:g64"};
  }
  std::unique_ptr<CheckpointWriter> make_writer(const ContainerContents& contents,
                                                const std::filesystem::path& output) const override {
    std::string config = with_activations(contents.activations, directory_config(contents));
    return make_directory_writer(output, files(contents, std::move(config)), contents.tensors,
                                 shard_bytes_of(contents.plan), activation_tensors(contents.activations));
  }

 private:
  std::string use(const ContainerContents&) const override { return std::string(kNibbleUse); }
};

}  // namespace

const Container& nibble_container() {
  static const NibbleContainer container;
  return container;
}

}  // namespace nibble
