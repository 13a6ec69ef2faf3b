// SPDX-License-Identifier: Apache-2.0
#include "base/energy_meter.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/platform.h"
#include "nibble/error.h"

#if NIBBLE_LINUX
#include <linux/perf_event.h>
#include <sys/syscall.h>
#endif

namespace nibble {
namespace {

namespace fs = std::filesystem;

constexpr double kMicro = 1e-6;

// A line of a file; none with errno where it cannot be read.
std::optional<std::string> line_of(const fs::path& path) {
  errno = 0;
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line)) {
    if (errno == 0) errno = EIO;
    return std::nullopt;
  }
  return line;
}

std::optional<std::uint64_t> number_of(const fs::path& path) {
  const std::optional<std::string> line = line_of(path);
  if (!line) return std::nullopt;
  char* end = nullptr;
  const std::uint64_t value = std::strtoull(line->c_str(), &end, 10);
  if (end != line->c_str()) return value;
  errno = EINVAL;
  return std::nullopt;
}

[[noreturn]] void lost(const std::string& name, const fs::path& path) {
  throw Error(ErrorKind::io, "the energy of " + name + " can no longer be read: " + path.string());
}

// Names in a directory, ascending; none where there is no such one.
std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code failure;
  for (fs::directory_iterator at(directory, failure), end; !failure && at != end; at.increment(failure))
    found.push_back(at->path());
  std::ranges::sort(found);
  return found;
}

class CounterFile final : public EnergyDomain {
 public:
  // In microjoules, from 0 to range and from 0 again; range 0: it does not wrap.
  CounterFile(std::string name, fs::path path, std::uint64_t range)
      : EnergyDomain(std::move(name)), path_(std::move(path)), range_(range) {}
  double more(double) override {
    const std::optional<std::uint64_t> value = number_of(path_);
    if (!value) lost(name(), path_);
    const std::uint64_t last = std::exchange(last_, *value).value_or(*value);
    if (*value >= last) return kMicro * static_cast<double>(*value - last);
    if (range_ < last) lost(name(), path_);  // it went back, and not by its range
    return kMicro * static_cast<double>(range_ - last + *value);
  }

 private:
  fs::path path_;
  std::uint64_t range_;
  std::optional<std::uint64_t> last_;
};

class PerfCounter final : public EnergyDomain {
 public:
  PerfCounter(std::string name, int descriptor, double joules)
      : EnergyDomain(std::move(name)), descriptor_(descriptor), joules_(joules) {}
  ~PerfCounter() override { close(descriptor_); }
  PerfCounter(const PerfCounter&) = delete;
  PerfCounter& operator=(const PerfCounter&) = delete;
  double more(double) override {
    std::uint64_t value = 0;
    if (read(descriptor_, &value, sizeof value) != sizeof value) lost(name(), "perf_event");
    const std::uint64_t last = std::exchange(last_, value).value_or(value);
    return joules_ * static_cast<double>(value - last);
  }

 private:
  int descriptor_;
  double joules_;  // of a count
  std::optional<std::uint64_t> last_;
};

// Watts from one file in microwatts, or from two in microvolts and microamperes.
class PowerFile final : public EnergyDomain {
 public:
  PowerFile(std::string name, std::vector<fs::path> factors)
      : EnergyDomain(std::move(name)), factors_(std::move(factors)) {}
  double more(double seconds) override {
    double watts = 1;
    for (const fs::path& path : factors_) {
      const std::optional<std::uint64_t> value = number_of(path);
      if (!value) lost(name(), path);
      watts *= kMicro * static_cast<double>(*value);
    }
    const auto [then, before] = std::exchange(last_, std::pair(seconds, watts)).value_or(std::pair(seconds, watts));
    return (watts + before) / 2 * (seconds - then);
  }

 private:
  std::vector<fs::path> factors_;
  std::optional<std::pair<double, double>> last_;
};

using Domains = std::vector<std::unique_ptr<EnergyDomain>>;

// What a kind of source found: domains, or why there are none.
struct Found {
  Domains domains;
  std::string obstacle{};
};

Found refused(const fs::path& path, const std::string& remedy) {
  return {{}, path.string() + ": " + std::strerror(errno) + (errno == EACCES || errno == EPERM ? "; " + remedy : "")};
}

