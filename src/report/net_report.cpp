// SPDX-License-Identifier: Apache-2.0
#include "report/net_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "report/number_text.h"

namespace nibble {
namespace {

std::string ports_line(const char* title, const std::vector<PortrayedPort>& ports) {
  std::string text;
  for (const PortrayedPort& port : ports)
    text += fmt::format("{}{} {} [{}]", text.empty() ? "" : "; ", port.name, port.type, fmt::join(port.shape, ", "));
  return fmt::format("{}: {}\n", title, text.empty() ? "none" : text);
}

Json to_json(const PortrayedPort& port) { return {{"name", port.name}, {"type", port.type}, {"shape", port.shape}}; }

// Places of the largest numbers, the first one first.
std::vector<std::size_t> largest(const NpyArray& array, std::size_t count) {
  std::vector<std::size_t> places(array.numbers.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  count = std::min(count, places.size());
  std::partial_sort(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(count), places.end(),
                    [&](std::size_t a, std::size_t b) {
                      return array.numbers[a] != array.numbers[b] ? array.numbers[a] > array.numbers[b] : a < b;
                    });
  places.resize(count);
  return places;
}

struct Range {
  double low = 0, high = 0, mean = 0;
};

Range range_of(const NpyArray& array) {
  if (array.numbers.empty()) return {};
  const auto [low, high] = std::ranges::minmax(array.numbers);
  const double sum = std::accumulate(array.numbers.begin(), array.numbers.end(), 0.0);
  return {static_cast<double>(low), static_cast<double>(high), sum / static_cast<double>(array.numbers.size())};
}

}  // namespace

std::string net_headline(const NetPortrait& portrait) {
  std::string text =
      fmt::format("{}, {}: {} parameters, {} multiply-adds, {} operations\n", portrait.container, portrait.written,
                  grouped_text(portrait.parameters), grouped_text(portrait.multiply_adds), portrait.operations.size());
  text += ports_line("inputs", portrait.inputs) + ports_line("outputs", portrait.outputs) + "operations:";
  for (const auto& [kind, count] : portrait.by_kind) text += fmt::format(" {} {}", count, kind);
  if (portrait.not_finite > 0) text += fmt::format("\n{} weights are not finite!", grouped_text(portrait.not_finite));
  return text + "\n";
}

Table operations_table(const NetPortrait& portrait) {
  Table table({{"operation"},
               {"makes"},
               {"shape"},
               {"parameters", Align::right},
               {"multiply-adds", Align::right},
               {"weights from", Align::right},
               {"to", Align::right}});
  for (const PortrayedOperation& one : portrait.operations) {
    std::vector<std::string> cells = {one.operation, one.name, fmt::format("[{}]", fmt::join(one.shape, ", "))};
    if (one.weights.parameters > 0 || one.multiply_adds > 0) {
      cells.push_back(grouped_text(one.weights.parameters));
      cells.push_back(grouped_text(one.multiply_adds));
    }
    if (one.weights.parameters > 0) {
      cells.push_back(significant_text(static_cast<double>(one.weights.low)));
      cells.push_back(significant_text(static_cast<double>(one.weights.high)));
    }
    table.add(std::move(cells));
  }
  return table;
}

Json to_json(const NetPortrait& portrait) {
  Json json = {{"container", portrait.container},
               {"written", portrait.written},
               {"parameters", portrait.parameters},
               {"multiply_adds", portrait.multiply_adds},
               {"not_finite", portrait.not_finite}};
  for (const PortrayedPort& port : portrait.inputs) json["inputs"].push_back(to_json(port));
  for (const PortrayedPort& port : portrait.outputs) json["outputs"].push_back(to_json(port));
  Json& kinds = json["kinds"] = Json::object();
  for (const auto& [kind, count] : portrait.by_kind) kinds[kind] = count;
  Json& list = json["operations"] = Json::array();
  for (const PortrayedOperation& one : portrait.operations) {
    list.push_back({{"operation", one.operation},
                    {"name", one.name},
                    {"inputs", one.inputs},
                    {"shape", one.shape},
                    {"multiply_adds", one.multiply_adds},
                    {"parameters", one.weights.parameters}});
    if (one.weights.parameters == 0) continue;
    list.back()["low"] = one.weights.low;
    list.back()["high"] = one.weights.high;
  }
  return json;
}

Table outputs_table(const NetRun& run) {
  Table table({{"output"},
               {"shape"},
               {"from", Align::right},
               {"to", Align::right},
               {"mean", Align::right},
               {"largest (place: number)"}});
  for (const auto& [name, array] : run.outputs) {
    const Range range = range_of(array);
    std::string places;
    for (const std::size_t place : largest(array, 5))
      places += fmt::format("{}{}: {}", places.empty() ? "" : ", ", place,
                            significant_text(static_cast<double>(array.numbers[place]), 4));
    table.add({name, fmt::format("[{}]", fmt::join(array.shape, ", ")), significant_text(range.low, 4),
               significant_text(range.high, 4), significant_text(range.mean, 4), places});
  }
  return table;
}

std::string run_time_text(double seconds) {
  return seconds < 1e-3 ? fmt::format("{:.1f} us", 1e6 * seconds) : fmt::format("{:.2f} ms", 1e3 * seconds);
}

Table speed_table(const NetSpeed& speed, const std::string& file) {
  const auto time = run_time_text;
  Table table({{"net"},
               {"size", Align::right},
               {"multiply-adds", Align::right},
               {"median", Align::right},
               {"of ten runs nine", Align::right},
               {"load", Align::right},
               {"first run", Align::right},
               {speed.limit > 0 ? "of the limit" : "", Align::right}});
  table.add({file, bytes_text(speed.file_bytes), grouped_text(speed.multiply_adds), time(speed.median),
             fmt::format("{} to {}", time(speed.low), time(speed.high)), time(speed.load_seconds),
             time(speed.first_run_seconds),
             speed.limit > 0 ? fmt::format("{} of {}", percent_text(speed.operations_per_second() / speed.limit),
                                           speed.multiplies_codes ? "int8" : "f32")
                             : ""});
  return table;
}

Json to_json(const NetSpeed& speed) {
  Json steps = Json::object();
  for (const auto& [name, count] : speed.steps) steps[name] = count;
  Json json = {{"parameters", speed.parameters},
               {"multiply_adds", speed.multiply_adds},
               {"bytes", speed.file_bytes},
               {"value_bytes", speed.value_bytes},
               {"load_seconds", speed.load_seconds},
               {"first_run_seconds", speed.first_run_seconds},
               {"runs", speed.samples.size()},
               {"median_seconds", speed.median},
               {"low_seconds", speed.low},
               {"high_seconds", speed.high},
               {"arithmetic", speed.multiplies_codes ? "int8" : "f32"},
               {"operations_per_second", speed.operations_per_second()},
               {"steps", std::move(steps)}};
  if (speed.limit > 0) {
    json["limit_operations_per_second"] = speed.limit;
    json["share_of_limit"] = speed.operations_per_second() / speed.limit;
  }
  return json;
}

Json to_json(const NetRun& run) {
  Json json = {{"arithmetic", run.arithmetic == NetArithmetic::reference ? "reference" : "compiled"},
               {"read_seconds", run.read_seconds},
               {"run_seconds", run.run_seconds}};
  Json& list = json["outputs"] = Json::array();
  for (const auto& [name, array] : run.outputs) {
    const Range range = range_of(array);
    Json places = Json::array();
    for (const std::size_t place : largest(array, 5))
      places.push_back({{"place", place}, {"number", array.numbers[place]}});
    list.push_back({{"name", name},
                    {"shape", array.shape},
                    {"type", array.type},
                    {"low", range.low},
                    {"high", range.high},
                    {"mean", range.mean},
                    {"largest", std::move(places)}});
  }
  return json;
}

}  // namespace nibble
