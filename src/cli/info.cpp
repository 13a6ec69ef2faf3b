// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdlib>
#include <utility>

#include "base/cpu.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "nibble/model.h"

namespace nibble::cli {
namespace {

std::vector<std::string> feature_names(const CpuFeatures& f) {
  std::vector<std::string> names;
  for (const auto& [present, name] : {std::pair{f.avx2, "avx2"},
                                      {f.fma, "fma"},
                                      {f.f16c, "f16c"},
                                      {f.avx_vnni, "avx_vnni"},
                                      {f.avx512f, "avx512f"},
                                      {f.avx512bw, "avx512bw"},
                                      {f.avx512dq, "avx512dq"},
                                      {f.avx512vl, "avx512vl"},
                                      {f.avx512_vnni, "avx512_vnni"},
                                      {f.avx512_vbmi, "avx512_vbmi"},
                                      {f.avx512_bf16, "avx512_bf16"},
                                      {f.avx512_vpopcntdq, "avx512_vpopcntdq"},
                                      {f.gfni, "gfni"}})
    if (present) names.emplace_back(name);
  return names;
}

// Which kernel a format's products run on, found out by packing a small matrix.
std::string kernel_of(const FormatPtr& format, const KernelOptions& options, Machine& machine) {
  try {
    QuantizedTensor zeros(format, 64, 256);
    zeros.tensor_grid = format->unpack_tensor(zeros.view().row(0), 64, 256);
    return PackedLinear::pack(zeros.view(), options, machine).kernel_name();
  } catch (const Error& error) {
    return std::string("none: ") + error.what();
  }
}

void info(Session& session) {
  const CpuFeatures features = detect_cpu();
  const KernelOptions kernels = session.running_kernels();
  const char* const wanted = std::getenv("NIBBLE_ISA");
  const std::string why = wanted != nullptr && *wanted != '\0'
                              ? "asked for by NIBBLE_ISA"
                              : fmt::format("the richest set that this processor has the features for");
  const Bf16Products bf16 = bf16_products(features, session.machine().isa);
  Json list = Json::array();
  Table table({{"format"}, {"kernel"}});
  for (const FormatPtr& format : list_formats()) {
    const std::string kernel = kernel_of(format, kernels, session.machine());
    list.push_back({{"format", format->name()}, {"kernel", kernel}});
    table.add({format->name(), kernel});
  }
  const std::vector<std::string> names = feature_names(features);
  if (session.json())
    return session.print_json({{"version", version()},
                               {"processor", features.brand},
                               {"features", names},
                               {"isa", isa_name(session.machine().isa)},
                               {"isa_reason", why},
                               {"bf16_products", bf16.are_fast},
                               {"bf16_reason", bf16.reason},
                               {"threads", session.pool().num_threads()},
                               {"kernels", list}});
  std::string text = fmt::format("nibble {}\nprocessor        {}\nfeatures        ", version(), features.brand);
  for (const std::string& name : names) text += " " + name;
  text += fmt::format("\ninstruction set  {}: {}\nbf16 weights     times {}: {}\nthreads          {}\n\n",
                      isa_name(session.machine().isa), why, bf16.are_fast ? "bf16" : "f32", bf16.reason,
                      session.pool().num_threads());
  session.print(text + table.text(session.style()));
}

}  // namespace

void add_info(CLI::App& app, Session& session) {
  CLI::App* const verb = app.add_subcommand("info", "Show this processor's features and the kernels chosen for it");
  verb->footer("Examples:\n  nibble info\n  NIBBLE_ISA=avx2 nibble info");
  session.add_json(*verb);
  session.add_engine(*verb);
  verb->callback([&session] { info(session); });
}

}  // namespace nibble::cli
