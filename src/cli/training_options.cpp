// SPDX-License-Identifier: Apache-2.0
#include "cli/training_options.h"

#include "nibble/error.h"

namespace nibble::cli {

void add_arithmetic(CLI::App& verb, std::string& name) {
  verb.add_option("--arithmetic", name, "auto, f32 or bf16: what factors are multiplied as")
      ->check(CLI::IsMember({"auto", "f32", "bf16"}))
      ->capture_default_str();
}

ProductArithmetic arithmetic_of(const std::string& name, Isa isa) {
  if (name == "auto") return fastest_products(isa);
  if (name == "f32") return ProductArithmetic::f32;
  if (!multiplies_bf16(isa))
    throw Error(ErrorKind::unsupported, "this processor has no products of bf16 numbers; take --arithmetic f32");
  return ProductArithmetic::bf16;
}

std::string joined_texts(const std::vector<std::string>& paths, const std::string& separator, Session& session) {
  std::string whole;
  for (const std::string& path : paths) {
    if (!whole.empty()) whole += separator;
    whole += session.read_corpus(path);
  }
  return whole;
}

}  // namespace nibble::cli
