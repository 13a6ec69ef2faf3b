// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/net_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "io/message_text.h"
#include "io/npy/npy_file.h"
#include "net/onnx/onnx_net.h"
#include "nibble/error.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  throw Error(ErrorKind::unusable_input, fmt::format("{}: {}", where, why), "samples");
}

class SampleReader {
 public:
  explicit SampleReader(const Net& net) : net_(net) {}

  void read(const std::string& place) {
    const std::size_t sign = place.find('=');
    const bool is_named = sign != std::string::npos && !fs::exists(place);
    const fs::path path = is_named ? place.substr(sign + 1) : place;
    std::error_code ignored;
    if (fs::is_directory(path, ignored)) return read_directory(path);
    read_file(path, is_named ? place.substr(0, sign) : "");
  }

  std::vector<NetSample> take() {
    if (!pending_.empty()) finish("the files that were given");
    return std::move(samples_);
  }

 private:
  static std::vector<fs::path> listed(const fs::path& directory) {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(directory)) paths.push_back(entry.path());
    std::ranges::sort(paths);
    return paths;
  }

  void read_directory(const fs::path& directory) {
    const std::size_t before = samples_.size();
    const std::vector<fs::path> paths = listed(directory);
    if (fs::exists(directory / "input_0.pb")) return read_test_data(directory);
    for (const fs::path& path : paths) {
      const std::string ending = lower_extension(path);
      if (fs::is_directory(path) && fs::exists(path / "input_0.pb")) read_test_data(path);
      if (ending == ".npy" || ending == ".npz") read_file(path, "");
    }
    if (samples_.size() == before)
      refuse(directory.string(), "holds no samples: neither .npy nor .npz files, nor input_0.pb of ONNX's test data");
  }

  void read_test_data(const fs::path& directory) {
    for (std::size_t i = 0; i < net_.inputs.size(); ++i) {
      const fs::path path = directory / fmt::format("input_{}.pb", i);
      const MappedFile file(path);
      const NetConstant tensor = read_onnx_tensor(file.bytes(), path);
      add(net_.inputs[i].name, {tensor.extents, NetPen::numbers_of_constant(tensor)}, path.string());
    }
    finish(directory.string());
  }

  void read_file(const fs::path& path, const std::string& name) {
    const MappedFile file(path);
    if (is_npz(file.bytes())) {
      for (auto& [key, array] : parse_npz(file.bytes(), path.string()))
        add(key, std::move(array), fmt::format("{}: {}", path.string(), quote_name(key)));
      return finish(path.string());
    }
    if (name.empty() && net_.inputs.size() != 1)
      refuse(path.string(), fmt::format("the net has the inputs {}; say which one this is for, NAME=FILE, or give an "
                                        ".npz of all",
                                        names_of_inputs()));
    add(name.empty() ? net_.inputs[0].name : name, parse_npy(file.bytes(), path.string()), path.string());
    if (net_.inputs.size() == 1 || pending_.size() == net_.inputs.size()) finish(path.string());
  }

  std::string names_of_inputs() const {
    std::string text;
    for (const NetPort& input : net_.inputs) text += (text.empty() ? "" : ", ") + input.name;
    return text;
  }

  void add(const std::string& name, NpyArray array, const std::string& where) {
    const auto input = std::ranges::find(net_.inputs, name, &NetPort::name);
    if (input == net_.inputs.end())
      refuse(where, fmt::format("the net has no input {}; its inputs are {}", quote_name(name), names_of_inputs()));
    const Extents wanted = extents_of(net_.graph.values[input->value]);
    const std::uint64_t numbers = numbers_of(std::span(wanted));
    const Extents given(array.shape.begin(), array.shape.end());
    // [n, *shape]; [n, *rest] where the batch is 1; the shape itself, with or without a batch of 1.
    const auto is_tail = [&](const Extents& tail) {
      return given.size() >= tail.size() && given.size() <= tail.size() + 1 &&
             std::equal(tail.rbegin(), tail.rend(), given.rbegin());
    };
    const Extents rest = !wanted.empty() && wanted[0] == 1 ? Extents(wanted.begin() + 1, wanted.end()) : wanted;
    if (numbers == 0 || (!is_tail(wanted) && !is_tail(rest)))
      refuse(where, fmt::format("should be samples of [{}], with their number in front: [{}]", fmt::join(wanted, ", "),
                                fmt::join(given, ", ")));
    const auto bad = std::ranges::find_if(array.numbers, [](float x) { return !std::isfinite(x); });
    if (bad != array.numbers.end()) refuse(where, fmt::format("number {} is not finite", bad - array.numbers.begin()));
    std::vector<std::vector<float>>& rows = pending_[input->value];
    for (std::size_t first = 0; first + numbers <= array.numbers.size(); first += numbers)
      rows.emplace_back(array.numbers.begin() + static_cast<std::ptrdiff_t>(first),
                        array.numbers.begin() + static_cast<std::ptrdiff_t>(first + numbers));
  }

  void finish(const std::string& where) {
    std::size_t count = 0;
    for (const auto& [value, rows] : pending_) count = std::max(count, rows.size());
    for (const NetPort& input : net_.inputs) {
      const auto rows = pending_.find(input.value);
      if (rows == pending_.end())
        refuse(where, fmt::format("nothing is given for the net's input {}", quote_name(input.name)));
      if (rows->second.size() != count)
        refuse(where, fmt::format("{} samples of {} stand beside {} of another input", rows->second.size(),
                                  quote_name(input.name), count));
    }
    for (std::size_t i = 0; i < count; ++i) {
      NetSample& sample = samples_.emplace_back();
      for (const NetPort& input : net_.inputs) sample.push_back(std::move(pending_.at(input.value)[i]));
    }
    pending_.clear();
  }

  const Net& net_;
  std::vector<NetSample> samples_;
  std::map<ValueId, std::vector<std::vector<float>>> pending_;
};

