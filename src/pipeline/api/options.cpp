// SPDX-License-Identifier: Apache-2.0
#include "nibble/error.h"
#include "pipeline/api/model_state.h"

namespace nibble::api {

Machine make_machine(const MachineOptions& options) {
  std::string_view name;
  switch (options.instruction_set) {
    case InstructionSet::best:
      break;
    case InstructionSet::scalar:
      name = isa_name(Isa::scalar);
      break;
    case InstructionSet::avx2:
      name = isa_name(Isa::avx2);
      break;
    case InstructionSet::avxvnni:
      name = isa_name(Isa::avxvnni);
      break;
    case InstructionSet::avx512:
      name = isa_name(Isa::avx512);
      break;
    case InstructionSet::neon:
      name = isa_name(Isa::neon);
      break;
    case InstructionSet::neon_dot:
      name = isa_name(Isa::neon_dot);
      break;
    case InstructionSet::neon_i8mm:
      name = isa_name(Isa::neon_i8mm);
      break;
  }
  return Machine(choose_isa(detect_cpu(), name), options.threads);
}

KernelOptions kernels_of(const ArithmeticOptions& arithmetic) {
  KernelOptions options;
  switch (arithmetic.activations) {
    case ActivationArithmetic::automatic:
      options.activations = ActivationMode::automatic;
      break;
    case ActivationArithmetic::f32:
      options.activations = ActivationMode::f32;
      break;
    case ActivationArithmetic::bf16:
      options.activations = ActivationMode::bf16;
      break;
    case ActivationArithmetic::int8:
      options.activations = ActivationMode::int8;
      break;
  }
  if (arithmetic.activation_format.empty()) return options;
  if (arithmetic.activations != ActivationArithmetic::int8)
    throw Error(ErrorKind::invalid_argument,
                "a format of activations is of integers; choose int8 for their arithmetic: '" +
                    arithmetic.activation_format + "'",
                "activations");
  options.activation_format = parse_activation_format(arithmetic.activation_format);
  if (options.activation_format.is_static())
    throw Error(ErrorKind::invalid_argument,
                "static grids come with a model's file; choose automatic: '" + arithmetic.activation_format + "'",
                "activations");
  return options;
}

std::optional<KvType> kv_of(KeyValueStorage storage) {
  switch (storage) {
    case KeyValueStorage::automatic:
      break;
    case KeyValueStorage::f32:
      return KvType::f32;
    case KeyValueStorage::f16:
      return KvType::f16;
    case KeyValueStorage::q8_0:
      return KvType::q8_0;
    case KeyValueStorage::q4_0:
      return KvType::q4_0;
    case KeyValueStorage::q8_0_rotated:
      return KvType::q8_0_rotated;
    case KeyValueStorage::q4_0_rotated:
      return KvType::q4_0_rotated;
  }
  return std::nullopt;
}

std::vector<CalibrationText> calibration_texts(const std::vector<NamedText>& texts) {
  std::vector<CalibrationText> result;
  for (const NamedText& text : texts) result.push_back({text.name, text.text});
  return result;
}

}  // namespace nibble::api
