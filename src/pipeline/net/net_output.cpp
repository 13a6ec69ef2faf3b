// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/net_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "io/tflite/tflite_model.h"
#include "net/c/c_source.h"
#include "net/onnx/onnx_export.h"
#include "net/onnx/onnx_net.h"
#include "net/quantize/noise_meter.h"
#include "net/tflite/tflite_export.h"
#include "net/tflite/tflite_net.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kProducer = "nibble";

struct Known {
  NetContainer container;
  std::string_view name, ending;
};
constexpr std::array kContainers = {Known{NetContainer::onnx, "onnx", ".onnx"},
                                    Known{NetContainer::tflite, "tflite", ".tflite"},
                                    Known{NetContainer::c, "c", ".c"}};

const Known& known(NetContainer container) { return *std::ranges::find(kContainers, container, &Known::container); }

// An earlier output may be replaced, and nothing else.
void require_own(const std::filesystem::path& output, NetContainer container) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(output, ignored) || std::filesystem::file_size(output, ignored) == 0) return;
  bool is_own = false;
  try {
    const MappedFile file(output);
    if (container == NetContainer::c)
      is_own =
          std::string_view(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()).starts_with(kCMark);
    else
      is_own = (container == NetContainer::onnx ? parse_onnx(file.bytes(), output.string()).producer
                                                : parse_tflite(file.bytes(), output.string()).description) == kProducer;
  } catch (const Error&) {  // no net at all
  }
  if (!is_own)
    throw Error(ErrorKind::io,
                output.string() + ": exists and was not written by nibble; choose another output or remove it");
}

// A name that says another container, or none that C's #include takes.
void require_named(const std::filesystem::path& output, const Known& asked) {
  if (output.empty()) return;
  const std::string ending = lower_extension(output);
  const bool is_of_another = std::ranges::any_of(
      kContainers, [&](const Known& one) { return one.container != asked.container && one.ending == ending; });
  const bool is_c = asked.container == NetContainer::c;
  if (is_of_another || (is_c && ending != asked.ending))
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{}: is not what a file of {} is called: end its name in {}", output.string(), asked.name,
                            asked.ending),
                "container");
  const auto cannot_stand = [](char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < ' '; };
  if (is_c && std::ranges::any_of(output.filename().string(), cannot_stand))
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{}: C cannot include a header of this name: choose one without quotes and backslashes",
                            output.string()));
}

}  // namespace

std::string_view net_container_name(NetContainer container) { return known(container).name; }

std::string net_container_names() {
  std::string names;
  for (const Known& one : kContainers) names += fmt::format("{}{}", names.empty() ? "" : ", ", one.name);
  return names;
}

std::vector<NetOutput> arrange_net_outputs(std::span<const std::string> names, const std::filesystem::path& output) {
  std::vector<NetOutput> outputs;
  for (const std::string& name : names) {
    const auto* const found = std::ranges::find(kContainers, std::string_view(name), &Known::name);
    if (found == kContainers.end())
      throw Error(ErrorKind::invalid_argument, fmt::format("nets are written as {}: {}", net_container_names(), name),
                  "container");
    std::filesystem::path path = output;
    if (names.size() > 1 && !output.empty()) path += found->ending;
    require_named(path, *found);
    outputs.push_back({found->container, std::move(path)});
  }
  if (names.empty()) {
    const std::string ending = lower_extension(output);
    const auto* const found = std::ranges::find(kContainers, std::string_view(ending), &Known::ending);
    if (found == kContainers.end() && !output.empty())
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("a net is written as .onnx, .tflite or .c: {}", output.string()), "container");
    if (!output.empty()) require_named(output, *found);
    outputs.push_back({output.empty() ? NetContainer::onnx : found->container, output});
  }
  return outputs;
}

void require_writable(const Net& net, const NetOutput& output) {
  if (output.container == NetContainer::tflite) {
    if (!has_tflite()) throw Error(ErrorKind::unsupported, std::string(kTfliteMissing));
    require_tflite(net);
  }
  if (output.container == NetContainer::c)
    spell_c(spell_tflite(net, {}, {.has_code_ports = true}), "net", net.source, "net.h");
  require_replaceable(output);
}

