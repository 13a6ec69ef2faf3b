// SPDX-License-Identifier: Apache-2.0
//
// With tflite_writer.cpp what alone sees FlatBuffers and what is generated of tflite.fbs.
#include <fmt/format.h>

#include <cstring>

#include "io/message_text.h"
#include "io/tflite/tflite_model.h"
#include "nibble/error.h"
#include "tflite_generated.h"

namespace nibble {
namespace {

constexpr std::int64_t kMostExtent = std::int64_t{1} << 28, kMostStride = std::int64_t{1} << 20;

[[noreturn]] void corrupt(const std::string& where, std::string_view why) {
  throw Error(ErrorKind::corrupt, fmt::format("{}: {}", where, why));
}

std::string text_of(const flatbuffers::String* text) { return text == nullptr ? std::string() : text->str(); }

// Lists, counted: a file may point to the same bytes many times.
class Lists {
 public:
  explicit Lists(const std::string& source) : source_(source) {}

  template <class T>
  std::vector<T> copy(const flatbuffers::Vector<T>* list) {
    if (list == nullptr) return {};
    if (list->size() > kMost - count_) corrupt(source_, "names more places and scales than a small net has");
    count_ += list->size();
    // The verifier aligns a list's length (4 bytes), not its numbers.
    std::vector<T> numbers(list->size());
    if (!numbers.empty()) std::memcpy(numbers.data(), list->Data(), numbers.size() * sizeof(T));
    return numbers;
  }

 private:
  static constexpr std::size_t kMost = std::size_t{1} << 22;
  const std::string& source_;
  std::size_t count_ = 0;
};

TfliteTensor read_tensor(const tflite::Tensor& tensor, const tflite::Model& model, Lists& lists,
                         const std::string& source) {
  TfliteTensor out;
  out.name = text_of(tensor.name());
  out.type = static_cast<TfliteType>(tensor.type());
  const std::string where = fmt::format("{}: tensor {}", source, quote_name(out.name));
  for (const std::int32_t extent : lists.copy(tensor.shape())) {
    if (extent < 0 || extent > kMostExtent) corrupt(where, fmt::format("has an extent that no tensor has: {}", extent));
    out.shape.push_back(static_cast<std::uint64_t>(extent));
  }
  if (model.buffers() == nullptr || tensor.buffer() >= model.buffers()->size())
    corrupt(where, fmt::format("lies in a buffer that is not there: {}", tensor.buffer()));
  const tflite::Buffer* const buffer = model.buffers()->Get(tensor.buffer());
  if (buffer != nullptr && buffer->data() != nullptr && tensor.buffer() != 0)
    out.bytes = {reinterpret_cast<const std::byte*>(buffer->data()->data()), buffer->data()->size()};
  if (buffer != nullptr && buffer->size() > 1)
    throw Error(ErrorKind::unsupported, fmt::format("{}: its numbers lie behind the model's tables", where));
  if (const tflite::Quantization* const codes = tensor.quantization(); codes != nullptr) {
    out.scales = lists.copy(codes->scale());
    out.zeros = lists.copy(codes->zero_point());
    if (codes->dimension() < 0 ||
        (out.scales.size() > 1 && static_cast<std::size_t>(codes->dimension()) >= out.shape.size()))
      corrupt(where, fmt::format("has scales along a dimension that it has not: {}", codes->dimension()));
    out.dimension = static_cast<std::uint64_t>(codes->dimension());
    if (out.scales.size() != out.zeros.size() && !out.zeros.empty())
      corrupt(where, fmt::format("has {} scales and {} zeros", out.scales.size(), out.zeros.size()));
    if (out.scales.size() > 1 && out.shape[out.dimension] != out.scales.size())
      corrupt(where, fmt::format("has {} scales along a dimension of {}", out.scales.size(), out.shape[out.dimension]));
    out.zeros.resize(out.scales.size(), 0);
  }
  return out;
}

class OptionsReader {
 public:
  OptionsReader(TfliteOptions& options, const std::string& where) : options_(options), where_(where) {}

  void operator()(const tflite::Convolution& table) {
    window(table);
    options_.dilation_w = step(table.dilation_w());
    options_.dilation_h = step(table.dilation_h());
  }
  void operator()(const tflite::DepthwiseConvolution& table) {
    window(table);
    options_.dilation_w = step(table.dilation_w());
    options_.dilation_h = step(table.dilation_h());
  }
  void operator()(const tflite::Pooling& table) {
    window(table);
    options_.filter_w = step(table.filter_w());
    options_.filter_h = step(table.filter_h());
  }
  void operator()(const tflite::FullyConnected& table) {
    activation(table.activation());
    options_.keeps_dimensions = table.keeps_dimensions();
    options_.is_shuffled = table.weights_format() != 0;
  }
  void operator()(const tflite::Softmax& table) { options_.beta = table.beta(); }
  void operator()(const tflite::Concatenation& table) {
    options_.axis = table.axis();
    activation(table.activation());
  }
  void operator()(const tflite::Sum& table) { activation(table.activation()); }
  void operator()(const tflite::Reduction& table) { options_.keeps_dimensions = table.keeps_dimensions(); }
  void operator()(const tflite::Resizing& table) { resizing(table); }
  void operator()(const tflite::NearestResizing& table) { resizing(table); }
  void operator()(const tflite::LeakyRelu& table) { options_.alpha = table.alpha(); }
  void operator()(const tflite::Mirror& table) { options_.repeats_edge = table.mode() != 0; }
  void operator()(const tflite::Gelu& table) { options_.is_approximate = table.is_approximate(); }
  void operator()(const tflite::MatrixProduct& table) {
    options_.turns_x = table.turns_x();
    options_.turns_y = table.turns_y();
  }
  void operator()(const tflite::Gathering& table) {
    if (table.batch_dimensions() != 0)
      throw Error(ErrorKind::unsupported, fmt::format("{}: places for each of a batch", where_));
    options_.axis = table.axis();
  }
  void operator()(const tflite::StridedSlice& table) {
    options_.begin_mask = static_cast<std::uint32_t>(table.begin_mask());
    options_.end_mask = static_cast<std::uint32_t>(table.end_mask());
    options_.other_masks = static_cast<std::uint32_t>(table.ellipsis_mask() | table.new_axis_mask() |
                                                      table.shrink_axis_mask() | (table.is_offset() ? 1 : 0));
  }
  void operator()(const tflite::TransposedConvolution& table) { window(table); }

