// Residual and norm.

#pragma once

#include "vectors.h"

#include <cmath>
#include <cstdint>

namespace {

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

}  // namespace
