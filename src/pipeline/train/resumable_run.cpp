// SPDX-License-Identifier: Apache-2.0
#include "pipeline/train/resumable_run.h"

namespace nibble {

std::filesystem::path training_state_path(const std::filesystem::path& output) {
  std::filesystem::path path = output;
  if (!path.has_filename()) path = path.parent_path();
  path += ".training";
  return path;
}

}  // namespace nibble
