// SPDX-License-Identifier: Apache-2.0
//
// What decides the bytes of a calibrated quantization, as one text: finished pieces of a run are taken up by runs of
// the same key only. Every field of the options is named where the key is made, so that a new one does not compile
// until it is said whether it decides bytes. Internal to pipeline/.
#pragma once

#include <string>

#include "pipeline/quantize/quantize_model.h"

namespace nibble {

// container: by whose rules rows are ordered and tensors named. source_hash: of the source's tensors.
std::string resume_key(const QuantizeModelOptions& options, std::string_view container, const std::string& source_hash);

}  // namespace nibble