void require_replaceable(const NetOutput& output) {
  for (const std::filesystem::path& file : output.files()) require_own(file, output.container);
}

std::vector<std::filesystem::path> NetOutput::files() const {
  if (path.empty()) return {};
  if (container != NetContainer::c) return {path};
  std::filesystem::path header = path;
  return {path, header.replace_extension(".h")};
}

namespace {

WrittenNet written_in_c(const TfliteModel& model, const std::string& source, const NetOutput& output) {
  const std::string stem = output.path.empty() ? "net" : output.path.stem().string();
  CSource made = spell_c(model, c_name(stem), source, stem + ".h");
  const std::vector<std::filesystem::path> paths = output.files();
  WrittenNet written{.output = output, .files = {}, .drawn = {}, .constant_bytes = 0};
  written.constant_bytes = made.constant_bytes;
  written.files.emplace_back(paths.empty() ? output.path : paths[0], std::move(made.source));
  written.files.emplace_back(paths.empty() ? output.path : paths[1], std::move(made.header));
  return written;
}

}  // namespace

WrittenNet spell_lite_in_c(const std::filesystem::path& path, const NetOutput& output) {
  const MappedFile file(path);
  return written_in_c(parse_tflite(file.bytes(), path.string()), path.filename().string(), output);
}

std::uint64_t WrittenNet::bytes() const {
  if (output.container == NetContainer::c) return constant_bytes;
  std::uint64_t sum = 0;
  for (const auto& [path, bytes] : files) sum += bytes.size();
  return sum;
}

WrittenNet spell_net(const Net& net, const NetCodes& codes, const NetOutput& output) {
  if (output.container == NetContainer::c) {
    const std::string source = std::filesystem::path(net.source).filename().string();
    WrittenNet made = written_in_c(spell_tflite(net, codes, {.has_code_ports = true}), source, output);
    made.drawn = spell_tflite(net, codes);
    return made;
  }
  WrittenNet made{.output = output, .files = {}, .drawn = {}, .constant_bytes = 0};
  if (output.container == NetContainer::onnx) {
    OnnxModel model = spell_onnx(net, codes, output.few_bits);
    model.producer = kProducer;
    made.opset = model.opset;
    made.files.emplace_back(output.path, serialize_onnx(model));
  } else {
    TfliteModel model = spell_tflite(net, codes);
    model.description = kProducer;
    made.files.emplace_back(output.path, serialize_tflite(model));
  }
  return made;
}

Net read_back(const WrittenNet& made) {
  const auto& [path, bytes] = made.files.front();
  if (made.output.container == NetContainer::c) return draw_tflite_net(made.drawn, path, {});
  const std::span<const std::byte> read = std::as_bytes(std::span(bytes));
  return made.output.container == NetContainer::onnx ? read_onnx_net(read, path, {}) : read_tflite_net(read, path, {});
}

void require_same_when_read(const WrittenNet& made, const Net& meant, const NetSample& sample, double allowed,
                            Machine& machine) {
  const std::vector<NetSample> was = walk_samples(meant, {&sample, 1}, machine, {}),
                               is = walk_samples(read_back(made), {&sample, 1}, machine, {});
  for (std::size_t i = 0; i < was[0].size(); ++i)
    if (const double noise = noise_of({is[0][i]}, {was[0][i]}); noise > allowed)
      throw Error(ErrorKind::internal, fmt::format("{}: read back, it makes something else than what was meant: {}",
                                                   made.files.front().first.string(), noise));
}

void commit(const WrittenNet& made) {
  std::vector<std::unique_ptr<OutputFile>> files;
  for (const auto& [path, bytes] : made.files) {
    files.push_back(std::make_unique<OutputFile>(path));
    files.back()->write(std::string_view(bytes));
  }
  for (const auto& file : files) file->commit();
}

}  // namespace nibble
