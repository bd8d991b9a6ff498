// The engine's own CPU kernels: what lies between the matrix products of a decoder layer, for a flat batch of tokens
// whose rows have different lengths and different adapters. Plain C++ with vector extensions (GCC >= 12, clang >= 15):
// the compiler turns a vector of 16 floats into whatever this processor has. Only what it does not find by itself, the
// products of pairs of bf16 (AVX512_BF16), is written out, beside the same in plain vectors.
//
// All matrices are row-major and dense. T is the number type of weights and activations (bf16 or float); sums are in
// float. Lengths of vectors are multiples of 16 (checked in native.py). Threads: OpenMP's, as torch sets them.

#include <omp.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

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

// ---- products of T with sums in float ----------------------------------------------------------------------------

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

// ---- residual and norm -------------------------------------------------------------------------------------------

// hidden += delta (if given); out = hidden / rms(hidden) * weight. [tokens, dim]
template <class T>
void add_norm(T* hidden, const T* delta, const T* weight, T* out, int64_t tokens, int64_t dim, float eps) {
#pragma omp parallel for schedule(static) if (tokens > 4)
    for (int64_t t = 0; t < tokens; ++t) {
        T* h = hidden + t * dim;
        F squares = {};
        for (int64_t i = 0; i < dim; i += LANES) {
            if (delta) store(h + i, load(h + i) + load(delta + t * dim + i));
            F v = load(h + i);
            squares += v * v;
        }
        float scale = 1.0f / std::sqrt(sum(squares) / dim + eps);
        for (int64_t i = 0; i < dim; i += LANES) store(out + t * dim + i, load(h + i) * scale * load(weight + i));
    }
}

// ---- the gated unit ----------------------------------------------------------------------------------------------

// out = silu(gate) * up, from [tokens, gate inner | up inner] to [tokens, inner]
template <class T>
void silu_mul(const T* gate_up, T* out, int64_t tokens, int64_t inner) {
#pragma omp parallel for schedule(static) if (tokens > 1)
    for (int64_t t = 0; t < tokens; ++t) {
        const T* gate = gate_up + t * 2 * inner;
        for (int64_t i = 0; i < inner; i += LANES) {
            F g = load(gate + i);
            store(out + t * inner + i, g / (1.0f + exp(-g)) * load(gate + inner + i));
        }
    }
}

// ---- adapters ----------------------------------------------------------------------------------------------------

constexpr int TOKENS = 4;  // that share one pass over an adapter's weights
constexpr int RANKS = 4;
constexpr int TILE = 64;  // columns of an adapter's B that lie together (bank.py writes them so)

// hidden[t, j] = x[t, :] . a[j, :] for up to TOKENS tokens and RANKS ranks
template <class T, int N>
void shrink_tile(const T* x, int64_t in, const T* a, int ranks, T* hidden, int64_t hidden_stride) {
    typedef Dot<T> D;
    F acc[N][RANKS] = {};
    const T* rows[RANKS];
    for (int j = 0; j < RANKS; ++j) rows[j] = a + (j < ranks ? j : 0) * in;
    int64_t i = 0;
    for (; i + D::STEP <= in; i += D::STEP) {
        typename D::V w[RANKS];
        for (int j = 0; j < RANKS; ++j) {
            w[j] = D::whole(rows[j] + i);
            __builtin_prefetch(rows[j] + RANKS * in + i, 0, 0);  // the next tile: these rows are too short for the processor to see it
        }
        for (int t = 0; t < N; ++t) {
            typename D::V v = D::whole(x + t * in + i);
            for (int j = 0; j < RANKS; ++j) acc[t][j] = D::add(acc[t][j], v, w[j]);
        }
    }
    if (i < in)
        for (int t = 0; t < N; ++t)
            for (int j = 0; j < RANKS; ++j) acc[t][j] = D::add(acc[t][j], D::half(x + t * in + i), D::half(rows[j] + i));
    for (int t = 0; t < N; ++t)
        for (int j = 0; j < ranks; ++j) narrow(hidden + t * hidden_stride + j, sum(acc[t][j]));
}

// out[t, :NV * 16] += hidden[t, :] b for N tokens; b is a tile [rank, tile_width], of which NV * 16 columns are used
template <class T, int N, int NV>
void expand_tile(const T* hidden, int64_t hidden_stride, const T* b, int64_t tile_width, int rank, T* out, int64_t out_stride) {
    typedef Mix<T> M;
    F acc[N][NV] = {};
    for (int j = 0; j < rank; j += 2) {
        const bool both = j + 1 < rank;
        typename M::V w[NV];
        M::template rows<NV>(b + j * tile_width, both ? b + (j + 1) * tile_width : nullptr, w);
        for (int t = 0; t < N; ++t) {
            typename M::V h = M::weights(hidden + t * hidden_stride + j, both);
            for (int v = 0; v < NV; ++v) acc[t][v] = M::add(acc[t][v], w[v], h);
        }
    }
    for (int t = 0; t < N; ++t) {
        M::template ordered<NV>(acc[t]);
        for (int v = 0; v < NV; ++v) {
            T* p = out + t * out_stride + v * LANES;
            store(p, load(p) + acc[t][v]);
        }
    }
}

