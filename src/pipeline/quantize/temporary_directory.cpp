// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/temporary_directory.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "nibble/error.h"

namespace nibble {

TemporaryDirectory::TemporaryDirectory(const std::filesystem::path& parent) {
  std::error_code error;
  const std::filesystem::path where = parent.empty() ? std::filesystem::temp_directory_path(error) : parent;
  std::string pattern = (where / "nibble-XXXXXX").string();
  if (error || mkdtemp(pattern.data()) == nullptr)
    throw Error(ErrorKind::io, "cannot make a temporary directory in '" + where.string() +
                                   "'; set TMPDIR to a place with room: " +
                                   (error ? error.message() : std::system_category().message(errno)));
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace nibble
