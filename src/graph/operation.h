// SPDX-License-Identifier: Apache-2.0
//
// What every operation of a graph says of itself. An operation is a struct of its attributes in a file of its own
// (op/); the one list is op/all.h. Everything here is a plain value, safe to share between threads.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "graph/onnx_spelling.h"
#include "graph/value.h"

namespace nibble {

// What the reference arithmetic works on: consecutive tokens of one sequence, in f32, row-major. Operations that mix
// tokens are given all of them, from position 0 on; others may be given some. Of small nets, whose values have fixed
// extents, tokens are the rows of the first input: what stands before its last dimension.
struct Operands {
  std::size_t tokens = 0;
  std::vector<std::span<const float>> inputs;
  std::span<const std::int32_t> ids;                               // of embeddings
  std::function<std::span<const float>(std::string_view)> weight;  // of a part
  std::size_t position = 0;                                        // of the first token
  std::size_t length = 0;                                          // of the sequence; 0: these tokens are all of it
  ThreadPool* pool = nullptr;  // of operations whose values have many numbers; null: the calling thread alone
  std::size_t sequence_length() const { return length == 0 ? tokens : length; }
};

// Where an operation adds the gradient (of whatever number is looked at) by each of its inputs, as it lies there, and
// by its weights, by part. Empty: nobody asks for it.
struct Gradients {
  std::vector<std::span<float>> inputs;
  std::function<std::span<float>(std::string_view)> weight;
};

// Where a factor for each channel of an operation's output may be put instead, with the same result: into a weight
// whose rows (of a vector: elements) it multiplies, or onto an input.
struct ScalePassage {
  std::string absorber;  // the part; empty: an input takes the factors
  std::size_t input = 0;
  std::vector<std::uint32_t>
      channel_of;             // of each output channel, the absorber's row or the input's channel; empty: the same one
  bool is_by_expert = false;  // the absorber is a weight for each expert, which takes factors of its own
};

// Multiplications and additions, each pair counted once.
struct Cost {
  std::uint64_t per_token = 0;
  std::uint64_t per_earlier_token = 0;  // for each token, for each one that it attends to
  std::uint64_t whole = 0;              // of values of fixed extents, for all of them
};

// Of operations that read any number of values.
inline constexpr std::size_t kAnyInputs = ~std::size_t{0};

// Whether an operation can be walked backwards, or why not.
struct GradientPlace {
  bool exists = true;
  bool reads_inputs = true;      // false: the gradient by its inputs follows from the output's alone
  std::string_view reason = {};  // why there is none
};

inline constexpr GradientPlace kNoGradientYet = {.exists = false,
                                                 .reason = "operations of small nets are not trained yet"};

template <typename T>
concept OperationType =
    std::equality_comparable<T> &&
    requires(const T op, std::span<const Dimensions> inputs, const Operands& operands, std::span<float> output,
             std::span<const float> output_gradient, const Gradients& into) {
      { T::kName } -> std::convertible_to<std::string_view>;
      { T::kInputs } -> std::convertible_to<std::size_t>;
      { T::kGradient } -> std::convertible_to<GradientPlace>;
      { T::kMixesTokens } -> std::convertible_to<bool>;   // whether what it makes of a token depends on others
      { op.output(inputs) } -> std::same_as<Dimensions>;  // its shape; Error(internal) where the inputs do not fit
      { op.weights(inputs) } -> std::same_as<std::vector<WeightUse>>;  // what it reads
      {
        op.scale_passages(inputs)
      } -> std::same_as<std::vector<ScalePassage>>;  // alternatives, best first; none: nothing passes
      { op.cost(inputs) } -> std::same_as<Cost>;
      { op.onnx(inputs) } -> std::same_as<OnnxSpelling>;  // how it is spelled there
      op.evaluate(operands, inputs, output);              // the reference arithmetic: sums in f64, rounded to f32 once
      op.gradient(operands, inputs, output_gradient, into);  // by the same arithmetic, added to what is there
    };

// Error(internal): a drawing that no family should make. Messages begin with kNotDrawable; whoever draws what a file
// says tells it as the file's.
inline constexpr std::string_view kNotDrawable = "a drawing does not fit together: ";
void require_drawable(bool condition, std::string_view operation, std::string_view what);

// Error(unsupported): what an operation without a gradient says where one is asked for.
[[noreturn]] void refuse_gradient(std::string_view operation);

}  // namespace nibble