template <class T, int N>
void expand_columns(const T* hidden, int64_t hidden_stride, const T* b, int rank, T* out, int64_t out_stride,
                    int64_t columns) {
    if (columns == TILE) return expand_tile<T, N, TILE / LANES>(hidden, hidden_stride, b, columns, rank, out, out_stride);
    for (int64_t c = 0; c < columns; c += LANES)
        expand_tile<T, N, 1>(hidden, hidden_stride, b + c, columns, rank, out + c, out_stride);
}

// The part of `total` items that is this thread's: neighbours, so that each thread reads memory in order.
struct Share {
    int64_t at = 0, first, end;
    explicit Share(int64_t total)
        : first(total * omp_get_thread_num() / omp_get_num_threads()),
          end(total * (omp_get_thread_num() + 1) / omp_get_num_threads()) {}
    bool next() {
        const int64_t item = at++;
        return item >= first && item < end;
    }
};

// What adapters add to a layer's output: out[t, members] += (x[t, :] a^T) b for runs of tokens with one adapter each.
//
//   x [tokens, in]; out [tokens, columns[members]]; member m is columns [columns[m], columns[m + 1])
//   a [slots, members * max_rank, in]; of member m of a slot, the first ranks[slot, m] rows count
//   b [slots, max_rank * columns[members]]: member m from max_rank * columns[m] on, as tiles [rank, 64] one after another
//   runs [num_runs, 3]: adapter slot, first token, one past the last; hidden [tokens, members * max_rank] is scratch
template <class T>
void lora(const T* x, T* out, const T* a, const T* b, const int32_t* ranks, const int64_t* columns, int64_t members,
          int64_t max_rank, int64_t in, const int32_t* runs, int64_t num_runs, T* hidden) {
    const int64_t width = columns[members], hidden_stride = members * max_rank;
    int64_t num_shrinks = 0, num_expands = 0;
    for (int64_t r = 0; r < num_runs; ++r)
        for (int64_t m = 0; m < members; ++m) {
            const int64_t rank = ranks[runs[3 * r] * members + m];
            num_shrinks += (rank + RANKS - 1) / RANKS;
            num_expands += rank ? (columns[m + 1] - columns[m] + TILE - 1) / TILE : 0;
        }
    if (!num_expands) return;
#pragma omp parallel
    {
        Share shrinks(num_shrinks), expands(num_expands);
        for (int64_t r = 0; r < num_runs; ++r) {
            const int64_t slot = runs[3 * r], first = runs[3 * r + 1], end = runs[3 * r + 2];
            for (int64_t m = 0; m < members; ++m) {
                const int64_t rank = ranks[slot * members + m];
                for (int64_t j = 0; j < rank; j += RANKS) {
                    if (!shrinks.next()) continue;
                    const int count = rank - j < RANKS ? rank - j : RANKS;
                    const T* tile = a + (slot * hidden_stride + m * max_rank + j) * in;
                    T* to = hidden + m * max_rank + j;
                    int64_t t = first;
                    for (; t + TOKENS <= end; t += TOKENS)
                        shrink_tile<T, TOKENS>(x + t * in, in, tile, count, to + t * hidden_stride, hidden_stride);
                    for (; t < end; ++t) shrink_tile<T, 1>(x + t * in, in, tile, count, to + t * hidden_stride, hidden_stride);
                }
            }
        }
#pragma omp barrier
        for (int64_t r = 0; r < num_runs; ++r) {
            const int64_t slot = runs[3 * r], first = runs[3 * r + 1], end = runs[3 * r + 2];
            for (int64_t m = 0; m < members; ++m) {
                const int rank = ranks[slot * members + m];
                const int64_t member_width = columns[m + 1] - columns[m];
                const T* weights = b + slot * max_rank * width + max_rank * columns[m];
                for (int64_t c = 0; rank && c < member_width; c += TILE) {
                    if (!expands.next()) continue;
                    const int64_t count = member_width - c < TILE ? member_width - c : TILE;
                    const T* tile = weights + c * rank;
                    for (int64_t ahead = 0; ahead < count * rank; ahead += 64 / sizeof(T))
                        __builtin_prefetch(tile + TILE * rank + ahead, 0, 0);
                    const T* from = hidden + m * max_rank;
                    T* to = out + columns[m] + c;
                    int64_t t = first;
                    for (; t + TOKENS <= end; t += TOKENS)
                        expand_columns<T, TOKENS>(from + t * hidden_stride, hidden_stride, tile, rank, to + t * width, width, count);
                    for (; t < end; ++t)
                        expand_columns<T, 1>(from + t * hidden_stride, hidden_stride, tile, rank, to + t * width, width, count);
                }
            }
        }
    }
}

