// SPDX-License-Identifier: Apache-2.0
//
// Gelu as files spell it out, in compiled nets: one step, near what its operations make by themselves.
#include "net/engine/gelu_fusion.h"

#include <string_view>

#include "net/net_pen.h"
#include "net/run_program.h"
#include "net/tiny_nets.h"

namespace nibble {
namespace {

constexpr float kRoot = 0.7978845608F, kCube = 0.044715F;

std::size_t steps_called(const Net& net, std::string_view name) {
  Machine machine(Isa::scalar, 1);
  for (const auto& [step, count] : NetProgram(net, machine).steps())
    if (step == name) return count;
  return 0;
}

NetValue bend(NetPen& pen, const NetValue& inside) {
  return pen.add(pen.number(1), pen.unary(Unary::Kind::tanh, inside));
}

// As JAX spells it: a cube of products, the half behind the sum.
Net by_products(float cube, float half) {
  NetPen pen;
  const NetValue x = pen.input("x", NumberType::f32, {1, 33, 7});
  const NetValue squares = pen.apply(Multiply{}, {pen.multiply(pen.number(cube), x), x});
  const NetValue inside = pen.multiply(pen.number(kRoot), pen.apply(Add{}, {x, pen.apply(Multiply{}, {squares, x})}));
  pen.output("y", pen.apply(Multiply{}, {x, pen.multiply(pen.number(half), bend(pen, inside))}));
  return std::move(pen).finish();
}

// As PyTorch exports it: a power, and the half in front.
Net by_powers() {
  NetPen pen;
  const NetValue x = pen.input("x", NumberType::f32, {1, 33, 7});
  const NetValue cubes = pen.multiply(pen.binary(Binary::Kind::power, x, pen.number(3)), pen.number(kCube));
  const NetValue inside = pen.multiply(pen.add(x, cubes), pen.number(kRoot));
  pen.output("y", pen.multiply(pen.multiply(x, pen.number(0.5F)), bend(pen, inside)));
  return std::move(pen).finish();
}

TEST(GeluFusion, IsOneStepHoweverItIsSpelled) {
  for (const Net& net : {by_products(kCube, 0.5F), by_powers()}) {
    EXPECT_EQ(steps_called(net, "gelu"), 1u);
    EXPECT_EQ(steps_called(net, "function of two"), 0u);
    const std::vector<std::vector<float>> given = {normal_numbers(33 * 7, 5)};
    const std::vector<float> expected = evaluate(net, given, nullptr)[0], made = run_on_all_sets(net, given)[0];
    for (std::size_t i = 0; i < made.size(); ++i) ASSERT_NEAR(made[i], expected[i], 2e-6) << i;
  }
}

TEST(GeluFusion, LeavesWhatIsAnotherFunction) {
  for (const Net& net : {by_products(0.05F, 0.5F), by_products(kCube, 0.4F)}) EXPECT_EQ(steps_called(net, "gelu"), 0u);
}

// A part of the chain that somebody else reads has to be made.
TEST(GeluFusion, LeavesWhatIsReadElsewhere) {
  NetPen pen;
  const NetValue x = pen.input("x", NumberType::f32, {1, 33, 7});
  const NetValue cubes = pen.multiply(pen.binary(Binary::Kind::power, x, pen.number(3)), pen.number(kCube));
  const NetValue sum = bend(pen, pen.multiply(pen.add(x, cubes), pen.number(kRoot)));
  pen.output("sum", sum);
  pen.output("y", pen.multiply(pen.multiply(x, pen.number(0.5F)), sum));
  const Net net = std::move(pen).finish();
  EXPECT_EQ(steps_called(net, "gelu"), 0u);
}

}  // namespace
}  // namespace nibble
