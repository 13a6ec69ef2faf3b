// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/folded_rotation.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/output_file.h"
#include "base/progress_meter.h"
#include "calibrate/layer_weights.h"
#include "graph/rotations.h"
#include "io/json_text.h"
#include "kernels/linear/input_rotation.h"
#include "nibble/error.h"
#include "pipeline/export/container.h"
#include "pipeline/export/manifest.h"
#include "pipeline/quantize/tensor_output.h"
#include "quantize/transform/rotation.h"

namespace nibble {
namespace {

using Key = std::pair<std::int64_t, std::string>;

// Of the model, whose drawings all let the stream be rotated.
void add_stream(const Network& network, bool is_tied, std::map<Key, FoldedRotation::Change>& changes) {
  const auto add = [&](const Graph& graph, std::int64_t layer) {
    const StreamRotation found = stream_rotation(graph);
    const auto width = [&](ValueId value) { return whole_rotation(graph.width(value)); };
    const ChannelTransform stream = graph.inputs.empty() ? width(graph.outputs.front()) : width(graph.inputs.front());
    for (const std::string& part : found.tables) changes[{layer, part}].columns = stream;
    for (const std::string& part : found.writers) changes[{layer, part}].rows = stream;
    for (const StreamRotation::Reader& reader : found.readers) {
      changes[{layer, reader.norm}].becomes_ones = true;
      for (const std::string& part : reader.parts) {
        FoldedRotation::Change& change = changes[{layer, is_tied && part == "embedding" ? "head" : part}];
        change.columns = stream;
        change.gains = reader.norm;
      }
    }
  };
  add(network.begin().graph, Network::kBegin);
  for (std::int64_t layer = 0; layer < network.num_layers(); ++layer) add(network.layer(layer).graph, layer);
  add(network.end().graph, Network::kBegin);
}

std::string find_stream_obstacle(const Network& network) {
  const auto of = [](const Graph& graph, const std::string& where) {
    const std::string why = stream_rotation(graph).obstacle;
    return why.empty() ? why : fmt::format("{}: {}", where, why);
  };
  std::string why = of(network.begin().graph, "before the layers");
  for (std::int64_t layer = 0; why.empty() && layer < network.num_layers(); ++layer)
    why = of(network.layer(layer).graph, fmt::format("layer {}", layer));
  return why.empty() ? of(network.end().graph, "behind the layers") : why;
}

// The same signs in each head.
ChannelTransform repeated(const ChannelTransform& head, std::uint64_t heads) {
  ChannelTransform all{head.size, {}};
  for (std::uint64_t i = 0; i < heads; ++i) all.signs.insert(all.signs.end(), head.signs.begin(), head.signs.end());
  return all;
}

// T times each column of the matrix.
void rotate_each_column(const InputRotation& rotation, Matrix& matrix, ThreadPool& pool) {
  constexpr std::size_t kColumns = 16;
  const std::size_t rows = matrix.rows, cols = matrix.cols;
  pool.parallel_for((cols + kColumns - 1) / kColumns, 1, [&](std::size_t first, std::size_t last, std::size_t) {
    std::vector<float> columns(kColumns * rows);
    for (std::size_t begin = first * kColumns; begin < std::min(cols, last * kColumns); begin += kColumns) {
      const std::size_t count = std::min(kColumns, cols - begin);
      for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t c = 0; c < count; ++c) columns[c * rows + row] = matrix.values[row * cols + begin + c];
      for (std::size_t c = 0; c < count; ++c) rotation.apply(&columns[c * rows], &columns[c * rows]);
      for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t c = 0; c < count; ++c) matrix.values[row * cols + begin + c] = columns[c * rows + row];
    }
  });
}

void apply(const FoldedRotation::Change& change, std::span<const float> gains, Matrix& matrix, Machine& machine) {
  if (change.becomes_ones) std::ranges::fill(matrix.values, 1.0F);
  if (!change.columns.empty()) {
    const InputRotation rotation(change.columns, matrix.cols, machine.isa);
    machine.pool.parallel_for(matrix.rows, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t row = begin; row < end; ++row) {
        float* const values = &matrix.values[row * matrix.cols];
        for (std::size_t i = 0; i < gains.size(); ++i) values[i] *= gains[i];
        rotation.apply(values, values);
      }
    });
  }
  if (change.rows.empty()) return;
  const bool is_vector = matrix.rows == 1;
  const InputRotation rotation(change.rows, is_vector ? matrix.cols : matrix.rows, machine.isa);
  if (is_vector)
    rotation.apply(matrix.values.data(), matrix.values.data());
  else
    rotate_each_column(rotation, matrix, machine.pool);
}

// Everything in f32 but what is looked up, and its twin; a tied head as a tensor of its own, last.
QuantizePlan plan_rotated(const SourceModel& source, const FoldedRotation& rotation,
                          const std::filesystem::path& directory) {
  QuantizeModelOptions options;
  options.recipe = find_recipe("f32");
  options.output = directory;
  options.container = nibble_container().name();
  QuantizePlan plan = plan_quantization(source, options);
  if (plan.config.tied_embedding && rotation.rotates_inputs("head", Network::kBegin)) {
    plan.config.tied_embedding = false;
    const ModelTensors untied(plan.config);
    const ModelTensor& head = *untied.part("head", Network::kBegin);
    TensorPlan twin = plan.tensors.front();
    for (const TensorPlan& tensor : plan.tensors)
      if (tensor.role == TensorRole::embedding) twin = tensor;
    twin.role = TensorRole::head;
    twin.target.name = nibble_container().name_of(head);
    plan.tensors.push_back(std::move(twin));
  }
  for (TensorPlan& tensor : plan.tensors) {
    tensor.target.format = rotated_format(*tensor.source, tensor.role);
    tensor.target.parts = nullptr;
  }
  return plan;
}

