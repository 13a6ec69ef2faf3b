// SPDX-License-Identifier: Apache-2.0
#include "net/tflite/tflite_net.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "io/message_text.h"
#include "io/tflite/tflite_model.h"
#include "net/tflite/tflite_pen.h"
#include "nibble/error.h"

namespace nibble {
namespace {

class TfliteImport {
 public:
  TfliteImport(const TfliteModel& model, const std::filesystem::path& path, const NetOptions& options)
      : source_(path.string()), options_(options), model_(model), pen_(model_, source_) {}

  Net read() {
    judge_operators();
    for (const int input : model_.inputs) add_input(input);
    judge_options();
    for (std::size_t i = 0; i < model_.operators.size(); ++i) draw(i);
    if (model_.outputs.empty()) throw Error(ErrorKind::corrupt, source_ + ": has no outputs");
    guarded(source_, [&] {
      for (const int output : model_.outputs) pen_.output(output);
    });
    Net net = std::move(pen_).finish();
    net.source = source_;
    net.container = "TFLite";
    net.written = fmt::format("{} operators{}{}", model_.operators.size(), model_.description.empty() ? "" : ", by ",
                              model_.description);
    return net;
  }

 private:
  template <class Act>
  static void guarded(const std::string& where, Act act) {
    try {
      act();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::internal) throw;
      std::string_view what = error.what();
      if (what.starts_with(kNotDrawable)) what.remove_prefix(kNotDrawable.size());
      throw Error(ErrorKind::corrupt, fmt::format("{}: {}", where, what));
    }
  }

  void judge_operators() const {
    std::map<std::string, std::size_t> unknown;
    for (const TfliteOperator& op : model_.operators)
      if (find_tflite_converter(op.code) == nullptr)
        ++unknown[op.custom_name.empty() ? fmt::format("number {}", op.code) : quote_name(op.custom_name)];
    if (unknown.empty()) return;
    std::string text;
    for (const auto& [name, count] : unknown) text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", name, count);
    throw Error(ErrorKind::unsupported, fmt::format("{}: operators that are not known: {}", source_, text));
  }

  void judge_options() const {
    if (!options_.constants.empty())
      throw Error(ErrorKind::invalid_argument, source_ + ": inputs of TensorFlow Lite models decide nothing",
                  "constant");
    for (const auto& [name, shape] : options_.shapes) {
      const bool is_input =
          std::ranges::any_of(model_.inputs, [&](int input) { return input >= 0 && tensor(input).name == name; });
      if (!is_input)
        throw Error(ErrorKind::invalid_argument, fmt::format("{}: has no input {}", source_, quote_name(name)),
                    "shape");
    }
  }

  const TfliteTensor& tensor(int index) const { return model_.tensors[static_cast<std::size_t>(index)]; }

  void add_input(int index) {
    if (index < 0) throw Error(ErrorKind::corrupt, source_ + ": an input is left out");
    Extents shape = tensor(index).shape;
    if (const auto said = options_.shapes.find(tensor(index).name); said != options_.shapes.end()) {
      if (said->second != shape)
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("{}: input {}: should have the shape [{}]; asked for was [{}]", source_,
                                quote_name(tensor(index).name), fmt::join(shape, ", "), fmt::join(said->second, ", ")),
                    "shape");
    }
    guarded(source_, [&] { pen_.input(index); });
  }

  void draw(std::size_t place) {
    const TfliteOperator& op = model_.operators[place];
    const TfliteConverter& converter = *find_tflite_converter(op.code);
    const std::string where = fmt::format("{}: operator {} ({})", source_, place, converter.name);
    TfliteView view(op, where, pen_);
    guarded(where, [&] { converter.draw(view); });
  }

  std::string source_;
  const NetOptions& options_;
  const TfliteModel& model_;
  TflitePen pen_;
};

}  // namespace

Net read_tflite_net(std::span<const std::byte> bytes, const std::filesystem::path& path, const NetOptions& options) {
  return draw_tflite_net(parse_tflite(bytes, path.string()), path, options);
}

Net draw_tflite_net(const TfliteModel& model, const std::filesystem::path& path, const NetOptions& options) {
  return TfliteImport(model, path, options).read();
}

std::vector<std::string> tflite_input_names(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  const TfliteModel model = parse_tflite(bytes, path.string());
  std::vector<std::string> names;
  for (const int input : model.inputs)
    if (input >= 0) names.push_back(model.tensors[static_cast<std::size_t>(input)].name);
  return names;
}

}  // namespace nibble
