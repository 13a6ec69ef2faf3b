// SPDX-License-Identifier: Apache-2.0
#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/vector.h>

#include <utility>

#include "arrays.h"
#include "fields.h"
#include "named_values.h"
#include "nibble/chat.h"
#include "nibble/engine.h"
#include "nibble/model.h"
#include "parts.h"
#include "text_caster.h"
#include "watch.h"

namespace nibble::python {

namespace nb = nanobind;
using namespace nb::literals;

namespace {

Fields to_fields(const ModelInfo& info) {
  Fields fields;
  fields["container"] = info.container;
  fields["architecture"] = info.architecture;
  fields["parameters"] = info.parameters;
  fields["tensors"] = info.tensors;
  fields["bytes"] = info.bytes;
  fields["bits_per_weight"] = info.bits_per_weight;
  fields["vocabulary"] = info.vocabulary;
  fields["hidden"] = info.hidden;
  fields["layers"] = info.layers;
  fields["context"] = info.context;
  fields["intermediate"] = info.intermediate;
  fields["heads"] = info.heads;
  fields["kv_heads"] = info.kv_heads;
  fields["head_dim"] = info.head_dim;
  fields["experts"] = info.experts;
  fields["experts_used"] = info.experts_used;
  fields["rope_base"] = info.rope_base;
  fields["tied_head"] = info.tied_head;
  fields["tokenizer"] = info.tokenizer;
  fields["chat_template"] = info.chat_template;
  fields["quantizer"] = info.quantizer;
  fields["activations"] = info.activations;
  fields["obstacle"] = info.obstacle;
  return fields;
}

nb::typed<nb::list, Fields> list_tensors(const Model& model) {
  nb::typed<nb::list, Fields> tensors;
  for (const TensorInfo& tensor : model.list_tensors()) {
    Fields fields;
    fields["name"] = tensor.name;
    fields["shape"] = nb::tuple(nb::cast(tensor.shape));
    fields["format"] = tensor.format;
    fields["elements"] = tensor.elements;
    fields["bytes"] = tensor.bytes;
    tensors.append(fields);
  }
  return tensors;
}

NumpyVector<float> read_tensor(const Model& model, std::string_view name) {
  std::vector<float> values = [&] {
    const nb::gil_scoped_release released;
    return model.read_tensor(name);
  }();
  return to_numpy(std::move(values));
}

std::vector<std::int32_t> encode(const Model& model, std::string_view text, bool add_special, bool parse_special) {
  const nb::gil_scoped_release released;
  return model.encode(text, {.add_special = add_special, .parse_special = parse_special});
}

LoadedModel load(const Model& model, const ArithmeticOptions& arithmetic, const MachineOptions& machine,
                 nb::object progress) {
  Watch watch(std::move(progress));
  return watch.run([&] { return LoadedModel(model, {arithmetic, machine, watch.progress()}); });
}

// [tokens, vocabulary], or of the last token alone [1, vocabulary].
NumpyMatrix<float> logits(LoadedModel& model, const Tokens& tokens, bool last, nb::object progress) {
  Watch watch(std::move(progress));
  const std::size_t first = last && tokens.size() > 0 ? tokens.size() - 1 : 0, rows = tokens.size() - first;
  std::vector<float> values = watch.run([&] { return model.text_logits(span_of(tokens), first, watch.progress()); });
  return to_numpy(std::move(values), rows, model.vocabulary());
}

}  // namespace

void bind_models(nb::module_& module) {
  nb::class_<Model>(module, "Model")
      .def("info", [](const Model& model) { return to_fields(model.info()); })
      .def_prop_ro("path", [](const Model& model) { return model.path(); })
      .def("list_tensors", &list_tensors)
      .def("read_tensor", &read_tensor, "name"_a)
      .def("encode", &encode, "text"_a, "add_special"_a, "parse_special"_a)
      .def(
          "decode",
          [](const Model& model, const Tokens& tokens, bool skip_special) {
            return model.decode(span_of(tokens), skip_special);
          },
          "tokens"_a, "skip_special"_a)
      .def(
          "piece",
          [](const Model& model, std::int32_t token) {
            const std::string piece = model.piece(token);
            return nb::bytes(piece.data(), piece.size());
          },
          "token"_a)
      .def("ends_generation", &Model::ends_generation, "token"_a)
      .def(
          "apply_chat_template",
          [](const Model& model, std::string_view messages, const Fields& options) {
            return apply_chat_template(model, messages, chat_template_options(options));
          },
          "messages"_a, "options"_a);
  module.def("open_model", &open_model, "path"_a, nb::sig("def open_model(path: str | os.PathLike[str]) -> Model"),
             nb::call_guard<nb::gil_scoped_release>());

  nb::class_<LoadedModel>(module, "LoadedModel")
      .def_prop_ro("model", [](const LoadedModel& loaded) { return loaded.model(); })
      .def_prop_ro("vocabulary", &LoadedModel::vocabulary)
      .def_prop_ro("context", &LoadedModel::context)
      .def_prop_ro("resident_bytes", &LoadedModel::resident_bytes)
      .def_prop_ro("instruction_set", [](const LoadedModel& loaded) { return name_of(loaded.instruction_set()); })
      .def_prop_ro("keys_values", [](const LoadedModel& loaded) { return name_of(loaded.keys_values()); })
      .def("logits", &logits, "tokens"_a, "last"_a, "progress"_a.none());
  module.def(
      "load",
      [](const Model& model, const Fields& options, nb::object progress) {
        return load(model, arithmetic_options(options), machine_options(options), std::move(progress));
      },
      "model"_a, "options"_a, "progress"_a.none());
}

}  // namespace nibble::python
