// SPDX-License-Identifier: Apache-2.0
//
// The energy that this machine says it has used. Only what is measured counts: the processor's own counters (RAPL, by
// powercap or by perf), a sensor of the whole machine, a battery that is being emptied. One kind at a time, the first
// of these that can be read, since they hold each other.
//
//   EnergyMeter meter;
//   if (meter.source().empty()) print(meter.obstacles());
//   EnergyRecorder recorder(meter);
//   const double idle = recorder.mean_watts(std::chrono::seconds(1));
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace nibble {

// A part of the machine that is measured by itself.
class EnergyDomain {
 public:
  explicit EnergyDomain(std::string name) : name_(std::move(name)) {}
  virtual ~EnergyDomain() = default;
  const std::string& name() const noexcept { return name_; }
  // Joules since the last call; 0 at the first. seconds: a clock's. Error(io) where it can no longer be read.
  virtual double more(double seconds) = 0;

 private:
  std::string name_;
};

class EnergyMeter {
 public:
  // root: where sys/ and proc/ lie, in a container perhaps elsewhere.
  explicit EnergyMeter(const std::filesystem::path& root = "/");

  // "RAPL (powercap)"; empty where nothing can be measured.
  const std::string& source() const noexcept { return source_; }
  std::vector<std::string> domains() const;  // "package-0", "package-0 dram"
  // A line for each kind before that one: why it cannot be read, and what permits it.
  const std::vector<std::string>& obstacles() const noexcept { return obstacles_; }

  // Joules since the first call. Counters that wrap may do so once between two calls; powers are taken to change
  // evenly from one call to the next.
  double joules(double seconds);

 private:
  std::string source_;
  std::vector<std::unique_ptr<EnergyDomain>> domains_;
  std::vector<std::string> obstacles_;
  double joules_ = 0;
};

// Asks a meter often enough, by a thread of its own. Safe from many threads.
class EnergyRecorder {
 public:
  // The meter must outlive this, have a source, and is used by nobody else.
  explicit EnergyRecorder(EnergyMeter& meter);
  ~EnergyRecorder();

  double joules();  // from the beginning to now; Error(io) where it can no longer be read
  // Over that time from now.
  double mean_watts(std::chrono::milliseconds time);

 private:
  double now() const;
  void work();

  EnergyMeter& meter_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
  std::condition_variable ends_changed_;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace nibble
