// SPDX-License-Identifier: Apache-2.0
#include "serve/api/served_model.h"

#include <filesystem>

namespace nibble::serve {

std::string default_model_name(const std::string& path) {
  std::filesystem::path whole = std::filesystem::absolute(path).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  return (whole.extension() == ".gguf" ? whole.stem() : whole.filename()).string();
}

}  // namespace nibble::serve
