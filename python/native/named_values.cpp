// SPDX-License-Identifier: Apache-2.0
#include "named_values.h"

#include <nanobind/stl/vector.h>

#include "fields.h"
#include "text_caster.h"

namespace nibble::python {

namespace nb = nanobind;

namespace {

constexpr Choice<InstructionSet> kInstructionSets[] = {
    {"best", InstructionSet::best},         {"scalar", InstructionSet::scalar},      {"avx2", InstructionSet::avx2},
    {"avxvnni", InstructionSet::avxvnni},   {"avx512", InstructionSet::avx512},      {"neon", InstructionSet::neon},
    {"neon_dot", InstructionSet::neon_dot}, {"neon_i8mm", InstructionSet::neon_i8mm}};
constexpr Choice<ActivationArithmetic> kActivations[] = {{"automatic", ActivationArithmetic::automatic},
                                                         {"f32", ActivationArithmetic::f32},
                                                         {"bf16", ActivationArithmetic::bf16},
                                                         {"int8", ActivationArithmetic::int8}};
constexpr Choice<KeyValueStorage> kKeysValues[] = {{"automatic", KeyValueStorage::automatic},
                                                   {"f32", KeyValueStorage::f32},
                                                   {"f16", KeyValueStorage::f16},
                                                   {"q8_0", KeyValueStorage::q8_0},
                                                   {"q4_0", KeyValueStorage::q4_0},
                                                   {"q8_0:rotated", KeyValueStorage::q8_0_rotated},
                                                   {"q4_0:rotated", KeyValueStorage::q4_0_rotated}};

}  // namespace

std::vector<NamedText> named_texts(const Texts& texts) {
  std::vector<NamedText> named;
  for (const auto& [name, text] : texts) named.push_back({name, text});
  return named;
}

MachineOptions machine_options(const nb::dict& options) {
  MachineOptions machine;
  read_field(options, "threads", machine.threads);
  read_choice(options, "instruction_set", kInstructionSets, machine.instruction_set);
  return machine;
}

ArithmeticOptions arithmetic_options(const nb::dict& options) {
  ArithmeticOptions arithmetic;
  read_choice(options, "activations", kActivations, arithmetic.activations);
  read_field(options, "activation_format", arithmetic.activation_format);
  read_choice(options, "keys_values", kKeysValues, arithmetic.keys_values);
  return arithmetic;
}

SamplerOptions sampler_options(const nb::dict& options) {
  SamplerOptions sampler;
  read_field(options, "temperature", sampler.temperature);
  read_field(options, "top_k", sampler.top_k);
  read_field(options, "top_p", sampler.top_p);
  read_field(options, "min_p", sampler.min_p);
  read_field(options, "repetition_penalty", sampler.repetition_penalty);
  read_field(options, "repetition_window", sampler.repetition_window);
  read_field(options, "seed", sampler.seed);
  return sampler;
}

GenerateOptions generate_options(const nb::dict& options) {
  GenerateOptions generate;
  generate.sampler = sampler_options(options);
  read_field(options, "max_tokens", generate.max_tokens);
  read_field(options, "stop", generate.stop);
  read_field(options, "ignore_end", generate.ignore_end);
  read_field(options, "context", generate.context);
  return generate;
}

ChatTemplateOptions chat_template_options(const nb::dict& options) {
  ChatTemplateOptions conversation;
  read_field(options, "chat_template", conversation.chat_template);
  read_field(options, "tools", conversation.tools);
  read_field(options, "documents", conversation.documents);
  read_field(options, "variables", conversation.variables);
  read_field(options, "add_generation_prompt", conversation.add_generation_prompt);
  return conversation;
}

const char* name_of(InstructionSet set) { return spelling_of(set, kInstructionSets); }
const char* name_of(KeyValueStorage storage) { return spelling_of(storage, kKeysValues); }

}  // namespace nibble::python
