// SPDX-License-Identifier: Apache-2.0
#include "net/c/c_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "net/c/c_writer.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::string upper_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

// "input" where there is one, else "input_0", ...
std::string port_name(const char* kind, const std::vector<int>& ports, std::size_t i) {
  return ports.size() == 1 ? kind : fmt::format("{}_{}", kind, i);
}

class CSpelling {
 public:
  CSpelling(const TfliteModel& model, const std::string& name) : model_(model), name_(name), writer_(model) {
    for (std::size_t i = 0; i < model.inputs.size(); ++i)
      writer_.place_input(model.inputs[i], port_name("input", model.inputs, i));
    for (std::size_t i = 0; i < model.outputs.size(); ++i)
      writer_.place_output(model.outputs[i], port_name("output", model.outputs, i));
    writer_.write();
  }

  const CWriter& writer() const { return writer_; }

  std::string header(const std::string& source) const {
    const std::string macros = upper_case(name_);
    std::string text = fmt::format(
        "{}\n/* {}\n\n   {}_run runs the net once and returns 0, or -1 where a pointer is NULL. "
        "Values lie in one static block of\n   {}_ARENA bytes, so one call at a time. */\n#ifndef {}_H\n#define "
        "{}_H\n\n#include <stdint.h>\n\n#ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n#define {}_ARENA {}\n\n",
        kCMark, source, name_, macros, macros, macros, macros, writer_.arena_bytes());
    for (const bool is_input : {true, false}) {
      const std::vector<int>& ports = is_input ? model_.inputs : model_.outputs;
      for (std::size_t i = 0; i < ports.size(); ++i) text += port(ports, i, is_input, macros);
    }
    text += fmt::format("int {}_run({});\n", name_, parameters(false));
    if (has_codes())
      text += fmt::format("\n/* The same of numbers in place of codes. */\nint {}_run_floats({});\n", name_,
                          parameters(true));
    return text + fmt::format("\n#ifdef __cplusplus\n}}\n#endif\n\n#endif\n");
  }

  std::string source(std::string_view header) {
    std::string run_floats = has_codes() ? floats() : std::string();
    std::string text = fmt::format("{}\n#include \"{}\"\n\n#include <stddef.h>\n{}{}\n", kCMark, header,
                                   writer_.needs_math() ? "#include <math.h>\n" : "",
                                   writer_.needs_strings() ? "#include <string.h>\n" : "");
    text += writer_.functions() + writer_.constants();
    const std::string macros = upper_case(name_);
    if (writer_.arena_bytes() > 0)
      text +=
          fmt::format("static union {{\n  int64_t aligned;\n  unsigned char bytes[{}_ARENA];\n}} arena;\n\n", macros);
    text += fmt::format("int {}_run({}) {{\n  if ({}) return -1;\n{}  return 0;\n}}\n", name_, parameters(false),
                        null_checks(), writer_.body());
    return text + run_floats;
  }

 private:
  const TfliteTensor& tensor(int index) const { return model_.tensors[static_cast<std::size_t>(index)]; }
  bool is_code(int index) const { return tensor(index).type == TfliteType::i8; }
  bool has_codes() const {
    const auto coded = [&](int index) { return is_code(index); };
    return std::ranges::any_of(model_.inputs, coded) || std::ranges::any_of(model_.outputs, coded);
  }
  std::uint64_t count(int index) const { return count_of(tensor(index)); }

  std::string port(const std::vector<int>& ports, std::size_t i, bool is_input, const std::string& macros) const {
    const TfliteTensor& one = tensor(ports[i]);
    const std::string macro = macros + "_" + upper_case(port_name(is_input ? "input" : "output", ports, i));
    std::string text = fmt::format("/* {}: [{}] */\n#define {}_SIZE {}\n", comment_text(one.name),
                                   fmt::join(one.shape, ", "), macro, count(ports[i]));
    if (is_code(ports[i]))
      text += fmt::format("#define {}_SCALE {}\n#define {}_ZERO ({}) /* number = (code - zero) * scale */\n", macro,
                          c_number(one.scales[0]), macro, one.zeros[0]);
    return text + "\n";
  }

  std::string parameters(bool takes_floats) const {
    std::string text;
    for (std::size_t i = 0; i < model_.inputs.size(); ++i)
      text += fmt::format("{}const {} *{}", text.empty() ? "" : ", ",
                          takes_floats || !is_code(model_.inputs[i]) ? "float" : "int8_t",
                          port_name("input", model_.inputs, i));
    for (std::size_t i = 0; i < model_.outputs.size(); ++i)
      text += fmt::format(", {} *{}", takes_floats || !is_code(model_.outputs[i]) ? "float" : "int8_t",
                          port_name("output", model_.outputs, i));
    return text;
  }

  std::string null_checks() const {
    std::string text;
    for (std::size_t i = 0; i < model_.inputs.size(); ++i)
      text += fmt::format("{}{} == NULL", text.empty() ? "" : " || ", port_name("input", model_.inputs, i));
    for (std::size_t i = 0; i < model_.outputs.size(); ++i)
      text += fmt::format(" || {} == NULL", port_name("output", model_.outputs, i));
    return text;
  }

  std::string floats() {
    std::string buffers, before, behind, given;
    const auto add = [&](const std::vector<int>& ports, const char* kind) {
      for (std::size_t i = 0; i < ports.size(); ++i) {
        const std::string name = port_name(kind, ports, i);
        const bool coded = is_code(ports[i]);
        given += fmt::format("{}{}{}", given.empty() ? "" : ", ", coded ? "codes_of_" : "", name);
        if (!coded) continue;
        const TfliteTensor& one = tensor(ports[i]);
        buffers += fmt::format("  static int8_t codes_of_{}[{}];\n", name, count(ports[i]));
        const bool is_input = ports == model_.inputs && std::string_view(kind) == "input";
        writer_.use(is_input ? "to_codes" : "to_floats");
        (is_input ? before : behind) += is_input
                                            ? fmt::format("  to_codes({}, {}, {}, {}, codes_of_{});\n", name,
                                                          c_number(one.scales[0]), one.zeros[0], count(ports[i]), name)
                                            : fmt::format("  to_floats(codes_of_{}, {}, {}, {}, {});\n", name,
                                                          c_number(one.scales[0]), one.zeros[0], count(ports[i]), name);
      }
    };
    add(model_.inputs, "input");
    add(model_.outputs, "output");
    return fmt::format(
        "\nint {}_run_floats({}) {{\n{}  if ({}) return -1;\n{}  if ({}_run({}) != 0) return -1;\n{}  "
        "return 0;\n}}\n",
        name_, parameters(true), buffers, null_checks(), before, name_, given, behind);
  }

  const TfliteModel& model_;
  std::string name_;
  CWriter writer_;
};

}  // namespace

CSource spell_c(const TfliteModel& model, const std::string& name, const std::string& source, std::string_view header) {
  CSpelling spelling(model, name);
  CSource made;
  made.source = spelling.source(header);
  made.header = spelling.header(comment_text(source));
  made.constant_bytes = spelling.writer().constant_bytes();
  return made;
}

std::string c_name(std::string_view stem) {
  std::string name;
  for (const char c : stem) name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) != 0) name = "net_" + name;
  return name;
}

}  // namespace nibble