 private:
  template <class Table>
  void window(const Table& table) {
    options_.pads = table.padding() == 0;
    if (table.padding() != 0 && table.padding() != 1) corrupt(where_, "a padding that is not known");
    options_.stride_w = step(table.stride_w());
    options_.stride_h = step(table.stride_h());
    activation(table.activation());
  }
  template <class Table>
  void resizing(const Table& table) {
    options_.aligns_corners = table.aligns_corners();
    options_.centres_half_pixels = table.centres_half_pixels();
  }
  std::uint64_t step(std::int32_t number) const {
    if (number < 1 || number > kMostStride)
      corrupt(where_, fmt::format("a stride or extent that no window has: {}", number));
    return static_cast<std::uint64_t>(number);
  }
  void activation(std::int8_t number) {
    if (number < 0 || number > 4)
      throw Error(ErrorKind::unsupported, fmt::format("{}: an activation that is not known: {}", where_, number));
    options_.activation = static_cast<TfliteActivation>(number);
  }

  TfliteOptions& options_;
  const std::string& where_;
};

void read_options(const tflite::Operator& op, TfliteOptions& options, const std::string& where) {
  OptionsReader read(options, where);
  const auto use = [&](const auto* table) {
    if (table != nullptr) read(*table);
  };
  use(op.options_as_Convolution());
  use(op.options_as_DepthwiseConvolution());
  use(op.options_as_Pooling());
  use(op.options_as_FullyConnected());
  use(op.options_as_Softmax());
  use(op.options_as_Concatenation());
  use(op.options_as_Sum());
  use(op.options_as_Product());
  use(op.options_as_Difference());
  use(op.options_as_Quotient());
  use(op.options_as_Reduction());
  use(op.options_as_Resizing());
  use(op.options_as_NearestResizing());
  use(op.options_as_LeakyRelu());
  use(op.options_as_Mirror());
  use(op.options_as_MatrixProduct());
  use(op.options_as_Gelu());
  use(op.options_as_Gathering());
  use(op.options_as_StridedSlice());
  use(op.options_as_TransposedConvolution());
}

}  // namespace

bool has_tflite() noexcept { return true; }

TfliteModel parse_tflite(std::span<const std::byte> bytes, const std::string& source) {
  const auto* const data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  constexpr flatbuffers::uoffset_t kMostDepth = 16, kMostTables = 1u << 20;
  if (bytes.size() < 8 || !tflite::ModelBufferHasIdentifier(data)) corrupt(source, "is no TensorFlow Lite model");
  flatbuffers::Verifier verifier(data, bytes.size(), kMostDepth, kMostTables);
  if (!tflite::VerifyModelBuffer(verifier)) corrupt(source, "is a damaged TensorFlow Lite model");
  const tflite::Model& file = *tflite::GetModel(data);
  if (file.subgraphs() == nullptr || file.subgraphs()->size() == 0 || file.codes() == nullptr)
    corrupt(source, "has no graph");
  if (file.subgraphs()->size() > 1)
    throw Error(ErrorKind::unsupported, fmt::format("{}: has several graphs: {}", source, file.subgraphs()->size()));
  const tflite::SubGraph& graph = *file.subgraphs()->Get(0);
  TfliteModel model;
  Lists lists(source);
  model.description = text_of(file.description());
  if (graph.tensors() == nullptr || graph.operators() == nullptr) corrupt(source, "has no tensors or operators");
  for (const tflite::Tensor* const tensor : *graph.tensors())
    model.tensors.push_back(read_tensor(*tensor, file, lists, source));
  const auto places = [&](const flatbuffers::Vector<std::int32_t>* list) {
    std::vector<int> found = lists.copy(list);
    for (const int place : found)
      if (place < -1 || place >= static_cast<int>(model.tensors.size()))
        corrupt(source, fmt::format("a tensor is named that is not there: {}", place));
    return found;
  };
  model.inputs = places(graph.inputs());
  model.outputs = places(graph.outputs());
  for (const tflite::Operator* const op : *graph.operators()) {
    const std::string where = fmt::format("{}: operator {}", source, model.operators.size());
    if (op->code_index() >= file.codes()->size()) corrupt(where, "is of a kind that is not listed");
    const tflite::OperatorCode& code = *file.codes()->Get(op->code_index());
    TfliteOperator out;
    // Kinds below 127 stand in the older field, too.
    out.code = std::max<int>(code.code(), code.old_code());
    out.custom_name = text_of(code.custom_code());
    out.inputs = places(op->inputs());
    out.outputs = places(op->outputs());
    read_options(*op, out.options, where);
    model.operators.push_back(std::move(out));
  }
  return model;
}

}  // namespace nibble
