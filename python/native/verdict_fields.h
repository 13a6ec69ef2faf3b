// SPDX-License-Identifier: Apache-2.0
//
// Verdicts as dictionaries, under the keys of the command line's --json.
#pragma once

#include <nanobind/nanobind.h>

#include "fields.h"
#include "nibble/evaluate.h"

namespace nibble::python {

// value, stderr (where there is one); low, high, lower_bound, upper_bound where there is an interval, else no_interval
// (why).
Fields to_fields(const Figure& figure);
// protocol, context, windows, windows_planned, tokens, partial, left_out, original, texts, candidates, contests.
Fields to_fields(const PairedVerdict& verdict);
// judgement, windows_needed (None: more text than can be told), requirements.
Fields to_fields(const Acceptance& acceptance);

}  // namespace nibble::python
