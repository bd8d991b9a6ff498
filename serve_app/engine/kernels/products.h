// Sums of products of T, in float: along vectors (Dot) and across them (Mix), each in plain vectors and, where the
// processor multiplies pairs of bf16 by itself (AVX512_BF16), in its instructions.

#pragma once

#include "vectors.h"

#include <cstdint>
#include <cstring>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace {

// Sums along the vectors: add(acc, a, b) adds the products of STEP pairs of numbers, spread over the lanes of acc.
template <class T>
struct Dot {
    typedef F V;
    static constexpr int STEP = LANES;
    static V whole(const T* p) { return load(p); }
    static V half(const T* p) { return load(p); }  // 16 numbers
    static F add(F acc, V a, V b) { return acc + a * b; }
};

// Sums across two vectors: add(acc, pairs[v], weights) adds, to 16 columns of acc, two rows times their weights. The
// columns of acc are in an order of the processor's until `ordered`.
template <class T>
struct Mix {
    struct V {
        F first, second;
    };
    template <int NV>
    static void rows(const T* first, const T* second, V* pairs) {  // second: null for none
        for (int v = 0; v < NV; ++v) pairs[v] = {load(first + v * LANES), second ? load(second + v * LANES) : F{}};
    }
    static V weights(const T* two, bool both) { return {splat(widen(two[0])), both ? splat(widen(two[1])) : F{}}; }
    static F add(F acc, V pair, V weights) { return acc + pair.first * weights.first + pair.second * weights.second; }
    template <int NV>
    static void ordered(F*) {}
};

#ifdef __AVX512BF16__
// The processor multiplies pairs of bf16 and adds both products to a float: half the work, and nothing to widen.
template <>
struct Dot<bf16> {
    typedef __m512bh V;
    static constexpr int STEP = 2 * LANES;
    static V whole(const bf16* p) { return (V)_mm512_loadu_si512(p); }
    static V half(const bf16* p) { return (V)_mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i*)p)); }
    static F add(F acc, V a, V b) { return (F)_mm512_dpbf16_ps((__m512)acc, a, b); }
};

template <>
struct Mix<bf16> {
    typedef __m512bh V;
    template <int NV>
    static void rows(const bf16* first, const bf16* second, V* pairs) {
        if constexpr (NV % 2) {
            for (int v = 0; v < NV; ++v) {
                U b = second ? widened(second + v * LANES) : U{};
                pairs[v] = (V)(widened(first + v * LANES) | b << 16);
            }
        } else {
            for (int v = 0; v < NV; v += 2) {
                __m512i a = _mm512_loadu_si512(first + v * LANES);
                __m512i b = second ? _mm512_loadu_si512(second + v * LANES) : _mm512_setzero_si512();
                pairs[v] = (V)_mm512_unpacklo_epi16(a, b);  // columns 0-3, 8-11, 16-19, 24-27 of these 32
                pairs[v + 1] = (V)_mm512_unpackhi_epi16(a, b);
            }
        }
    }
    static V weights(const bf16* two, bool both) {
        uint32_t bits = two[0].bits | (both ? uint32_t(two[1].bits) << 16 : 0);
        return (V)_mm512_set1_epi32(int(bits));
    }
    static F add(F acc, V pair, V weights) { return (F)_mm512_dpbf16_ps((__m512)acc, pair, weights); }
    template <int NV>
    static void ordered(F* acc) {
        for (int v = 0; v + 1 < NV; v += 2) {
            F a = acc[v], b = acc[v + 1];
            acc[v] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
            acc[v + 1] = __builtin_shufflevector(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
        }
    }

   private:
    static U widened(const bf16* p) {
        H h;
        std::memcpy(&h, p, sizeof h);
        return __builtin_convertvector(h, U);
    }
};
#endif

}  // namespace