void untie(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  nlohmann::ordered_json config = parse_json(text, path.string());
  config["tie_word_embeddings"] = false;
  std::ofstream(path, std::ios::binary) << dump_json(config, 2) << "\n";
}

}  // namespace

bool FoldedRotation::rotates_inputs(const std::string& part, std::int64_t layer) const {
  const auto found = changes.find({layer, part});
  return found != changes.end() && !found->second.columns.empty();
}

FormatPtr rotated_format(const StoredTensor& stored, TensorRole role) {
  const bool is_table = role == TensorRole::embedding || role == TensorRole::head;
  const std::string& name = stored.values.format()->name();
  return find_format(is_table && (name == "f16" || name == "bf16") ? "f16" : "f32");
}

FoldedRotation fold_rotations(const ModelTensors& tensors, bool is_tied) {
  FoldedRotation rotation;
  const Network& network = tensors.network();
  rotation.stream_obstacle = find_stream_obstacle(network);
  const std::uint64_t hidden = network.begin().graph.width(network.begin().graph.outputs.front());
  if (rotation.stream_obstacle.empty() && whole_rotation(hidden).empty())
    rotation.stream_obstacle =
        fmt::format("its {} channels have no power of two of {} or more in them", hidden, kSmallestRotation);
  if (rotation.stream_obstacle.empty()) add_stream(network, is_tied, rotation.changes);
  std::int64_t without = 0, odd = 0;
  std::uint64_t odd_channels = 0;
  for (std::int64_t layer = 0; layer < network.num_layers(); ++layer) {
    const std::vector<ValueRotation> found = value_rotations(network.layer(layer).graph);
    without += found.empty() ? 1 : 0;
    for (const ValueRotation& values : found) {
      const ChannelTransform head = whole_rotation(values.head_dim);
      if (head.empty()) {
        ++odd;
        odd_channels = values.head_dim;
        continue;
      }
      rotation.changes[{layer, values.values}].rows = repeated(head, values.kv_heads);
      if (!values.bias.empty()) rotation.changes[{layer, values.bias}].rows = repeated(head, values.kv_heads);
      rotation.changes[{layer, values.sums}].columns = repeated(head, values.heads);
    }
  }
  if (without > 0)
    rotation.values_note = fmt::format(
        "in {} of {} layers nothing reads what attention adds up but by way of other operations, or its values are "
        "read elsewhere, too: there they are not rotated",
        without, network.num_layers());
  if (odd > 0)
    rotation.values_note += fmt::format(
        "{}in {} of {} layers heads of {} channels have no power of two of {} or more in them: there what attention "
        "adds "
        "up is not rotated",
        rotation.values_note.empty() ? "" : "; ", odd, network.num_layers(), odd_channels, kSmallestRotation);
  return rotation;
}

void require_rotation_memory(const SourceModel& source, std::uint64_t available) {
  for (const ModelTensor& tensor : source.parts().all()) {
    const TensorSource& values = source.stored(tensor).values;
    const std::uint64_t needed = values.rows() * values.cols() * sizeof(float);
    if (needed > available)
      throw Error(
          ErrorKind::resource,
          fmt::format("{}: a matrix is rotated whole, in f32, and '{}' takes {:.2f} GiB so, more than the {:.2f} "
                      "that are free; take the transform hadamard, or leave it out",
                      source.path().string(), tensor.hf_name, static_cast<double>(needed) * 0x1p-30,
                      static_cast<double>(available) * 0x1p-30),
          "transform");
  }
}

void write_rotated_model(const SourceModel& source, const FoldedRotation& rotation,
                         const std::filesystem::path& directory, Machine& machine, const ProgressCallback& progress) {
  const QuantizePlan plan = plan_rotated(source, rotation, directory);
  const std::vector<ModelTensor>& all = source.parts().all();
  const std::string manifest = make_manifest(source, plan, {}, {});
  const auto writer =
      plan.container->make_writer({source, plan, {}, manifest, output_tensors(plan).planned}, directory);
  std::uint64_t work = 0;
  for (const TensorPlan& tensor : plan.tensors) work += tensor.rows * tensor.cols;
  ProgressMeter meter(progress, "rotate", work, "rotating was cancelled; nothing was written");
  const auto watch = meter.watch(machine.pool);
  meter.report(0);
  BandWriter bands(*writer, machine.pool.num_threads() > 1);
  TensorOutput output(plan, bands, meter, {}, machine);
  for (std::size_t i = 0; i < plan.tensors.size(); ++i) {
    const bool is_twin = i == all.size();
    const ModelTensor& part = is_twin ? *source.parts().part("embedding", Network::kBegin) : all[i];
    const auto found = rotation.changes.find({part.layer, is_twin ? "head" : part.part});
    Matrix matrix = decode_matrix(source, part, machine.pool);
    if (found != rotation.changes.end()) {
      Matrix gains;
      if (const std::string& norm = found->second.gains; !norm.empty())
        gains = decode_matrix(source, *source.parts().part(norm, part.layer), machine.pool);
      apply(found->second, gains.values, matrix, machine);
    }
    if (is_vector(part.role)) {
      output.write_vector(i, matrix.values);
    } else {
      const LinearTask task{.weights = output.weights_of(i, view_of(matrix)),
                            .format = plan.tensors[i].target.format,
                            .method = find_method("rtn")};
      RoundPlans plans;
      output.write(i, task, plans);
    }
  }
  bands.finish();
  writer->finish(false, {}, &machine.pool);
  if (source.config().tied_embedding && !plan.config.tied_embedding) untie(directory);
}

}  // namespace nibble
