// SPDX-License-Identifier: Apache-2.0
//
// Where tensors go in a safetensors file and the header that says so, in the reference writer's way: element types in
// descending order, then names; header padded with spaces to a multiple of 8. Safe from any thread.
//
//   const SafetensorsLayout layout = lay_out_safetensors(entries, "out/model.safetensors");
//   file.write(layout.header);  // then entry i at layout.offsets[i]
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace nibble {

struct LayoutEntry {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::uint64_t bytes = 0;
};

struct SafetensorsLayout {
  std::string header;                  // length, JSON and padding
  std::vector<std::uint64_t> offsets;  // in the file, of each entry as given
  std::uint64_t file_bytes = 0;
};

// "pt" is what other readers of model files want to see; some refuse files without it.
inline const std::map<std::string, std::string> kModelFileMetadata = {{"format", "pt"}};

// Names must be unique UTF-8. Error(unsupported): a header over 100 MB, or a tensor named like the metadata.
SafetensorsLayout lay_out_safetensors(const std::vector<LayoutEntry>& entries, const std::string& output,
                                      const std::map<std::string, std::string>& metadata = kModelFileMetadata);

}  // namespace nibble