struct InputRange {
  const char* told;
  float low, high;
  bool is_normal;  // of mean low and deviation high
};
constexpr InputRange kRanges[] = {{"between -1 and 1", -1, 1, false},
                                  {"between 0 and 1", 0, 1, false},
                                  {"between 0 and 255", 0, 255, false},
                                  {"between -128 and 127", -128, 127, false},
                                  {"normal, of deviation 1", 0, 1, true}};

std::vector<NetSample> random_samples(const Net& net, const InputRange& range, std::size_t count, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::uniform_real_distribution<float> uniform(range.low, range.high);
  std::normal_distribution<float> normal(range.low, range.high);
  std::vector<NetSample> samples(count);
  for (NetSample& sample : samples)
    for (const NetPort& input : net.inputs) {
      std::vector<float>& numbers = sample.emplace_back(numbers_of(net.graph.values[input.value]));
      const bool is_whole = !is_floating(input.type);
      for (float& x : numbers) {
        x = range.is_normal ? normal(generator) : uniform(generator);
        if (!is_whole) continue;
        const WholeRange whole = whole_range(input.type);
        x = static_cast<float>(std::clamp<double>(std::nearbyint(x), whole.low, whole.high));
      }
    }
  return samples;
}

// How far channels before norms are from what the norms have stored, in deviations; infinite where there are none.
double distance_from_norms(const Net& net, std::span<const NetSample> samples, Machine& machine) {
  std::map<ValueId, const BatchNorm*> norms;
  for (const Node& node : net.graph.nodes)
    if (const auto* const norm = std::get_if<BatchNorm>(&node.operation)) norms.emplace(node.inputs[0], norm);
  if (norms.empty()) return std::numeric_limits<double>::infinity();
  double distance = 0;
  std::size_t channels_seen = 0;
  const auto see = [&](ValueId value, SampleValues& made) {
    const auto found = norms.find(value);
    if (found == norms.end()) return;
    const std::span<const float> mean = net.weight(found->second->part + ".mean"),
                                 variance = net.weight(found->second->part + ".variance");
    const std::size_t channels = mean.size(), plane = made[0].size() / channels;
    std::vector<double> sums(channels, 0), squares(channels, 0);
    for (const std::vector<float>& sample : made)
      for (std::size_t i = 0; i < sample.size(); ++i) {
        const double x = static_cast<double>(sample[i]);
        sums[i / plane % channels] += x;
        squares[i / plane % channels] += x * x;
      }
    const double count = static_cast<double>(made.size() * made[0].size() / channels);
    for (std::size_t c = 0; c < channels; ++c) {
      const double is = sums[c] / count, spread = std::sqrt(std::max(0.0, squares[c] / count - is * is));
      const double deviation = std::sqrt(static_cast<double>(variance[c])) + 1e-6;
      distance +=
          std::abs(is - static_cast<double>(mean[c])) / deviation + std::abs(std::log((spread + 1e-6) / deviation));
    }
    channels_seen += channels;
  };
  walk_samples(net, samples, machine, {.see = see});
  return distance / static_cast<double>(std::max<std::size_t>(1, channels_seen));
}

}  // namespace

std::vector<NetSample> read_samples(const Net& net, const std::vector<std::string>& places, std::size_t most) {
  SampleReader reader(net);
  for (const std::string& place : places) reader.read(place);
  std::vector<NetSample> all = reader.take();
  if (all.size() <= most) return all;
  std::vector<NetSample> some;
  for (std::size_t i = 0; i < most; ++i) some.push_back(std::move(all[i * all.size() / most]));
  return some;
}

std::vector<NetSample> make_samples(const Net& net, std::size_t count, std::uint64_t seed, Machine& machine,
                                    std::string& told) {
  const InputRange* best = &kRanges[0];
  double least = std::numeric_limits<double>::infinity();
  for (const InputRange& range : kRanges) {
    const double distance = distance_from_norms(net, random_samples(net, range, 4, seed), machine);
    if (distance >= least) continue;
    least = distance;
    best = &range;
  }
  told = best->told;
  if (!std::isfinite(least)) told += " (it has no norms that would say what it was trained on)";
  return random_samples(net, *best, count, seed);
}

}  // namespace nibble
