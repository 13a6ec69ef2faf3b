// SPDX-License-Identifier: Apache-2.0
//
// Every format on the list takes any bytes: it decodes them or names their defect; what decodes to finite values
// encodes again. Spellings of formats are taken or refused with an Error.
//
// Input: one byte of choice, one of shape; then either a spelling or the bytes of the planes, repeated to fill them.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "format/quantized_tensor.h"
#include "format/row_tiles.h"
#include "nibble/error.h"

namespace {

using namespace nibble;

const std::vector<FormatPtr>& formats() {
  static const std::vector<FormatPtr> kFormats = list_formats();
  return kFormats;
}

void try_spelling(std::string_view text) {
  try {
    const FormatPtr format = find_format(text);
    if (find_format(format->name())->name() != format->name()) std::abort();
    format->planes(3, format->info().row_multiple * 5);
  } catch (const Error&) {
  }
}

void encode_tiles_again(const Format& format, const std::vector<float>& values) {
  const std::size_t unit = format.info().unit;
  std::vector<std::byte> grid(format.grid_bytes());
  format.fit(values, {}, nullptr, 0, {}, grid.data());
  const auto coder = find_row_tiles(format)->make_coder();
  std::vector<Code> codes(format.info().row_unit);
  std::vector<float> stored(unit);
  for (std::size_t col = 0; col < values.size(); col += unit) {
    coder->nearest(grid.data(), grid.size(), 1, &values[col], nullptr, codes.data(), stored.data());
    for (const Code code : codes)
      if (code >= format.num_codes()) std::abort();
    if (first_not_finite(stored)) std::abort();
  }
}

void encode_again(const FormatPtr& format, const std::vector<float>& values, FitRule rule) {
  if (find_row_tiles(*format) != nullptr) return encode_tiles_again(*format, values);
  QuantizedTensor tensor(format, 1, values.size());
  const FitOptions options{.rule = rule};
  tensor.tensor_grid = format->prepare(values, 1, values.size(), {}, options);
  format->pack_tensor(tensor.tensor_grid.get(), tensor.row(0));
  format->encode_row(values, {}, tensor.tensor_grid.get(), 0, options, tensor.row(0));
  if (format->find_defect(tensor.view().row(0), values.size())) std::abort();
  if (first_not_finite(tensor.view().decode())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const std::size_t choice = data[0] % (formats().size() + 1), shape = data[1];
  data += 2;
  size -= 2;
  if (choice == formats().size()) {
    try_spelling({reinterpret_cast<const char*>(data), size});
    return 0;
  }
  const FormatPtr& format = formats()[choice];
  const std::size_t cols = format->info().row_multiple > 1 ? format->info().row_multiple * (1 + shape % 2) : 1 + shape;
  QuantizedTensor tensor(format, 1, cols);
  std::size_t at = 0;
  for (auto& plane : tensor.planes)
    for (std::byte& byte : plane) byte = static_cast<std::byte>(data[at++ % size]);
  const QuantizedView view = make_view(format, 1, cols, tensor.view().planes, "input");
  const bool has_defect = format->find_defect(view.row(0), cols).has_value();
  const std::vector<float> values = view.decode();
  if (has_defect || first_not_finite(values)) return 0;
  encode_again(format, values, static_cast<FitRule>(shape % 8));
  return 0;
}
