// SPDX-License-Identifier: Apache-2.0
//
// On trees that look like machines: what is counted, what is left out, counters that wrap, files that may not be read.
#include "base/energy_meter.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/error_kind.h"
#include "base/scratch_directory.h"
#include "nibble/error.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

class EnergyTree : public testing::Test {
 protected:
  void put(const std::string& path, const std::string& text) {
    fs::create_directories((scratch / path).parent_path());
    std::ofstream(scratch / path) << text << '\n';
  }
  void zone(const std::string& id, const std::string& name, std::uint64_t microjoules,
            std::uint64_t range = 262'143'328'850) {
    put(kZones + id + "/name", name);
    put(kZones + id + "/energy_uj", std::to_string(microjoules));
    put(kZones + id + "/max_energy_range_uj", std::to_string(range));
  }
  fs::path root() const { return scratch / "."; }

  const std::string kZones = "sys/class/powercap/";
  ScratchDirectory scratch;
};

// Two packages, of which one has memory beside it; core and uncore are parts of a package, psys and mmio are the same
// energy once more.
TEST_F(EnergyTree, PackagesAndMemoryOfRaplAreCountedOnce) {
  zone("intel-rapl:0", "package-0", 1'000'000);
  zone("intel-rapl:0:0", "core", 500);
  zone("intel-rapl:0:1", "uncore", 500);
  zone("intel-rapl:0:2", "dram", 2'000'000);
  zone("intel-rapl:1", "package-1", 3'000'000);
  zone("intel-rapl:2", "psys", 9'000'000);
  zone("intel-rapl-mmio:0", "package-0", 1'000'000);
  EnergyMeter meter(root());
  EXPECT_EQ(meter.source(), "RAPL (powercap)");
  EXPECT_EQ(meter.domains(), (std::vector<std::string>{"package-0", "package-1", "package-0 dram"}));
  EXPECT_TRUE(meter.obstacles().empty());
  EXPECT_EQ(meter.joules(0), 0);
  zone("intel-rapl:0", "package-0", 5'000'000);
  zone("intel-rapl:0:0", "core", 3'000'000);
  zone("intel-rapl:0:2", "dram", 2'500'000);
  zone("intel-rapl:1", "package-1", 4'000'000);
  zone("intel-rapl:2", "psys", 90'000'000);
  EXPECT_DOUBLE_EQ(meter.joules(1), 4 + 0.5 + 1);
  EXPECT_DOUBLE_EQ(meter.joules(2), 5.5);
}

TEST_F(EnergyTree, WhereThereAreNoPackagesThePlatformCounts) {
  zone("intel-rapl:0", "psys", 0);
  EnergyMeter meter(root());
  EXPECT_EQ(meter.domains(), std::vector<std::string>{"psys"});
}

TEST_F(EnergyTree, CountersWrapAtTheirRange) {
  zone("intel-rapl:0", "package-0", 9'000'000, 10'000'000);
  EnergyMeter meter(root());
  meter.joules(0);
  zone("intel-rapl:0", "package-0", 2'000'000, 10'000'000);
  EXPECT_DOUBLE_EQ(meter.joules(1), 3);
  zone("intel-rapl:0", "package-0", 1'000'000, 10'000'000);  // nearly once around
  EXPECT_DOUBLE_EQ(meter.joules(2), 3 + 9);
}

// That is no wrap: another value than was measured would be made up.
TEST_F(EnergyTree, ACounterThatGoesBackOrIsGoneIsAnError) {
  zone("intel-rapl:0", "package-0", 9'000'000, 0);
  EnergyMeter meter(root());
  meter.joules(0);
  zone("intel-rapl:0", "package-0", 8'000'000, 0);
  EXPECT_EQ(kind_of([&] { meter.joules(1); }), ErrorKind::io);
  put(kZones + "intel-rapl:0/energy_uj", "none");
  EXPECT_EQ(kind_of([&] { meter.joules(2); }), ErrorKind::io);
}

TEST_F(EnergyTree, WhatMayNotBeReadIsNamedWithWhatPermitsIt) {
  zone("intel-rapl:0", "package-0", 0);
  zone("intel-rapl:1", "package-1", 0);
  const fs::path counter = root() / kZones / "intel-rapl:1/energy_uj";
  fs::permissions(counter, fs::perms::none);
  const bool is_root = geteuid() == 0;  // who may read all
  if (is_root) {
    fs::permissions(scratch / "", fs::perms::all);
    ASSERT_EQ(seteuid(65534), 0);
  }
  const EnergyMeter meter(root());
  if (is_root) {
    ASSERT_EQ(seteuid(0), 0);
  }
  EXPECT_EQ(meter.source(), "");  // half the machine is not the machine
  ASSERT_EQ(meter.obstacles().size(), 4u);
  const std::string& told = meter.obstacles()[0];
  EXPECT_NE(told.find("intel-rapl:1/energy_uj: Permission denied"), std::string::npos) << told;
  EXPECT_NE(told.find("sudo chmod"), std::string::npos) << told;
}

