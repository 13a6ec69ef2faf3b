// SPDX-License-Identifier: Apache-2.0
#include "cli/net_command.h"

#include <fmt/format.h>

#include <charconv>

#include "cli/option_checks.h"
#include "cli/places.h"
#include "nibble/error.h"
#include "report/net_report.h"
#include "report/number_text.h"

namespace nibble::cli {
namespace {

[[noreturn]] void refuse(const char* option, const std::string& text, const char* form) {
  throw Error(ErrorKind::invalid_argument, fmt::format("{} {}: should be {}", option, text, form));
}

template <class T>
bool read_whole(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

void add_net_shape_options(CLI::App& verb, NetArguments& arguments) {
  verb.add_option("--shape", arguments.shapes,
                  "Of a net (.onnx, .tflite): the shape of an input that is open, NAME=1,3,224,224")
      ->allow_extra_args(false);
  verb.add_option("--constant", arguments.constants,
                  "Of a net: an input that is this number and no input any more, NAME=16000")
      ->allow_extra_args(false);
}

void add_net_options(CLI::App& verb, NetArguments& arguments) {
  add_net_shape_options(verb, arguments);
  verb.add_flag("--simplify", arguments.simplifies,
                "Of a net: fold norms and scales into convolutions, and take patterns of operations for what they are");
}

void refuse_net_options(const CLI::App& verb) {
  for (const char* const option : {"--shape", "--constant", "--simplify"})
    refuse_without_effect(verb, option, false, "of models other than nets (.onnx, .tflite)");
}

NetOptions net_options(const NetArguments& arguments) {
  NetOptions options{.simplifies = arguments.simplifies};
  for (const std::string& text : arguments.shapes) {
    constexpr const char* kForm = "NAME=1,3,224,224";
    const std::size_t sign = text.rfind('=');
    if (sign == std::string::npos || sign == 0) refuse("--shape", text, kForm);
    Extents extents;
    for (const std::string& extent : split_list(std::string_view(text).substr(sign + 1)))
      if (!read_whole(extent, extents.emplace_back()) || extents.back() == 0 || extents.back() > kMostNumbers)
        refuse("--shape", text, kForm);
    options.shapes[text.substr(0, sign)] = std::move(extents);
  }
  for (const std::string& text : arguments.constants) {
    const std::size_t sign = text.rfind('=');
    double number = 0;
    if (sign == std::string::npos || sign == 0 || !read_whole(std::string_view(text).substr(sign + 1), number))
      refuse("--constant", text, "NAME=NUMBER");
    options.constants[text.substr(0, sign)] = number;
  }
  return options;
}

void inspect_net(const std::string& path, const NetOptions& options, Session& session) {
  const NetPortrait portrait = portray(open_net(path, options));
  if (session.json()) return session.print_json(to_json(portrait));
  session.print(net_headline(portrait) + "\n" + operations_table(portrait).text(session.style()));
}

void check_net(const std::string& path, const NetOptions& options, Session& session) {
  const NetPortrait portrait = portray(open_net(path, options));
  if (session.json())
    session.print_json({{"sound", portrait.not_finite == 0},
                        {"operations", portrait.operations.size()},
                        {"parameters", portrait.parameters},
                        {"not_finite", portrait.not_finite}});
  else if (portrait.not_finite == 0)
    session.print(fmt::format("sound: {} operations, {} parameters\n", portrait.operations.size(),
                              grouped_text(portrait.parameters)));
  if (portrait.not_finite == 0) return;
  std::string where;
  for (const PortrayedOperation& one : portrait.operations)
    if (where.empty() && one.weights.not_finite > 0)
      where = fmt::format(", the first of {} {}", one.operation, one.name);
  throw Error(ErrorKind::corrupt,
              fmt::format("{}: {} weights are not finite{}; get the file anew", path, portrait.not_finite, where));
}

void run_net_files(const std::string& path, const NetOptions& options, const std::vector<std::string>& inputs,
                   NetArithmetic arithmetic, const std::string& output, Session& session) {
  Places places;
  places.reads("net", path);
  for (const std::string& input : inputs) places.reads("--input", input.substr(input.find('=') + 1));
  if (!output.empty()) places.writes_file("-o", output);
  places.judge();
  if (!output.empty()) require_array_place(output);
  const NetRun run = run_net(path, options, inputs, arithmetic, session.machine());
  if (!output.empty()) write_arrays(output, run.outputs);
  if (session.json()) return session.print_json(to_json(run));
  session.print(outputs_table(run).text(session.style()));
  session.note(fmt::format("{}in {:.3f} ms (read in {:.3f} ms)",
                           arithmetic == NetArithmetic::reference ? "by the reference arithmetic, " : "",
                           1e3 * run.run_seconds, 1e3 * run.read_seconds));
}

void bench_net(const std::string& path, const NetOptions& options, const NetSpeedOptions& how, Session& session) {
  Machine& machine = session.machine();
  const NetSpeed speed = measure_net(path, options, how, machine);
  if (session.json()) {
    Json json = to_json(speed);
    json["net"] = path;
    json["threads"] = machine.pool.num_threads();
    json["isa"] = isa_name(machine.isa);
    return session.print_json(json);
  }
  session.print(speed_table(speed, std::filesystem::path(path).filename().string()).text(session.style()));
  session.note(fmt::format("{} runs on {} thread{}, {}", speed.samples.size(), machine.pool.num_threads(),
                           machine.pool.num_threads() == 1 ? "" : "s", isa_name(machine.isa)));
}

}  // namespace nibble::cli
