// Adapters: two thin products per layer and token, with the matrices of that token's adapter.

#pragma once

#include "products.h"
#include "vectors.h"

#include <omp.h>

#include <cstdint>

namespace {

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
            __builtin_prefetch(rows[j] + RANKS * in + i, 0, 2);  // the next tile: these rows are too short for the processor to see it
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
                        __builtin_prefetch(tile + TILE * rank + ahead, 0, 2);
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

}  // namespace
