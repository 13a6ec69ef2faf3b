// SPDX-License-Identifier: Apache-2.0
#include "io/gguf/ggml_type.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace nibble {
namespace {

constexpr std::array kTypes = {
    GgmlType{0, "F32", 1, 4},         GgmlType{1, "F16", 1, 2},         GgmlType{2, "Q4_0", 32, 18},
    GgmlType{3, "Q4_1", 32, 20},      GgmlType{6, "Q5_0", 32, 22},      GgmlType{7, "Q5_1", 32, 24},
    GgmlType{8, "Q8_0", 32, 34},      GgmlType{9, "Q8_1", 32, 36},      GgmlType{10, "Q2_K", 256, 84},
    GgmlType{11, "Q3_K", 256, 110},   GgmlType{12, "Q4_K", 256, 144},   GgmlType{13, "Q5_K", 256, 176},
    GgmlType{14, "Q6_K", 256, 210},   GgmlType{15, "Q8_K", 256, 292},   GgmlType{16, "IQ2_XXS", 256, 66},
    GgmlType{17, "IQ2_XS", 256, 74},  GgmlType{18, "IQ3_XXS", 256, 98}, GgmlType{19, "IQ1_S", 256, 50},
    GgmlType{20, "IQ4_NL", 32, 18},   GgmlType{21, "IQ3_S", 256, 110},  GgmlType{22, "IQ2_S", 256, 82},
    GgmlType{23, "IQ4_XS", 256, 136}, GgmlType{24, "I8", 1, 1},         GgmlType{25, "I16", 1, 2},
    GgmlType{26, "I32", 1, 4},        GgmlType{27, "I64", 1, 8},        GgmlType{28, "F64", 1, 8},
    GgmlType{29, "IQ1_M", 256, 56},   GgmlType{30, "BF16", 1, 2},       GgmlType{34, "TQ1_0", 256, 54},
    GgmlType{35, "TQ2_0", 256, 66},   GgmlType{39, "MXFP4", 32, 17},    GgmlType{40, "NVFP4", 64, 36},
    GgmlType{41, "Q1_0", 128, 18},    GgmlType{42, "Q2_0", 64, 18},
};
static_assert(std::ranges::is_sorted(kTypes, {}, &GgmlType::id));

}  // namespace

std::span<const GgmlType> list_ggml_types() { return kTypes; }

const GgmlType* find_ggml_type(std::uint32_t id) {
  const auto found = std::ranges::lower_bound(kTypes, id, {}, &GgmlType::id);
  return found != kTypes.end() && found->id == id ? &*found : nullptr;
}

namespace {

struct NamedType {
  std::uint32_t id;
  std::string_view name;
};

// Of ik_llama.cpp, which gives its own types numbers that llama.cpp does not use.
constexpr std::array kForeignTypes = {
    NamedType{133, "Q6_0"},   NamedType{134, "IQ1_BN"}, NamedType{135, "IQ2_BN"},  NamedType{137, "IQ2_K"},
    NamedType{138, "IQ3_K"},  NamedType{139, "IQ4_K"},  NamedType{140, "IQ5_K"},   NamedType{141, "IQ6_K"},
    NamedType{144, "IQ4_KS"}, NamedType{145, "IQ2_KS"}, NamedType{146, "IQ4_KSS"}, NamedType{151, "Q8_KV"},
    NamedType{152, "IQ5_KS"}, NamedType{153, "IQ2_KT"}, NamedType{154, "IQ3_KT"},  NamedType{155, "IQ4_KT"},
    NamedType{156, "IQ3_KS"}, NamedType{157, "IQ2_KL"}, NamedType{158, "IQ1_KT"},
};
constexpr std::uint32_t kFirstRepacked = 200,
                        kLastRepacked = 399;  // the same types and llama.cpp's with interleaved rows

constexpr std::array kRemovedTypes = {
    NamedType{4, "Q4_2"},      NamedType{5, "Q4_3"},        NamedType{31, "Q4_0_4_4"},   NamedType{32, "Q4_0_4_8"},
    NamedType{33, "Q4_0_8_8"}, NamedType{36, "IQ4_NL_4_4"}, NamedType{37, "IQ4_NL_4_8"}, NamedType{38, "IQ4_NL_8_8"}};

}  // namespace

std::string describe_unknown_ggml_type(std::uint32_t id) {
  constexpr std::string_view kAdvice = "make the file again from the original model, or with a type of llama.cpp";
  if (const auto removed = std::ranges::find(kRemovedTypes, id, &NamedType::id); removed != kRemovedTypes.end())
    return fmt::format("type {} was removed from the format; requantize from the original", removed->name);
  if (const auto foreign = std::ranges::find(kForeignTypes, id, &NamedType::id); foreign != kForeignTypes.end())
    return fmt::format("type {} is one of ik_llama.cpp's own; {}", foreign->name, kAdvice);
  if (id >= kFirstRepacked && id <= kLastRepacked)
    return fmt::format("type is one of ik_llama.cpp's with interleaved rows; {}", kAdvice);
  return "unknown type";
}

bool is_removed_ggml_type(std::uint32_t id) {
  return std::ranges::find(kRemovedTypes, id, &NamedType::id) != kRemovedTypes.end();
}

}  // namespace nibble
