// SPDX-License-Identifier: Apache-2.0
//
// The one list of families. A new family is a file beside this one and a line here (docs: adding an architecture).
#pragma once

#include "model/arch/architecture.h"

namespace nibble {

Architecture deepseek2_architecture();
Architecture gemma2_architecture();
Architecture gemma3_architecture();
Architecture gemma4_architecture();
Architecture glm_architecture();
Architecture glm4_architecture();
Architecture gptoss_architecture();
Architecture llama_architecture();
Architecture mistral3_architecture();
Architecture phi3_architecture();
Architecture qwen2_architecture();
Architecture qwen3_architecture();
Architecture qwen3moe_architecture();
Architecture qwen35_architecture();
Architecture qwen35moe_architecture();

inline constexpr Architecture (*kArchitectures[])() = {
    llama_architecture,     qwen2_architecture,  qwen3_architecture,    qwen3moe_architecture, qwen35_architecture,
    qwen35moe_architecture, gemma2_architecture, gemma3_architecture,   gemma4_architecture,   phi3_architecture,
    glm_architecture,       glm4_architecture,   mistral3_architecture, gptoss_architecture,   deepseek2_architecture};

}  // namespace nibble
