// SPDX-License-Identifier: Apache-2.0
#include "net/c/c_functions.h"

#include <algorithm>
#include <cassert>
#include <vector>

namespace nibble {
namespace {

struct Function {
  std::string_view name;
  std::vector<std::string_view> needs;
  std::string_view text;
};

// In an order in which each stands behind what it calls.
const std::vector<Function>& functions() {
  static const std::vector<Function> kFunctions = {
      {"window", {}, R"(/* Windows over values [batch, rows, cols, channels]; depth: channels that an output sees. */
struct window {
  int32_t batch, rows, cols, channels, made_rows, made_cols, outputs, groups, depth;
  int32_t tap_rows, tap_cols, row_stride, col_stride, row_step, col_step, top, left;
  int32_t x_zero, zero, low, high; /* of codes: what stands for 0, and the least and the largest that is made */
};
)"},
      {"single", {}, R"(/* x / 2^shift, ties to even */
static uint64_t shifted(uint64_t x, int shift) {
  uint64_t kept, rest, half;
  if (shift <= 0) return x;
  if (shift > 63) return 0;
  kept = x >> shift;
  rest = x - (kept << shift);
  half = (uint64_t)1 << (shift - 1);
  return kept + (rest > half || (rest == half && (kept & 1)));
}

/* The 24 bits that single precision keeps, ties to even; what they count becomes larger. */
static uint64_t to_single(uint64_t x, int *exponent) {
  int drop = 0;
  while ((x >> drop) >> 24) ++drop;
  *exponent += drop;
  return shifted(x, drop);
}

/* The code next to size * 2^exponent steps from zero. */
static int8_t code_of(uint64_t size, int exponent, int is_negative, int32_t zero, int32_t low, int32_t high) {
  int32_t code;
  if (exponent <= 0) size = shifted(size, -exponent);
  else if (exponent < 16) size <<= exponent;
  else size = size == 0 ? 0 : 65535;
  code = size > 65535 ? 65535 : (int32_t)size;
  code = zero + (is_negative ? -code : code);
  return (int8_t)(code < low ? low : code > high ? high : code);
}
)"},
      {"scaled", {"single"}, R"(/* sum * factor * 2^exponent */
static int8_t scaled(int32_t sum, uint32_t factor, int exponent, int32_t zero, int32_t low, int32_t high) {
  uint64_t size = sum < 0 ? (uint64_t)(-(int64_t)sum) : (uint64_t)sum;
  size = to_single(size, &exponent) * factor;
  size = to_single(size, &exponent);
  return code_of(size, exponent, sum < 0, zero, low, high);
}
)"},
      {"convolve",
       {"window", "scaled"},
       R"(static void convolve(const struct window *n, const int8_t *x, const int8_t *w, const int32_t *bias,
                     const uint32_t *factors, const int8_t *exponents, int8_t *y) {
  int32_t b, r, c, o, i, j, k;
  for (b = 0; b < n->batch; ++b)
    for (r = 0; r < n->made_rows; ++r)
      for (c = 0; c < n->made_cols; ++c)
        for (o = 0; o < n->outputs; ++o) {
          const int32_t first = o / (n->outputs / n->groups) * n->depth;
          int32_t sum = bias[o];
          for (i = 0; i < n->tap_rows; ++i) {
            const int32_t row = r * n->row_stride + i * n->row_step - n->top;
            if (row < 0 || row >= n->rows) continue;
            for (j = 0; j < n->tap_cols; ++j) {
              const int32_t col = c * n->col_stride + j * n->col_step - n->left;
              const int8_t *from, *by;
              if (col < 0 || col >= n->cols) continue;
              from = x + (((size_t)b * n->rows + row) * n->cols + col) * n->channels + first;
              by = w + (((size_t)o * n->tap_rows + i) * n->tap_cols + j) * n->depth;
              for (k = 0; k < n->depth; ++k) sum += (from[k] - n->x_zero) * by[k];
            }
          }
          *y++ = scaled(sum, factors[o], exponents[o], n->zero, n->low, n->high);
        }
}
)"},
      {"pool", {"window"}, R"(/* The largest of each window, or the mean, rounded half away from 0. */
static void pool(const struct window *n, int is_mean, const int8_t *x, int8_t *y) {
  int32_t b, r, c, o, i, j;
  for (b = 0; b < n->batch; ++b)
    for (r = 0; r < n->made_rows; ++r)
      for (c = 0; c < n->made_cols; ++c)
        for (o = 0; o < n->outputs; ++o) {
          int32_t sum = 0, count = 0, largest = -128, code;
          for (i = 0; i < n->tap_rows; ++i)
            for (j = 0; j < n->tap_cols; ++j) {
              const int32_t row = r * n->row_stride + i - n->top, col = c * n->col_stride + j - n->left;
              int8_t one;
              if (row < 0 || row >= n->rows || col < 0 || col >= n->cols) continue;
              one = x[(((size_t)b * n->rows + row) * n->cols + col) * n->channels + o];
              sum += one;
              ++count;
              if (one > largest) largest = one;
            }
          code = largest;
          if (is_mean && count > 0) code = sum < 0 ? -((-sum + count / 2) / count) : (sum + count / 2) / count;
          *y++ = (int8_t)(code < n->low ? n->low : code > n->high ? n->high : code);
        }
}
)"},
      {"real", {"single"}, R"(/* A number as single precision has it: size * 2^exponent. */
struct real {
  uint64_t size;
  int exponent, is_negative;
};
struct grid {
  uint32_t scale;
  int32_t exponent, zero; /* a step is scale * 2^exponent */
};

static struct real real_of(int8_t code, const struct grid *g) {
  struct real made;
  const int32_t steps = code - g->zero;
  made.is_negative = steps < 0;
  made.exponent = g->exponent;
  made.size = to_single((uint64_t)(steps < 0 ? -steps : steps) * g->scale, &made.exponent);
  return made;
}

static struct real quotient(struct real x, uint64_t divisor, int exponent) {
  uint64_t rest;
  if (x.size == 0) return x;
  while (!(x.size >> 31)) x.size <<= 1, --x.exponent;
  rest = (x.size << 31) % divisor;
  x.size = (x.size << 31) / divisor * 2 + (rest != 0);
  x.exponent -= 32 + exponent;
  x.size = to_single(x.size, &x.exponent);
  return x;
}

static int8_t code_on(struct real x, const struct grid *g, int32_t low, int32_t high) {
  x = quotient(x, g->scale, g->exponent);
  return code_of(x.size, x.exponent, x.is_negative, g->zero, low, high);
}
)"},
      {"add", {"real"}, R"(static struct real sum_of(struct real a, struct real b) {
  struct real made = a;
  int64_t sum;
  int apart;
  if (a.size == 0) return b;
  if (b.size == 0) return a;
  if (a.exponent < b.exponent) {
    made = a;
    a = b;
    b = made;
  }
  while (a.exponent > b.exponent && !(a.size >> 60)) a.size <<= 1, --a.exponent;
  apart = a.exponent - b.exponent; /* what is left of b then is less than can be seen */
  b.size = apart > 0 ? 0 : b.size;
  sum = (a.is_negative ? -(int64_t)a.size : (int64_t)a.size) + (b.is_negative ? -(int64_t)b.size : (int64_t)b.size);
  made.is_negative = sum < 0;
  made.exponent = a.exponent;
  made.size = to_single((uint64_t)(sum < 0 ? -sum : sum), &made.exponent);
  return made;
}

/* of_a, of_b: how many there are, over and over again */
static void add(const int8_t *a, size_t of_a, const struct grid *ga, const int8_t *b, size_t of_b,
                const struct grid *gb, size_t count, const struct grid *gy, int32_t low, int32_t high, int8_t *y) {
  size_t i;
  for (i = 0; i < count; ++i)
    y[i] = code_on(sum_of(real_of(a[i % of_a], ga), real_of(b[i % of_b], gb)), gy, low, high);
}
)"},
      {"multiply",
       {"real"},
       R"(/* of_a, of_b: how many there are, over and over again */
static void multiply(const int8_t *a, size_t of_a, const struct grid *ga, const int8_t *b, size_t of_b,
                     const struct grid *gb, size_t count, const struct grid *gy, int32_t low, int32_t high,
                     int8_t *y) {
  size_t i;
  for (i = 0; i < count; ++i) {
    struct real x = real_of(a[i % of_a], ga);
    const struct real by = real_of(b[i % of_b], gb);
    x.exponent += by.exponent;
    x.is_negative ^= by.is_negative;
    x.size = to_single(x.size * by.size, &x.exponent);
    y[i] = code_on(x, gy, low, high);
  }
}
)"},
      {"mean", {"real"}, R"(/* Means over the middle of [outer, count, inner]. */
static void mean(const int8_t *x, const struct grid *gx, size_t outer, size_t count, size_t inner,
                 const struct grid *gy, int8_t *y) {
  size_t o, i, k;
  for (o = 0; o < outer; ++o)
    for (i = 0; i < inner; ++i) {
      int64_t sum = 0;
      struct real made;
      for (k = 0; k < count; ++k) {
        const struct real one = real_of(x[(o * count + k) * inner + i], gx);
        const int64_t size = (int64_t)(one.size << (one.exponent - gx->exponent));
        sum += one.is_negative ? -size : size;
      }
      made.is_negative = sum < 0;
      made.size = (uint64_t)(sum < 0 ? -sum : sum);
      made.exponent = gx->exponent;
      while (made.size >> 32) made.size = made.size >> 1 | (made.size & 1), ++made.exponent;
      *y++ = code_on(quotient(made, count, 0), gy, -128, 127);
    }
}
)"},
      {"look_up", {}, R"(/* table: by code, from -128 on */
static void look_up(const int8_t *x, const int8_t *table, size_t count, int8_t *y) {
  size_t i;
  for (i = 0; i < count; ++i) y[i] = table[x[i] + 128];
}
)"},
      {"share", {}, R"(/* Softmax of rows; powers: of e, by how far a code is below the largest. */
static void share(const int8_t *x, const uint32_t *powers, size_t rows, size_t count, int8_t *y) {
  size_t r, i;
  for (r = 0; r < rows; ++r, x += count, y += count) {
    uint64_t sum = 0;
    int32_t largest = -128;
    for (i = 0; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
    for (i = 0; i < count; ++i) sum += powers[largest - x[i]];
    for (i = 0; i < count; ++i) {
      const uint64_t part = (((uint64_t)powers[largest - x[i]] << 9) + sum) / (sum * 2);
      y[i] = (int8_t)(part > 255 ? 127 : (int32_t)part - 128);
    }
  }
}
)"},
      {"move", {}, R"(/* Numbers of `size` bytes to other places. */
static void move(const int32_t *counts, const int32_t *from, const int32_t *to, size_t size, const void *x, void *y) {
  int32_t i[6] = {0};
  const char *source = (const char *)x;
  char *place = (char *)y;
  int d = 0;
  while (d >= 0) {
    memcpy(place, source, size);
    for (d = 5; d >= 0; --d) {
      source += from[d] * (int32_t)size;
      place += to[d] * (int32_t)size;
      if (++i[d] < counts[d]) break;
      source -= from[d] * counts[d] * (int32_t)size;
      place -= to[d] * counts[d] * (int32_t)size;
      i[d] = 0;
    }
  }
}
)"},
      {"to_codes", {}, R"(static void to_codes(const float *x, float scale, int32_t zero, size_t count, int8_t *y) {
  size_t i;
  for (i = 0; i < count; ++i) {
    float steps = x[i] / scale, rest;
    int32_t code;
    if (!(steps > -512.0f)) steps = steps == steps ? -512.0f : 0.0f;
    if (steps > 512.0f) steps = 512.0f;
    code = (int32_t)steps;
    rest = steps - (float)code;
    if (rest > 0.5f || (rest == 0.5f && (code & 1))) ++code;
    if (rest < -0.5f || (rest == -0.5f && (code & 1))) --code;
    code += zero;
    y[i] = (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
  }
}
)"},
      {"to_floats", {}, R"(static void to_floats(const int8_t *x, float scale, int32_t zero, size_t count, float *y) {
  size_t i;
  for (i = 0; i < count; ++i) y[i] = (float)(x[i] - zero) * scale;
}
)"},
      {"convolve_floats",
       {"window"},
       R"(static void convolve_floats(const struct window *n, float low, float high, const float *x, const float *w,
                            const float *bias, float *y) {
  int32_t b, r, c, o, i, j, k;
  for (b = 0; b < n->batch; ++b)
    for (r = 0; r < n->made_rows; ++r)
      for (c = 0; c < n->made_cols; ++c)
        for (o = 0; o < n->outputs; ++o) {
          const int32_t first = o / (n->outputs / n->groups) * n->depth;
          float sum = bias[o];
          for (i = 0; i < n->tap_rows; ++i) {
            const int32_t row = r * n->row_stride + i * n->row_step - n->top;
            if (row < 0 || row >= n->rows) continue;
            for (j = 0; j < n->tap_cols; ++j) {
              const int32_t col = c * n->col_stride + j * n->col_step - n->left;
              const float *from, *by;
              if (col < 0 || col >= n->cols) continue;
              from = x + (((size_t)b * n->rows + row) * n->cols + col) * n->channels + first;
              by = w + (((size_t)o * n->tap_rows + i) * n->tap_cols + j) * n->depth;
              for (k = 0; k < n->depth; ++k) sum += from[k] * by[k];
            }
          }
          *y++ = sum < low ? low : sum > high ? high : sum;
        }
}
)"},
      {"pool_floats",
       {"window"},
       R"(static void pool_floats(const struct window *n, int is_mean, float low, float high, const float *x, float *y) {
  int32_t b, r, c, o, i, j;
  for (b = 0; b < n->batch; ++b)
    for (r = 0; r < n->made_rows; ++r)
      for (c = 0; c < n->made_cols; ++c)
        for (o = 0; o < n->outputs; ++o) {
          float sum = 0, largest = -3.402823466e38f;
          int32_t count = 0;
          for (i = 0; i < n->tap_rows; ++i)
            for (j = 0; j < n->tap_cols; ++j) {
              const int32_t row = r * n->row_stride + i - n->top, col = c * n->col_stride + j - n->left;
              float one;
              if (row < 0 || row >= n->rows || col < 0 || col >= n->cols) continue;
              one = x[(((size_t)b * n->rows + row) * n->cols + col) * n->channels + o];
              sum += one;
              ++count;
              if (one > largest) largest = one;
            }
          if (is_mean) largest = count > 0 ? sum / (float)count : 0;
          *y++ = largest < low ? low : largest > high ? high : largest;
        }
}
)"},
      {"mean_floats",
       {},
       R"(static void mean_floats(const float *x, size_t outer, size_t count, size_t inner, float *y) {
  size_t o, i, k;
  for (o = 0; o < outer; ++o)
    for (i = 0; i < inner; ++i) {
      float sum = 0;
      for (k = 0; k < count; ++k) sum += x[(o * count + k) * inner + i];
      *y++ = sum / (float)count;
    }
}
)"},
      {"share_floats",
       {},
       R"(static void share_floats(const float *x, float beta, size_t rows, size_t count, float *y) {
  size_t r, i;
  for (r = 0; r < rows; ++r, x += count, y += count) {
    float largest = x[0], sum = 0;
    for (i = 1; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
    for (i = 0; i < count; ++i) sum += y[i] = expf((x[i] - largest) * beta);
    for (i = 0; i < count; ++i) y[i] /= sum;
  }
}
)"}};
  return kFunctions;
}

}  // namespace

void CFunctions::use(std::string_view name) {
  const auto found = std::ranges::find(functions(), name, &Function::name);
  assert(found != functions().end());
  if (used_.insert(found->name).second)
    for (const std::string_view one : found->needs) use(one);
}

std::string CFunctions::text() const {
  std::string text;
  for (const Function& one : functions())
    if (used_.contains(one.name)) text += std::string(one.text) + "\n";
  return text;
}

}  // namespace nibble
