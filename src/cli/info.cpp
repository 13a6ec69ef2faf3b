// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

#include "base/cpu.h"
#include "cli/option_checks.h"
#include "cli/verbs.h"
#include "model/arch/architecture.h"
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
                                      {f.gfni, "gfni"},
                                      {f.neon, "neon"},
                                      {f.dotprod, "dotprod"},
                                      {f.i8mm, "i8mm"},
                                      {f.arm_bf16, "bf16"}})
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

// What config.json of a family's directories may say as model_type.
std::vector<std::string_view> types_of(const Architecture& family) {
  std::vector<std::string_view> types;
  for (const HfVariant& variant : family.variants)
    for (const std::string_view type : {variant.model_type, variant.wrapper_type})
      if (!type.empty() && std::ranges::find(types, type) == types.end()) types.push_back(type);
  return types;
}

// What a directory that is made of a GGUF file says: the first, or the first that has experts or a window where those
// are.
std::vector<std::string_view> written_types(const Architecture& family) {
  std::vector<std::string_view> types = {family.variants.front().model_type};
  for (const auto member : {&HfVariant::default_experts, &HfVariant::default_sliding_window})
    if (const auto found =
            std::ranges::find_if(family.variants, [&](const HfVariant& variant) { return variant.*member > 0; });
        found != family.variants.end() && std::ranges::find(types, found->model_type) == types.end())
      types.push_back(found->model_type);
  return types;
}

void list_models(Session& session, bool as_markdown) {
  Json list = Json::array();
  const char* const quote = as_markdown ? "`" : "";
  Table table({{"family"}, {"model_type of config.json"}, {"written as"}, {"general.architecture of GGUF"}});
  for (const Architecture& family : all_architectures()) {
    const std::vector<std::string_view> types = types_of(family);
    const std::vector<std::string_view> written = written_types(family);
    list.push_back({{"family", family.title},
                    {"name", family.name},
                    {"model_types", types},
                    {"written_as", written},
                    {"gguf_architecture", family.gguf_name}});
    table.add({std::string(family.title),
               fmt::format("{0}{1}{0}", quote, fmt::join(types, fmt::format("{0}, {0}", quote))),
               fmt::format("{0}{1}{0}", quote, fmt::join(written, fmt::format("{0}, {0}", quote))),
               fmt::format("{0}{1}{0}", quote, family.gguf_name)});
  }
  if (session.json()) return session.print_json({{"models", list}});
  session.print(as_markdown ? table.markdown() : table.text(session.style()));
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
  CLI::App* const verb = app.add_subcommand(
      "info", "Show this processor's features and the kernels chosen for it, or the models that are known");
  verb->footer("Examples:\n  nibble info\n  nibble info --models\n  NIBBLE_ISA=avx2 nibble info");
  struct Options {
    bool models = false, markdown = false;
  };
  const auto options = std::make_shared<Options>();
  verb->add_flag("--models", options->models, "List the families of models that are known instead");
  verb->add_flag("--markdown", options->markdown, "Print that list as Markdown");
  session.add_json(*verb);
  session.add_engine(*verb);
  verb->callback([&session, verb, options] {
    refuse_without_effect(*verb, "--markdown", options->models && !session.json(),
                          "without --models, or beside --json");
    if (options->models)
      list_models(session, options->markdown);
    else
      info(session);
  });
}

}  // namespace nibble::cli