// Packages and the memory beside them; what lies within a package (core, uncore) is in it already, and what holds them
// (psys) counts where there are none.
Found powercap(const fs::path& root) {
  const fs::path folder = root / "sys/class/powercap";
  struct Zone {
    std::string name;
    fs::path path;
  };
  std::vector<Zone> packages, memories, platforms;
  for (const fs::path& path : entries(folder)) {
    constexpr std::string_view kPrefix = "intel-rapl:";  // of AMD's, too
    const std::string id = path.filename().string();
    if (!id.starts_with(kPrefix)) continue;
    const std::string name = line_of(path / "name").value_or("");
    const std::string parent = line_of(folder / id.substr(0, id.rfind(':')) / "name").value_or("");
    if (name.starts_with("package")) packages.push_back({name, path});
    if (name == "dram") memories.push_back({parent + " dram", path});
    if (name == "psys") platforms.push_back({name, path});
  }
  if (packages.empty()) packages = platforms;
  if (packages.empty())
    return {{},
            folder.string() + ": no RAPL zones; the processor has none, or the module intel_rapl_msr is not loaded"};
  packages.insert(packages.end(), memories.begin(), memories.end());
  Found found;
  for (const Zone& zone : packages) {
    const fs::path counter = zone.path / "energy_uj";
    if (!number_of(counter))
      return refused(counter, "root may, and others after: sudo chmod -R a+r " + (folder / "intel-rapl:*/").string());
    found.domains.push_back(
        std::make_unique<CounterFile>(zone.name, counter, number_of(zone.path / "max_energy_range_uj").value_or(0)));
  }
  return found;
}

#if NIBBLE_LINUX
int open_perf(std::uint32_t type, std::uint64_t config, int cpu) {
  perf_event_attr event{};
  event.type = type;
  event.size = sizeof event;
  event.config = config;
  return static_cast<int>(syscall(SYS_perf_event_open, &event, -1, cpu, -1, 0));
}
#else
int open_perf(std::uint32_t, std::uint64_t, int) {
  errno = ENOSYS;
  return -1;
}
#endif

// "0,28" or "0-1": a processor of each package.
std::vector<int> processors_of(const std::string& list) {
  std::vector<int> found;
  for (const char* at = list.c_str(); *at != '\0';) {
    char* end = nullptr;
    const long first = std::strtol(at, &end, 10);
    if (end == at) break;
    const long last = *end == '-' ? std::strtol(end + 1, &end, 10) : first;
    for (long cpu = first; cpu <= last && cpu - first < 4096; ++cpu) found.push_back(static_cast<int>(cpu));
    at = *end == ',' ? end + 1 : end;
    if (*end != ',') break;
  }
  return found;
}

Found perf(const fs::path& root) {
  const fs::path folder = root / "sys/bus/event_source/devices/power";
  const std::optional<std::uint64_t> type = number_of(folder / "type");
  const std::vector<int> processors = processors_of(line_of(folder / "cpumask").value_or(""));
  if (!type || processors.empty()) return {{}, folder.string() + ": perf has no counters of energy"};
  Found found;
  for (const char* const event : {"energy-pkg", "energy-ram"}) {
    const fs::path path = folder / "events" / event;
    const std::string config = line_of(path).value_or("");  // "event=0x02"
    const std::string scale = line_of(path.string() + ".scale").value_or("");
    const std::size_t mark = config.find("event=");
    if (mark == std::string::npos || scale.empty()) continue;
    for (const int cpu : processors) {
      const int descriptor =
          open_perf(static_cast<std::uint32_t>(*type), std::strtoull(config.c_str() + mark + 6, nullptr, 0), cpu);
      if (descriptor < 0) return refused(path, "root may, and others after: sudo sysctl kernel.perf_event_paranoid=0");
      found.domains.push_back(std::make_unique<PerfCounter>(event + (" of processor " + std::to_string(cpu)),
                                                            descriptor, std::strtod(scale.c_str(), nullptr)));
    }
  }
  if (found.domains.empty()) found.obstacle = folder.string() + ": perf has no counters of energy";
  return found;
}

