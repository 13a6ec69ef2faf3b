// SPDX-License-Identifier: Apache-2.0
//
// Directories with an ONNX graph: one for ONNX Runtime GenAI, one in standard operators.
#include <fmt/format.h>

#include <algorithm>

#include "format/planar/spec.h"
#include "io/packing/dequantize_linear.h"
#include "io/packing/matmul_nbits.h"
#include "nibble/error.h"
#include "pipeline/export/directory_container.h"
#include "pipeline/export/onnx/decoder_drawing.h"
#include "pipeline/export/onnx/genai_config.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {
namespace {

using MakeDrawing = std::unique_ptr<DecoderDrawing> (*)(const DrawingSource& source);

bool is_coded(const PlannedTensor& tensor) { return tensor.format->info().kind != FormatKind::raw; }

OnnxPackage draw(MakeDrawing make, const QuantizePlan& plan, const std::vector<PlannedTensor>& planned,
                 bool has_tables) {
  const ModelTensors parts(plan.config);
  return make({parts, plan.config, planned, plan.onnx, has_tables})->draw();
}

class OnnxContainer : public DirectoryContainer {
 public:
  explicit OnnxContainer(MakeDrawing make) : make_(make) {}

  std::vector<std::string> budget_formats() const override { return {"int4:g128:f32", "int4:g32:f32", "int8:g32:f32"}; }
  std::uint64_t margin() const noexcept override { return 2048; }  // nodes of the graph
  bool takes_shards() const noexcept override { return false; }
  // Runtimes decide it.
  bool takes_inputs(const ActivationFormat&) const noexcept override { return false; }

  // What of the graph cannot be said shows by drawing it.
  std::string conflict(const QuantizePlan& plan, const std::optional<ActivationFormat>&) const override {
    if (!has_onnx()) return std::string(kOnnxMissing);
    if (!plan.is_understood()) return "a network that is not understood cannot be drawn as an ONNX graph";
    if (std::string why = options_conflict(plan); !why.empty()) return why;
    draw(make_, plan, output_tensors(plan).planned, false);
    return {};
  }

  std::vector<std::string> notes(const SourceModel& source, const QuantizePlan& plan,
                                 const std::optional<ActivationFormat>&) const override {
    std::vector<std::string> notes;
    if (!source.has_tokenizer()) notes.emplace_back(kNoTokenizer);
    if (exported_context(plan.config) != plan.config.context)
      notes.push_back(
          fmt::format("longer sequences turn by other frequencies than a graph can hold beside the first: the package "
                      "is for {} tokens, not {}",
                      exported_context(plan.config), plan.config.context));
    return notes;
  }

  std::unique_ptr<CheckpointWriter> make_writer(const ContainerContents& contents,
                                                const std::filesystem::path& output) const override {
    const std::string config = directory_config(contents);
    std::vector<SideFile> beside = files(contents, config);
    add_files(contents, config, beside);
    return make_onnx_writer(output, draw(make_, contents.plan, contents.tensors, true), beside, contents.tensors);
  }

 protected:
  virtual std::string options_conflict(const QuantizePlan& plan) const = 0;
  virtual void add_files(const ContainerContents&, const std::string&, std::vector<SideFile>&) const {}

 private:
  MakeDrawing make_;
};

class GenaiContainer final : public OnnxContainer {
 public:
  GenaiContainer() : OnnxContainer(make_genai_drawing) {}
  std::string_view name() const noexcept override { return "onnx-genai"; }
  std::string_view description() const noexcept override {
    return "a package for ONNX Runtime GenAI: model.onnx, matrices in MatMulNBits";
  }
  std::string use(const ContainerContents&) const override {
    return "python3 -c \"import onnxruntime_genai as og; m = og.Model('.'); t = og.Tokenizer(m); p = "
           "og.GeneratorParams(m); "
           "p.set_search_options(max_length=64); g = og.Generator(m, p); g.append_tokens(t.encode('Once upon a "
           "time')); "
           "[g.generate_next_token() for _ in iter(g.is_done, True)]; print(t.decode(g.get_sequence(0)))\"";
  }
  std::string refusal(const PlannedTensor& tensor, TensorRole role) const override {
    if (!is_coded(tensor)) return {};
    if (role == TensorRole::router) return "MatMulNBits takes no routers; leave them in floating point";
    return nbits_refusal(*tensor.format, ScaleType::f32);
  }

 protected:
  std::string options_conflict(const QuantizePlan& plan) const override {
    if (plan.onnx.is_for_tensorrt) return "TensorRT has no MatMulNBits; write the container onnx";
    if (!plan.onnx.is_half) return {};
    if (plan.config.rope.query_growth != 0)
      return "queries that grow with their positions are lost in f16, which has none beyond 65504; leave --onnx-type "
             "out";
    for (const TensorPlan& tensor : plan.tensors)
      if (is_coded(tensor.target))
        if (const std::string why = nbits_refusal(*tensor.target.format, ScaleType::f16); !why.empty())
          return fmt::format("{}: {} for '{}'", why, tensor.target.format->name(), tensor.target.name);
    return {};
  }
  void add_files(const ContainerContents& contents, const std::string& config,
                 std::vector<SideFile>& files) const override {
    files.push_back({kGenaiConfigFile, genai_config(contents.source, config)});
  }
};

class StandardContainer final : public OnnxContainer {
 public:
  StandardContainer() : OnnxContainer(make_standard_drawing) {}
  std::string_view name() const noexcept override { return "onnx"; }
  std::string_view description() const noexcept override {
    return "a graph in ONNX's standard operators, matrices in DequantizeLinear";
  }
  std::string use(const ContainerContents&) const override {
    return "python3 -c \"import onnxruntime; print(onnxruntime.InferenceSession('model.onnx').get_inputs())\"\n"
           "trtexec --onnx=model.onnx   # where it was made with --for tensorrt";
  }
  std::string refusal(const PlannedTensor& tensor, TensorRole role) const override {
    if (!is_coded(tensor)) return {};
    if (role == TensorRole::embedding) return "no standard operator looks up rows of codes; f16 would do";
    return dequantize_refusal(*tensor.format);
  }

 protected:
  std::string options_conflict(const QuantizePlan& plan) const override {
    if (plan.onnx.is_half) return "standard operators are written in f32; leave f16 to the container onnx-genai";
    if (!plan.onnx.is_for_tensorrt) return {};
    for (const TensorPlan& tensor : plan.tensors) {
      if (!is_coded(tensor.target)) continue;
      auto spec = parse_planar(tensor.target.format->name());
      if (spec && spec->grain == PlanarGrain::group && tensor.cols % spec->group != 0)
        return fmt::format("TensorRT takes groups that divide the inputs alone: {} for '{}', which has {}",
                           tensor.target.format->name(), tensor.target.name, tensor.cols);
      if (!spec || !spec->is_asymmetric) continue;
      spec->is_asymmetric = false;
      return fmt::format("TensorRT takes zero points of 0 alone; {} is the nearest: {} for '{}'", planar_name(*spec),
                         tensor.target.format->name(), tensor.target.name);
    }
    return {};
  }
};

}  // namespace

const Container& onnx_genai_container() {
  static const GenaiContainer container;
  return container;
}

const Container& onnx_container() {
  static const StandardContainer container;
  return container;
}

}  // namespace nibble
