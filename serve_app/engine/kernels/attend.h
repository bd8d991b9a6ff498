// Attention over slots of different length, with rotary embedding and cache write.

#pragma once

#include "products.h"
#include "vectors.h"

#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace {

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
        for (int64_t i = k * dim; i < (k + count) * dim; i += 64 / sizeof(T)) {
            __builtin_prefetch(keys + LANES * dim + i, 0, 2);  // a row's own keys and values are too short for the processor to see them
            __builtin_prefetch(values + i, 0, 2);
        }
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

}  // namespace