// ---- attention ---------------------------------------------------------------------------------------------------

// Rotate the halves of one head by cos and sin: the embedding of Su et al., 2021, as Llama lays it out.
template <class T>
void rotate(T* head, const T* cos, const T* sin, int64_t dim) {
    const int64_t half = dim / 2;
    for (int64_t i = 0; i < half; i += LANES) {
        F a = load(head + i), b = load(head + half + i);
        store(head + i, a * load(cos + i) - b * load(sin + i));
        store(head + half + i, b * load(cos + half + i) + a * load(sin + half + i));
    }
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

// Attention of G query heads that share one key head, for one token, over `length` keys. scores: [G, length + 16].
template <class T, int NV, int G>
void attend_heads(const T* query, const T* keys, const T* values, int64_t length, float scale, float* scores, T* out) {
    typedef Dot<T> D;
    typedef Mix<T> M;
    constexpr int ND = NV * LANES / D::STEP;
    const int64_t dim = NV * LANES, stride = (length + LANES - 1) / LANES * LANES;
    const float low = -std::numeric_limits<float>::infinity();
    F acc[LANES], top[G];
    typename D::V q[G][ND];
    for (int g = 0; g < G; ++g) {
        top[g] = splat(low);
        for (int v = 0; v < ND; ++v) q[g][v] = D::whole(query + g * dim + v * D::STEP);
    }
    for (int64_t k = 0; k < length; k += LANES) {
        const int count = length - k < LANES ? length - k : LANES;
        for (int g = 0; g < G; ++g) {
            for (int i = 0; i < LANES; ++i) {
                const T* key = keys + (k + (i < count ? i : 0)) * dim;
                acc[i] = F{};
                for (int v = 0; v < ND; ++v) acc[i] = D::add(acc[i], q[g][v], D::whole(key + v * D::STEP));
            }
            F score = sums(acc) * scale;
            for (int i = count; i < LANES; ++i) score[i] = low;
            top[g] = larger(top[g], score);
            store(scores + g * stride + k, score);
        }
    }
    F total[G] = {}, mixed[G][NV] = {};
    T* weights[G];
    for (int g = 0; g < G; ++g) {
        weights[g] = (T*)(scores + g * stride);  // over the scores: what is written is never ahead of what is read
        float most = low;
        for (int i = 0; i < LANES; ++i) most = top[g][i] > most ? top[g][i] : most;
        for (int64_t k = 0; k < length; k += LANES) {
            F weight = exp(load(scores + g * stride + k) - most);
            total[g] += weight;
            store(weights[g] + k, weight);
        }
    }
    for (int64_t k = 0; k < length; k += 2) {
        const bool both = k + 1 < length;
        typename M::V value[NV];
        M::template rows<NV>(values + k * dim, both ? values + (k + 1) * dim : nullptr, value);
        for (int g = 0; g < G; ++g) {
            typename M::V two = M::weights(weights[g] + k, both);
            for (int v = 0; v < NV; ++v) mixed[g][v] = M::add(mixed[g][v], value[v], two);
        }
    }
    for (int g = 0; g < G; ++g) {
        M::template ordered<NV>(mixed[g]);
        for (int v = 0; v < NV; ++v) store(out + g * dim + v * LANES, mixed[g][v] / sum(total[g]));
    }
}

template <class T, int NV>
void attend_group(const T* query, const T* keys, const T* values, int64_t length, int64_t group, float scale, float* scores,
                  T* out) {
    constexpr int MOST = NV <= 4 ? 4 : 2;  // heads at once: what the registers hold
    const int64_t dim = NV * LANES;
    for (int64_t g = 0; g < group; g += MOST) {
        const T* q = query + g * dim;
        T* o = out + g * dim;
        switch (group - g < MOST ? group - g : MOST) {
            case 1: attend_heads<T, NV, 1>(q, keys, values, length, scale, scores, o); break;
            case 2: attend_heads<T, NV, 2>(q, keys, values, length, scale, scores, o); break;
            case 3: attend_heads<T, NV, MOST == 4 ? 3 : 1>(q, keys, values, length, scale, scores, o); break;
            default: attend_heads<T, NV, MOST>(q, keys, values, length, scale, scores, o);
        }
    }
}

template <class T>
void attend_group_of(int64_t dim, const T* query, const T* keys, const T* values, int64_t length, int64_t group, float scale,
                     float* scores, T* out) {
    switch (dim / LANES) {
        case 1: return attend_group<T, 1>(query, keys, values, length, group, scale, scores, out);
        case 2: return attend_group<T, 2>(query, keys, values, length, group, scale, scores, out);
        case 4: return attend_group<T, 4>(query, keys, values, length, group, scale, scores, out);
        case 6: return attend_group<T, 6>(query, keys, values, length, group, scale, scores, out);
        case 8: return attend_group<T, 8>(query, keys, values, length, group, scale, scores, out);
        default: return attend_group<T, 16>(query, keys, values, length, group, scale, scores, out);
    }
}

// Rotary embedding, cache write and causal attention of a flat batch over slot caches.
//
//   qkv [tokens, heads | kv_heads | kv_heads, dim], rotated in place; cos, sin [tokens, dim] (null: no rotation)
//   keys, values [slots, kv_heads, context, dim]; slots, positions [tokens]; out [tokens, heads, dim]
template <class T>
void attend(T* qkv, const T* cos, const T* sin, T* keys, T* values, const int64_t* slots, const int64_t* positions, T* out,
            int64_t tokens, int64_t heads, int64_t kv_heads, int64_t dim, int64_t context, float scale) {
    const int64_t stride = (heads + 2 * kv_heads) * dim, group = heads / kv_heads;
    int64_t longest = 0;
    for (int64_t t = 0; t < tokens; ++t) longest = positions[t] > longest ? positions[t] : longest;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t t = 0; t < tokens; ++t) {
            T* row = qkv + t * stride;
            if (cos)
                for (int64_t h = 0; h < heads + kv_heads; ++h) rotate(row + h * dim, cos + t * dim, sin + t * dim, dim);
            for (int64_t h = 0; h < kv_heads; ++h) {
                const int64_t place = ((slots[t] * kv_heads + h) * context + positions[t]) * dim;
                std::memcpy(keys + place, row + (heads + h) * dim, dim * sizeof(T));
                std::memcpy(values + place, row + (heads + kv_heads + h) * dim, dim * sizeof(T));
            }
        }
        std::vector<float> scores(4 * (longest + 1 + LANES));
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < tokens * kv_heads; ++i) {
            const int64_t t = i / kv_heads, h = i % kv_heads;
            const int64_t place = (slots[t] * kv_heads + h) * context * dim;
            attend_group_of(dim, qkv + t * stride + h * group * dim, keys + place, values + place, positions[t] + 1, group,
                            scale, scores.data(), out + (t * heads + h * group) * dim);
        }
    }
}

