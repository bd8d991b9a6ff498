// The engine's own CPU kernels: what lies between the matrix products of a decoder layer, for a flat batch of tokens
// whose rows have different lengths and different adapters. Plain C++ with vector extensions (GCC >= 12, clang >= 15):
// the compiler turns a vector of 16 floats into whatever this processor has. Only what it does not find by itself, the
// products of pairs of bf16 (AVX512_BF16), is written out, beside the same in plain vectors.
//
// All matrices are row-major and dense. T is the number type of weights and activations (bf16 or float); sums are in
// float. Lengths of vectors are multiples of 16 (checked in native.py). Threads: OpenMP's, as torch sets them.
//
// This file is what is compiled, and exports each kernel for each T; the headers are parts of it, one idea each:
//
//   vectors.h   sixteen numbers at a time          products.h  sums of products of T
//   norm.h      residual and norm                  gated.h     the gated unit
//   lora.h      adapters                           attend.h    attention over slots
//   logits.h    what is read off logits

#include "attend.h"
#include "gated.h"
#include "logits.h"
#include "lora.h"
#include "norm.h"
#include "vectors.h"

#include <cstdint>

#define EXPORT(NAME, T)                                                                                                       \
    extern "C" void add_norm_##NAME(T* h, const T* d, const T* w, T* o, int64_t n, int64_t dim, float eps) {                   \
        add_norm(h, d, w, o, n, dim, eps);                                                                                    \
    }                                                                                                                         \
    extern "C" void silu_mul_##NAME(const T* g, T* o, int64_t n, int64_t inner) { silu_mul(g, o, n, inner); }                  \
    extern "C" void lora_##NAME(const T* x, T* o, const T* a, const T* b, const int32_t* ranks, const int64_t* columns,        \
                                int64_t members, int64_t max_rank, int64_t in, const int32_t* runs, int64_t num_runs,         \
                                T* hidden) {                                                                              \
        lora(x, o, a, b, ranks, columns, members, max_rank, in, runs, num_runs, hidden);                                      \
    }                                                                                                                         \
    extern "C" void attend_##NAME(T* qkv, const T* cos, const T* sin, T* k, T* v, const int64_t* slots,                        \
                                  const int64_t* positions, T* o, int64_t n, int64_t heads, int64_t kv_heads, int64_t dim,    \
                                  int64_t context, float scale) {                                                             \
        attend(qkv, cos, sin, k, v, slots, positions, o, n, heads, kv_heads, dim, context, scale);                            \
    }                                                                                                                         \
    extern "C" void logit_stats_##NAME(const T* l, int64_t rows, int64_t vocab, int64_t* ids, float* best, float* second,      \
                                       float* lse, float* entropy) {                                                          \
        logit_stats(l, rows, vocab, ids, best, second, lse, entropy);                                                         \
    }

EXPORT(bf16, bf16)
EXPORT(f32, float)
