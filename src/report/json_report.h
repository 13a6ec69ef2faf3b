// SPDX-License-Identifier: Apache-2.0
//
// Results as JSON objects. Keys are a promise to scripts: they may be added to, not changed.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "evaluate/speed.h"
#include "pipeline/judge/compare.h"
#include "pipeline/quantize/quantize_model.h"
#include "pipeline/synth.h"
#include "pipeline/tell/inspect.h"

namespace nibble {

using Json = nlohmann::ordered_json;

// test, tokens_per_second (median), spread, samples
Json to_json(const Speed& speed);
Json to_json(const ModelInfo& info);
Json to_json(const TensorListing& listing);
Json to_json(const TensorStatistics& statistics);
Json to_json(const QuantizeSummary& summary);
Json to_json(const CheckResult& result);
Json to_json(const Comparison& comparison);
Json to_json(const SynthSummary& summary);

// Text for output: JSON of numbers that JSON cannot hold (NaN) becomes null; invalid UTF-8 is replaced.
std::string json_text(const Json& json);

}  // namespace nibble
