// The gated unit.

#pragma once

#include "vectors.h"

#include <cstdint>

namespace {

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

}  // namespace