// ---- logits ------------------------------------------------------------------------------------------------------

// Per row of logits [rows, vocab]: largest and its id (the lowest on ties), second largest, log-sum-exp, entropy (nats;
// NaN for a row that is not finite; -inf is a legal logit).
template <class T>
void logit_stats(const T* logits, int64_t rows, int64_t vocab, int64_t* best_ids, float* best, float* second, float* log_sum_exp,
                 float* entropy) {
    const float low = -std::numeric_limits<float>::infinity();
    const I none = {};
#pragma omp parallel for schedule(static) if (rows > 1)
    for (int64_t r = 0; r < rows; ++r) {
        const T* row = logits + r * vocab;
        const int64_t whole = vocab / LANES * LANES;
        F one = splat(low), two = splat(low);
        for (int64_t i = 0; i < whole; i += LANES) {
            F v = load(row + i);
            two = larger(two, smaller(one, v));
            one = larger(one, v);
        }
        float top = low, next = low;
        auto see = [&](float v) {
            next = v > top ? top : (v > next ? v : next);
            top = v > top ? v : top;
        };
        for (int j = 0; j < LANES; ++j) see(one[j]), see(two[j]);
        for (int64_t i = whole; i < vocab; ++i) see(widen(row[i]));
        int64_t id = 0;
        for (; id < whole; id += LANES) {
            I same = load(row + id) == top;
            if (__builtin_memcmp(&same, &none, sizeof same)) break;
        }
        while (id < vocab && widen(row[id]) != top) ++id;
        F weights = {}, weighted = {};
        for (int64_t i = 0; i < whole; i += LANES) {
            F d = load(row + i) - top;
            d = d < -1e4f ? splat(-1e4f) : d;
            F w = exp(d);
            weights += w;
            weighted += w * d;
        }
        float total = sum(weights), moment = sum(weighted);
        for (int64_t i = whole; i < vocab; ++i) {
            float d = widen(row[i]) - top;
            d = d < -1e4f ? -1e4f : d;
            float w = std::exp(d);
            total += w;
            moment += w * d;
        }
        best_ids[r] = id < vocab ? id : 0;
        best[r] = top;
        second[r] = next;
        log_sum_exp[r] = top + std::log(total);
        entropy[r] = std::log(total) - moment / total;
    }
}

}  // namespace

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
