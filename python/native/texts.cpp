// SPDX-License-Identifier: Apache-2.0
#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include <utility>

#include "arrays.h"
#include "fields.h"
#include "named_values.h"
#include "nibble/chat.h"
#include "nibble/engine.h"
#include "nibble/generate.h"
#include "parts.h"
#include "text_caster.h"
#include "watch.h"

namespace nibble::python {

namespace nb = nanobind;
using namespace nb::literals;

namespace {

constexpr Choice<StopReason> kReasons[] = {{"end_token", StopReason::end_token},
                                           {"stop_text", StopReason::stop_text},
                                           {"max_tokens", StopReason::max_tokens},
                                           {"context_full", StopReason::context_full},
                                           {"caller", StopReason::caller}};

// What texts and answers tell alike.
template <typename Made>
Fields to_fields(const Made& made) {
  Fields fields;
  fields["text"] = made.text;
  fields["stop_reason"] = spelling_of(made.reason, kReasons);
  fields["prompt_tokens"] = made.prompt_tokens;
  fields["prompt_seconds"] = made.prompt_seconds;
  fields["decode_seconds"] = made.decode_seconds;
  fields["decode_tokens"] = made.decode_tokens;
  return fields;
}

// on_text: called with new text; False stops. None: nobody is told.
Fields generate(LoadedModel& model, const Tokens& prompt, const Fields& options, nb::object on_text,
                nb::object progress) {
  Watch watch(std::move(progress));
  GenerateOptions request = generate_options(options);
  request.progress = watch.progress();
  const TextCallback tell = [&](std::string_view text) {
    return watch.ask([&]() -> nb::object { return on_text(nb::str(text.data(), text.size())); });
  };
  const Generated made = watch.run(
      [&] { return nibble::generate(model, span_of(prompt), request, on_text.is_none() ? TextCallback() : tell); });
  Fields fields = to_fields(made);
  fields["tokens"] = made.tokens;
  return fields;
}

// on_text: called with (is_reasoning, text); False stops. None: nobody is told.
Fields answer(Chat& chat, std::string_view messages, const Fields& conversation, const Fields& options,
              nb::object on_text, nb::object progress) {
  Watch watch(std::move(progress));
  GenerateOptions request = generate_options(options);
  request.progress = watch.progress();
  const ChatTemplateOptions rendering = chat_template_options(conversation);
  const AnswerCallback tell = [&](bool is_reasoning, std::string_view text) {
    return watch.ask([&]() -> nb::object { return on_text(is_reasoning, nb::str(text.data(), text.size())); });
  };
  const ChatAnswer made =
      watch.run([&] { return chat.answer(messages, rendering, request, on_text.is_none() ? AnswerCallback() : tell); });
  Fields fields = to_fields(made);
  fields["reasoning"] = made.reasoning;
  fields["kept_tokens"] = made.kept_tokens;
  fields["new_tokens"] = made.new_tokens;
  return fields;
}

// The text, and how many sequences of bytes were no UTF-8.
nb::typed<nb::tuple, nb::str, nb::int_> judge(const nb::bytes& bytes, const std::string& name) {
  const std::string_view given(bytes.c_str(), bytes.size());
  const PlainText judged = [&] {
    const nb::gil_scoped_release released;
    return judge_text(given, name);
  }();
  return nb::make_tuple(judged.text, judged.replaced);
}

}  // namespace

void bind_texts(nb::module_& module) {
  module.def("judge_text", &judge, "data"_a, "name"_a);
  module.def("generate", &generate, "model"_a, "prompt"_a, "options"_a, "on_text"_a.none(), "progress"_a.none());
  nb::class_<Chat>(module, "Chat")
      .def(nb::init<LoadedModel&, std::size_t, const std::string&>(), "model"_a, "context"_a, "chat_template"_a,
           nb::keep_alive<1, 2>())
      .def("answer", &answer, "messages"_a, "conversation"_a, "options"_a, "on_text"_a.none(), "progress"_a.none())
      .def("clear", &Chat::clear);
}

}  // namespace nibble::python
