// SPDX-License-Identifier: Apache-2.0
//
// Dense algebra that the methods need (GEMM, SYRK, Cholesky, triangular inverse), in f32 and f64. Matrices are
// row-major and whole; nothing may alias. Every element is one chain of fused multiply-adds in ascending order of the
// summed index (and then a division or root), which depends neither on the number of threads nor on the instruction
// set: the same bits everywhere. Sums run in the type of the result.
//
//   syrk(x, tokens, n, h, machine);              // h += x^T x, its lower triangle
//   mirror_lower(h, n, pool);                               // once, when all is summed
//   if (cholesky(h, n, machine) != n) ...        // h = L L^T; L in the lower triangle, zeros above
//   invert_lower(h, n, machine);                 // L^-1
//
// Not for concurrent callers with the same machine.
#pragma once

#include <cstddef>

#include "base/thread_pool.h"
#include "kernels/machine.h"

namespace nibble {

// c[m, n] += a[m, k] b[k, n].
void gemm(const float* a, const float* b, std::size_t m, std::size_t n, std::size_t k, float* c, Machine& machine);
void gemm(const double* a, const double* b, std::size_t m, std::size_t n, std::size_t k, double* c, Machine& machine);

// c[m, n] += y^T x for y: [tokens, m] and x: [tokens, n].
void add_outer_products(const float* y, const float* x, std::size_t tokens, std::size_t m, std::size_t n, float* c,
                        Machine& machine);
void add_outer_products(const double* y, const double* x, std::size_t tokens, std::size_t m, std::size_t n, double* c,
                        Machine& machine);

// h[n, n] += x^T x for x: [tokens, n], the lower triangle; what lies above is overwritten with nothing of use.
void syrk(const float* x, std::size_t tokens, std::size_t n, float* h, Machine& machine);
void syrk(const float* x, std::size_t tokens, std::size_t n, double* h, Machine& machine);
void syrk(const double* x, std::size_t tokens, std::size_t n, double* h, Machine& machine);

// h[i, j] = h[j, i] for i < j.
void mirror_lower(float* h, std::size_t n, ThreadPool& pool);
void mirror_lower(double* h, std::size_t n, ThreadPool& pool);

// a = L L^T in place: L replaces the lower triangle, zeros the upper one. Only the lower triangle of a is read. Returns
// n, or the index of the first pivot that is not a positive finite number (a is then partly overwritten).
std::size_t cholesky(float* a, std::size_t n, Machine& machine);
std::size_t cholesky(double* a, std::size_t n, Machine& machine);

// The inverse of a lower-triangular matrix with a nonzero diagonal, in place. The upper triangle is taken for zeros and
// left as such.
void invert_lower(float* l, std::size_t n, Machine& machine);
void invert_lower(double* l, std::size_t n, Machine& machine);

// The upper-triangular U with h^-1 = U^T U, in place, zeros below: what feedback rounding reads row by row (Frantar et
// al., GPTQ, arXiv:2210.17323, section 3.3). Found without h^-1 itself: with J the reversal of the order of rows, J h J
// = L L^T gives U = J L^-1 J. Only the upper triangle of h is read. Returns n, or the index of a pivot that is not a
// positive finite number, as cholesky.
std::size_t inverse_upper_factor(float* h, std::size_t n, Machine& machine);
std::size_t inverse_upper_factor(double* h, std::size_t n, Machine& machine);

}  // namespace nibble