// Counters of sockets, or what the power supply is asked for. Sensors of parts (a disk, a graphics card) are not taken.
Found sensors(const fs::path& root) {
  const fs::path folder = root / "sys/class/hwmon";
  Found sockets, machine;
  for (const fs::path& sensor : entries(folder)) {
    const std::string name = line_of(sensor / "name").value_or("");
    for (const fs::path& path : entries(sensor)) {
      const std::string file = path.filename().string();
      if (name == "amd_energy" && file.starts_with("energy") && file.ends_with("_input")) {
        const std::string label = line_of(sensor / (file.substr(0, file.find('_')) + "_label")).value_or("");
        if (!label.starts_with("Esocket")) continue;
        if (!number_of(path)) return refused(path, "root may, and others after: sudo chmod a+r " + path.string());
        sockets.domains.push_back(std::make_unique<CounterFile>(label.substr(1), path, 0));
      }
      if (name == "power_meter" && file.starts_with("power") && file.ends_with("_average")) {
        if (!number_of(path)) return refused(path, "root may, and others after: sudo chmod a+r " + path.string());
        machine.domains.push_back(std::make_unique<PowerFile>("machine", std::vector{path}));
      }
    }
  }
  if (!sockets.domains.empty()) return sockets;
  if (machine.domains.empty()) machine.obstacle = folder.string() + ": no sensor of the processor or of the machine";
  return machine;
}

Found battery(const fs::path& root) {
  const fs::path folder = root / "sys/class/power_supply";
  Found found{{}, folder.string() + ": no battery"};
  for (const fs::path& supply : entries(folder)) {
    if (line_of(supply / "type").value_or("") != "Battery" || line_of(supply / "scope").value_or("") == "Device")
      continue;
    const std::string status = line_of(supply / "status").value_or("unknown");
    if (status != "Discharging") {
      found.obstacle = supply.string() + ": the battery is not being emptied (" + status + "); unplug the machine";
      continue;
    }
    std::vector<fs::path> factors = {supply / "power_now"};
    if (!number_of(factors.front())) factors = {supply / "voltage_now", supply / "current_now"};
    if (std::ranges::any_of(factors, [](const fs::path& path) { return !number_of(path); })) {
      found.obstacle = supply.string() + ": the battery does not tell its power";
      continue;
    }
    found.domains.push_back(std::make_unique<PowerFile>(supply.filename().string(), std::move(factors)));
  }
  return found;
}

bool is_virtual(const fs::path& root) {
  std::ifstream file(root / "proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("flags")) return (line + " ").find(" hypervisor ") != std::string::npos;
  return false;
}

}  // namespace

EnergyMeter::EnergyMeter(const fs::path& root) {
  struct Kind {
    const char* name;
    Found (*look)(const fs::path& root);
  };
  for (const Kind& kind : {Kind{"RAPL (powercap)", powercap}, Kind{"RAPL (perf)", perf}, Kind{"hwmon", sensors},
                           Kind{"battery", battery}}) {
    Found found = kind.look(root);
    if (!found.domains.empty()) {
      source_ = kind.name;
      domains_ = std::move(found.domains);
      return;
    }
    obstacles_.push_back(std::string(kind.name) + ": " + found.obstacle);
  }
  if (is_virtual(root))
    obstacles_.emplace_back("this is a virtual machine, which is seldom given the counters; its host can be measured");
}

std::vector<std::string> EnergyMeter::domains() const {
  std::vector<std::string> names;
  for (const auto& domain : domains_) names.push_back(domain->name());
  return names;
}

double EnergyMeter::joules(double seconds) {
  for (const auto& domain : domains_) joules_ += domain->more(seconds);
  return joules_;
}

// --- EnergyRecorder --------------------------------------------------------------------------------------------------

EnergyRecorder::EnergyRecorder(EnergyMeter& meter) : meter_(meter) {
  meter_.joules(now());
  thread_ = std::thread([this] { work(); });
}

EnergyRecorder::~EnergyRecorder() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  ends_changed_.notify_all();
  thread_.join();
}

double EnergyRecorder::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

// What cannot be read here, cannot be read by who asks, and is told there.
void EnergyRecorder::work() {
  constexpr std::chrono::milliseconds kEvery{100};
  std::unique_lock lock(mutex_);
  while (!ends_changed_.wait_for(lock, kEvery, [this] { return ends_; })) {
    try {
      meter_.joules(now());
    } catch (const Error&) {
      return;
    }
  }
}

double EnergyRecorder::joules() {
  const std::lock_guard lock(mutex_);
  return meter_.joules(now());
}

double EnergyRecorder::mean_watts(std::chrono::milliseconds time) {
  const double begin = now(), before = joules();
  std::this_thread::sleep_for(time);
  const double after = joules();
  return (after - before) / (now() - begin);
}

}  // namespace nibble
