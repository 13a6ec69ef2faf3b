// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/run_net.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/elapsed.h"
#include "base/mapped_file.h"
#include "base/output_file.h"
#include "io/message_text.h"
#include "net/engine/net_program.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// As NumPy calls them; of types that it has not, f32.
std::string npy_type(NumberType type) {
  switch (type) {
    case NumberType::f16:
      return "f2";
    case NumberType::f64:
      return "f8";
    case NumberType::i8:
    case NumberType::i4:
      return "i1";
    case NumberType::u8:
    case NumberType::u4:
      return "u1";
    case NumberType::i16:
      return "i2";
    case NumberType::u16:
      return "u2";
    case NumberType::i32:
      return "i4";
    case NumberType::u32:
      return "u4";
    case NumberType::i64:
      return "i8";
    case NumberType::u64:
      return "u8";
    case NumberType::truth:
      return "b1";
    default:
      return "f4";
  }
}

// By name; empty: the name is not said.
NamedArrays read_arrays(const std::vector<std::string>& files) {
  NamedArrays arrays;
  for (const std::string& file : files) {
    const std::size_t sign = file.find('=');
    const std::string name = sign == std::string::npos ? "" : file.substr(0, sign);
    const std::string path = sign == std::string::npos ? file : file.substr(sign + 1);
    const MappedFile mapped(path);
    if (!is_npz(mapped.bytes())) {
      arrays.emplace_back(name, parse_npy(mapped.bytes(), path));
      continue;
    }
    if (!name.empty())
      throw Error(ErrorKind::invalid_argument, fmt::format("{}: names its arrays itself; leave out {}=", path, name));
    for (auto& array : parse_npz(mapped.bytes(), path)) arrays.push_back(std::move(array));
  }
  return arrays;
}

std::string names_of(const std::vector<NetPort>& ports) {
  std::string text;
  for (const NetPort& port : ports) text += (text.empty() ? "" : ", ") + port.name;
  return text;
}

// The names of inputs before it is known which of them have one given.
std::vector<std::string> unnamed_inputs(const Net& net, const NamedArrays& arrays) {
  std::vector<std::string> left;
  for (const NetPort& input : net.inputs)
    if (std::ranges::find(arrays, input.name, &std::pair<std::string, NpyArray>::first) == arrays.end())
      left.push_back(input.name);
  return left;
}

}  // namespace

NetRun run_net(const std::filesystem::path& path, NetOptions options, const std::vector<std::string>& files,
               NetArithmetic arithmetic, Machine& machine) {
  NetRun run{.outputs = {}, .arithmetic = arithmetic};
  const auto start = std::chrono::steady_clock::now();
  NamedArrays arrays = read_arrays(files);
  for (const auto& [name, array] : arrays)
    if (!name.empty()) options.shapes[name] = array.shape;
  std::vector<std::pair<std::string, NpyArray>*> unnamed;
  for (auto& array : arrays)
    if (array.first.empty()) unnamed.push_back(&array);
  // Which input an array without a name is for, only the net says.
  if (!unnamed.empty()) {
    const std::vector<std::string> names = input_names(path, options);
    std::vector<std::string> left;
    for (const std::string& name : names)
      if (!options.shapes.contains(name)) left.push_back(name);
    if (unnamed.size() != 1 || left.size() != 1)
      throw Error(ErrorKind::unusable_input,
                  fmt::format("{}: has the inputs {}; say which of them a file is for: NAME=FILE", path.string(),
                              fmt::join(names, ", ")));
    unnamed[0]->first = left[0];
    options.shapes[left[0]] = unnamed[0]->second.shape;
  }
  Net net = open_net(path, options);
  if (const std::vector<std::string> left = unnamed_inputs(net, arrays); !left.empty())
    throw Error(ErrorKind::unusable_input, fmt::format("{}: nothing is given for its input {}; its inputs are {}",
                                                       path.string(), quote_name(left[0]), names_of(net.inputs)));
  std::vector<std::vector<float>> given;
  for (const NetPort& input : net.inputs)
    given.push_back(std::ranges::find(arrays, input.name, &std::pair<std::string, NpyArray>::first)->second.numbers);
  for (const NetPort& output : net.outputs)
    run.outputs.emplace_back(output.name,
                             NpyArray{extents_of(net.graph.values[output.value]), {}, npy_type(output.type)});
  std::optional<NetProgram> program;
  if (arithmetic == NetArithmetic::compiled) {
    for (std::size_t i = 0; i < given.size(); ++i) require_input(net, i, given[i].size());
    program.emplace(std::move(net), machine);
    for (std::size_t i = 0; i < given.size(); ++i) std::ranges::copy(given[i], program->input(i).begin());
  }
  run.read_seconds = seconds_since(start);
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::vector<float>> made;
  if (program)
    program->run();
  else
    made = evaluate(net, given, &machine.pool);
  run.run_seconds = seconds_since(begin);
  for (std::size_t i = 0; i < run.outputs.size(); ++i) {
    std::vector<float>& numbers = run.outputs[i].second.numbers;
    if (program)
      numbers.assign(program->output(i).begin(), program->output(i).end());
    else
      numbers = std::move(made[i]);
  }
  return run;
}

void require_array_place(const std::filesystem::path& path) {
  const std::string ending = lower_extension(path);
  if (ending != ".npy" && ending != ".npz")
    throw Error(ErrorKind::invalid_argument, fmt::format("arrays are written as .npy or .npz: {}", path.string()));
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored) || std::filesystem::file_size(path, ignored) == 0) return;
  try {
    const MappedFile file(path);
    is_npz(file.bytes()) ? void(parse_npz(file.bytes(), path.string())) : void(parse_npy(file.bytes(), path.string()));
  } catch (const Error&) {
    throw Error(ErrorKind::io, path.string() + ": exists and holds no arrays; choose another output or remove it");
  }
}

void write_arrays(const std::filesystem::path& path, const NamedArrays& arrays) {
  const std::string ending = lower_extension(path);
  if (ending == ".npy" && arrays.size() != 1)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the net has {} outputs, of which an .npy holds one; write an .npz: {}", arrays.size(),
                            path.string()));
  OutputFile file(path);
  file.write(ending == ".npy" ? serialize_npy(arrays[0].second) : serialize_npz(arrays));
  file.commit();
}

}  // namespace nibble
