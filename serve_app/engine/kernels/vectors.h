// Sixteen numbers at a time: read, written, added up and raised, in vector extensions of GCC and clang.
// In memory they are floats or bf16; in hand they are floats.

#pragma once

#include <cstdint>
#include <cstring>

namespace {

typedef float F __attribute__((vector_size(64)));
typedef uint32_t U __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));
typedef uint16_t H __attribute__((vector_size(32)));
typedef float F8 __attribute__((vector_size(32)));
typedef float F4 __attribute__((vector_size(16)));

constexpr int LANES = 16;

struct bf16 {
    uint16_t bits;
};

inline F load(const float* p) {
    F v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

inline F load(const bf16* p) {
    H h;
    std::memcpy(&h, p, sizeof h);
    return (F)(__builtin_convertvector(h, U) << 16);
}

inline void store(float* p, F v) { std::memcpy(p, &v, sizeof v); }

inline void store(bf16* p, F v) {
    U w = (U)v;
    U rounded = (w + 0x7fff + ((w >> 16) & 1)) >> 16;  // to nearest, ties to even
    I is_nan = v != v;
    rounded = (rounded & ~(U)is_nan) | (0x7fc0 & (U)is_nan);
    H h = __builtin_convertvector(rounded, H);
    std::memcpy(p, &h, sizeof h);
}

inline float widen(float x) { return x; }
inline float widen(bf16 x) {
    uint32_t bits = uint32_t(x.bits) << 16;
    float v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
}

inline void narrow(float* p, float x) { *p = x; }
inline void narrow(bf16* p, float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    p->bits = x == x ? uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) : 0x7fc0;
}

inline F splat(float x) { return F{} + x; }
inline F larger(F a, F b) { return a > b ? a : b; }
inline F smaller(F a, F b) { return a < b ? a : b; }

inline float sum(F v) {
    F8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    F4 b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
    return (b[0] + b[2]) + (b[1] + b[3]);
}

// The sums of 16 vectors as one vector: a tree of shuffles costs a third of 16 separate sums.
inline F sums(const F* v) {
    F a[8], b[4], c[2];
    for (int i = 0; i < 8; ++i)
        a[i] = __builtin_shufflevector(v[i], v[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23) +
               __builtin_shufflevector(v[i], v[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    for (int i = 0; i < 4; ++i)
        b[i] = __builtin_shufflevector(a[i], a[i + 4], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23) +
               __builtin_shufflevector(a[i], a[i + 4], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    for (int i = 0; i < 2; ++i)
        c[i] = __builtin_shufflevector(b[i], b[i + 2], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23) +
               __builtin_shufflevector(b[i], b[i + 2], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    return __builtin_shufflevector(c[0], c[1], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23) +
           __builtin_shufflevector(c[0], c[1], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// e^x, relative error about 2e-7; 0 below -87, NaN stays NaN.
inline F exp(F x) {
    F n = x * 1.44269504f;
    n = (n + 12582912.0f) - 12582912.0f;  // to the nearest whole number
    F r = x - n * 0.693145752f - n * 1.42860677e-6f;
    F p = splat(1.0f / 720);
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    n = larger(smaller(n, splat(127.0f)), splat(-126.0f));
    F scale = (F)((__builtin_convertvector(n, I) + 127) << 23);
    F result = p * scale;
    return x < -87.0f ? F{} : result;
}

}  // namespace
