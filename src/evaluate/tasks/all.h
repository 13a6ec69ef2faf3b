// SPDX-License-Identifier: Apache-2.0
//
// The one list of tasks. A new task is a new file and a line here.
#pragma once

#include "evaluate/tasks/task.h"

namespace nibble {

extern const Task kArc, kBleu, kBlimp, kBoolq, kGsm8k, kHellaswag, kLambada, kMmlu, kOpenbookqa, kPiqa, kWinogrande;

inline constexpr const Task* kTasks[] = {&kHellaswag, &kPiqa,  &kArc,     &kWinogrande, &kOpenbookqa, &kBoolq,
                                         &kMmlu,      &kBlimp, &kLambada, &kGsm8k,      &kBleu};

}  // namespace nibble
