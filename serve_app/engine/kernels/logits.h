// What is read off logits.

#pragma once

#include "vectors.h"

#include <cmath>
#include <cstdint>
#include <limits>

namespace {

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
