// SPDX-License-Identifier: Apache-2.0
//
// The one list of families. A new family is a file beside this one and a line here (docs: adding an architecture).
#pragma once

#include "model/arch/architecture.h"

namespace nibble {

Architecture bitnet_architecture();
Architecture deepseek2_architecture();
Architecture ernie45_architecture();
Architecture gemma2_architecture();
Architecture gemma3_architecture();
Architecture gemma4_architecture();
Architecture glm_architecture();
Architecture glm4_architecture();
Architecture glm4moe_architecture();
Architecture gptoss_architecture();
Architecture granite_architecture();
Architecture granitemoe_architecture();
Architecture hunyuan_architecture();
Architecture lfm2_architecture();
Architecture llama_architecture();
Architecture mistral3_architecture();
Architecture olmo2_architecture();
Architecture olmoe_architecture();
Architecture phi3_architecture();
Architecture qwen2_architecture();
Architecture qwen2moe_architecture();
Architecture qwen3_architecture();
Architecture qwen3moe_architecture();
Architecture qwen35_architecture();
Architecture qwen35moe_architecture();
Architecture smollm3_architecture();

inline constexpr Architecture (*kArchitectures[])() = {
    llama_architecture,    qwen2_architecture,      qwen2moe_architecture, qwen3_architecture,   qwen3moe_architecture,
    qwen35_architecture,   qwen35moe_architecture,  gemma2_architecture,   gemma3_architecture,  gemma4_architecture,
    phi3_architecture,     glm_architecture,        glm4_architecture,     glm4moe_architecture, mistral3_architecture,
    gptoss_architecture,   bitnet_architecture,     smollm3_architecture,  olmo2_architecture,   olmoe_architecture,
    granite_architecture,  granitemoe_architecture, ernie45_architecture,  hunyuan_architecture, lfm2_architecture,
    deepseek2_architecture};

}  // namespace nibble