TEST_F(EnergyTree, NothingIsMadeUpWhereNothingIsMeasured) {
  put("proc/cpuinfo", "processor : 0\nflags\t\t: fpu sse hypervisor avx\n");
  put("sys/class/hwmon/hwmon0/name", "nvme");
  put("sys/class/hwmon/hwmon0/power1_average", "5000000");
  put("sys/class/hwmon/hwmon1/name", "amdgpu");
  put("sys/class/hwmon/hwmon1/power1_average", "50000000");
  put("sys/class/power_supply/AC/type", "Mains");
  put("sys/class/power_supply/mouse/type", "Battery");
  put("sys/class/power_supply/mouse/scope", "Device");
  put("sys/class/power_supply/mouse/status", "Discharging");
  put("sys/class/power_supply/mouse/power_now", "1000");
  EnergyMeter meter(root());
  EXPECT_EQ(meter.source(), "");
  EXPECT_TRUE(meter.domains().empty());
  ASSERT_EQ(meter.obstacles().size(), 5u);
  for (std::size_t i = 0; i < 4; ++i) {
    const std::vector<std::string> kinds = {"RAPL (powercap): ", "RAPL (perf): ", "hwmon: ", "battery: "};
    EXPECT_TRUE(meter.obstacles()[i].starts_with(kinds[i])) << meter.obstacles()[i];
  }
  EXPECT_NE(meter.obstacles()[4].find("virtual machine"), std::string::npos);
  EXPECT_EQ(meter.joules(5), 0);
}

// No kernel has such a source of events.
TEST_F(EnergyTree, WhatPerfRefusesIsTold) {
  const std::string folder = "sys/bus/event_source/devices/power/";
  put(folder + "type", "4000000000");
  put(folder + "cpumask", "0");
  put(folder + "events/energy-pkg", "event=0x02");
  put(folder + "events/energy-pkg.scale", "2.3283064365386962890625e-10");
  const EnergyMeter meter(root());
  EXPECT_EQ(meter.source(), "");
  EXPECT_NE(meter.obstacles()[1].find("energy-pkg: "), std::string::npos) << meter.obstacles()[1];
}

TEST_F(EnergyTree, CountersOfSocketsGoBeforeTheMachine) {
  put("sys/class/hwmon/hwmon0/name", "power_meter");
  put("sys/class/hwmon/hwmon0/power1_average", "100000000");
  {
    EnergyMeter meter(root());
    EXPECT_EQ(meter.source(), "hwmon");
    EXPECT_EQ(meter.domains(), std::vector<std::string>{"machine"});
    EXPECT_EQ(meter.obstacles().size(), 2u);
    EXPECT_EQ(meter.joules(10), 0);
    put("sys/class/hwmon/hwmon0/power1_average", "200000000");
    EXPECT_DOUBLE_EQ(meter.joules(12), 300);  // 150 W for 2 s
  }
  put("sys/class/hwmon/hwmon1/name", "amd_energy");
  for (int i = 1; i <= 3; ++i) put("sys/class/hwmon/hwmon1/energy" + std::to_string(i) + "_input", "1000000");
  put("sys/class/hwmon/hwmon1/energy1_label", "Ecore000");
  put("sys/class/hwmon/hwmon1/energy2_label", "Esocket0");
  put("sys/class/hwmon/hwmon1/energy3_label", "Esocket1");
  EnergyMeter meter(root());
  EXPECT_EQ(meter.domains(), (std::vector<std::string>{"socket0", "socket1"}));
  meter.joules(0);
  put("sys/class/hwmon/hwmon1/energy3_input", "4000000");
  EXPECT_DOUBLE_EQ(meter.joules(1), 3);
}

TEST_F(EnergyTree, ABatteryCountsWhileItIsEmptied) {
  const std::string folder = "sys/class/power_supply/BAT0/";
  put(folder + "type", "Battery");
  put(folder + "status", "Charging");
  put(folder + "voltage_now", "12000000");
  put(folder + "current_now", "2000000");
  {
    const EnergyMeter plugged(root());
    EXPECT_EQ(plugged.source(), "");
    EXPECT_NE(plugged.obstacles()[3].find("unplug"), std::string::npos);
  }
  put(folder + "status", "Discharging");
  EnergyMeter meter(root());
  EXPECT_EQ(meter.source(), "battery");
  meter.joules(0);
  EXPECT_DOUBLE_EQ(meter.joules(2), 48);  // 12 V, 2 A
  put(folder + "power_now", "30000000");
  EnergyMeter direct(root());
  direct.joules(0);
  EXPECT_DOUBLE_EQ(direct.joules(1), 30);
}

TEST_F(EnergyTree, ARecorderAsksByItself) {
  zone("intel-rapl:0", "package-0", 0);
  EnergyMeter meter(root());
  EnergyRecorder recorder(meter);
  EXPECT_EQ(recorder.joules(), 0);
  EXPECT_EQ(recorder.mean_watts(std::chrono::milliseconds(1)), 0);
  zone("intel-rapl:0", "package-0", 7'000'000);
  EXPECT_DOUBLE_EQ(recorder.joules(), 7);
}

}  // namespace
}  // namespace nibble
