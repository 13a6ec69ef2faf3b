// SPDX-License-Identifier: Apache-2.0
//
// aarch64: the system says what there is, as programs may not ask the processor itself.
#include <cstdint>
#include <string>

#include "base/cpu.h"
#include "base/platform.h"

#if NIBBLE_LINUX
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif NIBBLE_APPLE
#include <sys/sysctl.h>
#elif NIBBLE_WINDOWS
#include <windows.h>
#endif

namespace nibble {

#if NIBBLE_LINUX

namespace {

// The system answers reads of this register in a processor's place (Linux,
// Documentation/arch/arm64/cpu-feature-registers.rst).
std::uint64_t main_id_register() {
  std::uint64_t value;
  __asm__("mrs %0, MIDR_EL1" : "=r"(value));
  return value;
}

// Arm Architecture Reference Manual, MIDR_EL1: bits 31-24 the implementer, 15-4 the part.
struct Part {
  unsigned implementer, part;
  const char* name;
};
constexpr Part kParts[] = {
    {0x41, 0xd03, "Cortex-A53"},  {0x41, 0xd05, "Cortex-A55"},  {0x41, 0xd07, "Cortex-A57"},
    {0x41, 0xd08, "Cortex-A72"},  {0x41, 0xd0b, "Cortex-A76"},  {0x41, 0xd0c, "Neoverse N1"},
    {0x41, 0xd40, "Neoverse V1"}, {0x41, 0xd41, "Cortex-A78"},  {0x41, 0xd44, "Cortex-X1"},
    {0x41, 0xd46, "Cortex-A510"}, {0x41, 0xd47, "Cortex-A710"}, {0x41, 0xd48, "Cortex-X2"},
    {0x41, 0xd49, "Neoverse N2"}, {0x41, 0xd4f, "Neoverse V2"}, {0x46, 0x001, "A64FX"},
    {0xc0, 0xac3, "Ampere-1"},
};

std::string vendor_of(unsigned implementer) {
  switch (implementer) {
    case 0x41:
      return "Arm";
    case 0x46:
      return "Fujitsu";
    case 0x4e:
      return "NVIDIA";
    case 0x51:
      return "Qualcomm";
    case 0x61:
      return "Apple";
    case 0xc0:
      return "Ampere";
    default:
      return "";
  }
}

void name_processor(std::uint64_t id, CpuFeatures& f) {
  const unsigned implementer = static_cast<unsigned>(id >> 24 & 255), part = static_cast<unsigned>(id >> 4 & 4095);
  f.vendor = vendor_of(implementer);
  f.brand = f.vendor.empty() ? "aarch64" : f.vendor;
  for (const Part& known : kParts)
    if (known.implementer == implementer && known.part == part) f.brand.append(" ").append(known.name);
}

}  // namespace

CpuFeatures detect_cpu() {
  const unsigned long basic = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
  CpuFeatures f;
  f.brand = "aarch64";
  f.neon = true;
  f.dotprod = (basic & HWCAP_ASIMDDP) != 0;
  f.i8mm = (more & HWCAP2_I8MM) != 0;
  f.arm_bf16 = (more & HWCAP2_BF16) != 0;
  if ((basic & HWCAP_CPUID) != 0) name_processor(main_id_register(), f);
  return f;
}

#elif NIBBLE_APPLE

namespace {

bool has(const char* name) {
  int value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}

std::string brand_name() {
  char text[128] = {};
  std::size_t size = sizeof text - 1;
  return sysctlbyname("machdep.cpu.brand_string", text, &size, nullptr, 0) == 0 ? text : "Apple";
}

}  // namespace

CpuFeatures detect_cpu() {
  CpuFeatures f;
  f.vendor = "Apple";
  f.brand = brand_name();
  f.neon = true;
  f.dotprod = has("hw.optional.arm.FEAT_DotProd");
  f.i8mm = has("hw.optional.arm.FEAT_I8MM");
  f.arm_bf16 = has("hw.optional.arm.FEAT_BF16");
  return f;
}

#elif NIBBLE_WINDOWS

// Windows tells of dot products alone.
CpuFeatures detect_cpu() {
  constexpr DWORD kDotProducts = 43;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
  CpuFeatures f;
  f.brand = "aarch64";
  f.neon = true;
  f.dotprod = IsProcessorFeaturePresent(kDotProducts) != 0;
  return f;
}

#else

CpuFeatures detect_cpu() {
  CpuFeatures f;
  f.brand = "aarch64";
  f.neon = true;
  return f;
}

#endif

}  // namespace nibble
