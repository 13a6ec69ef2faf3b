// SPDX-License-Identifier: Apache-2.0
#include "net/onnx/window_reader.h"

#include <algorithm>

namespace nibble {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 20;

Extents numbers(NodeView& n, std::string_view attribute, std::size_t count, std::uint64_t otherwise) {
  const auto said = n.wholes(attribute);
  if (!said) return Extents(count, otherwise);
  Extents found;
  for (const std::int64_t one : *said) {
    if (one < 0 || one > kMost) n.damaged("a " + std::string(attribute) + " that no window has");
    found.push_back(static_cast<std::uint64_t>(one));
  }
  if (found.size() != count) n.damaged("a " + std::string(attribute) + " of another number of dimensions");
  return found;
}

Window read_steps(NodeView& n, const NetValue& x, Extents taps) {
  if (x.rank() < 3) n.damaged("an input without height or width");
  const std::size_t rank = x.rank() - 2;
  if (rank > 2) n.refuse("windows of three or more dimensions");
  Window window;
  window.taps = numbers(n, "kernel_shape", rank, 0);
  if (!taps.empty()) {
    if (n.wholes("kernel_shape") && window.taps != taps) n.damaged("a kernel_shape that is not its weights'");
    window.taps = std::move(taps);
  }
  window.strides = numbers(n, "strides", rank, 1);
  window.dilations = numbers(n, "dilations", rank, 1);
  const Extents pads = numbers(n, "pads", 2 * rank, 0);
  window.before.assign(pads.begin(), pads.begin() + static_cast<std::ptrdiff_t>(rank));
  window.behind.assign(pads.begin() + static_cast<std::ptrdiff_t>(rank), pads.end());
  window.require_fit(x.shape, n.node().op);
  return window;
}

// `whole` pads, at both ends, the odd one behind or before.
void share(Window& window, std::size_t i, std::uint64_t whole, bool is_lower) {
  window.before[i] = is_lower ? whole - whole / 2 : whole / 2;
  window.behind[i] = whole - window.before[i];
}

}  // namespace

Extents spatial(const NetValue& weights) {
  const Extents extents = weights.extents();
  return {extents.begin() + 2, extents.end()};
}

Window read_window(NodeView& n, const NetValue& x, Extents taps) {
  Window window = read_steps(n, x, std::move(taps));
  const std::string rule = n.text("auto_pad", "NOTSET");
  if (rule == "VALID") {
    window.before.assign(window.rank(), 0);
    window.behind.assign(window.rank(), 0);
  }
  if (rule == "SAME_UPPER" || rule == "SAME_LOWER")
    for (std::size_t i = 0; i < window.rank(); ++i) {
      const std::uint64_t extent = x.extent(i + 2), places = (extent + window.strides[i] - 1) / window.strides[i];
      const std::uint64_t reach = (window.taps[i] - 1) * window.dilations[i] + 1;
      const std::uint64_t needed = places == 0 ? 0 : (places - 1) * window.strides[i] + reach;
      share(window, i, needed > extent ? needed - extent : 0, rule == "SAME_LOWER");
    }
  return window;
}

void read_transposed_window(NodeView& n, const NetValue& x, Extents taps, TransposedConvolution& op) {
  op.window = read_steps(n, x, std::move(taps));
  const std::size_t rank = op.window.rank();
  op.further = numbers(n, "output_padding", rank, 0);
  const std::string rule = n.text("auto_pad", "NOTSET");
  const bool is_same = rule == "SAME_UPPER" || rule == "SAME_LOWER";
  const auto said = n.wholes("output_shape");
  if (!said && !is_same) return;
  if (said && said->size() < rank) n.damaged("an output_shape of too few dimensions");
  for (std::size_t i = 0; i < rank; ++i) {
    if (x.extent(i + 2) == 0) n.damaged("an input without numbers");
    const std::uint64_t whole = (x.extent(i + 2) - 1) * op.window.strides[i] +
                                (op.window.taps[i] - 1) * op.window.dilations[i] + 1 + op.further[i];
    std::uint64_t wanted = x.extent(i + 2) * op.window.strides[i];
    if (said) {
      const std::int64_t one = (*said)[said->size() - rank + i];
      if (one < 1 || one > kMost) n.damaged("an output_shape that is none");
      wanted = static_cast<std::uint64_t>(one);
    }
    if (wanted > whole) {  // zeros at the end
      op.further[i] += wanted - whole;
      share(op.window, i, 0, false);
    } else {
      share(op.window, i, whole - wanted, rule != "SAME_UPPER");
    }
  }
}

}  // namespace nibble
