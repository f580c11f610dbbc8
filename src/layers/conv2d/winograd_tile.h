/* The transforms of Winograd's F(2x2, 3x3) and F(4x4, 3x3), in the order of conv2d.h: lines of a tile of
 * pixels, of weights and of sums, for as many channels as a register holds. t, the pixels of a line of a
 * tile of y, is 2 or 4, and like all that is an int here a constant after inlining.
 *
 * Lines of positions are made in pairs that share terms (t = 4: 0 and 5, 1 and 2, 3 and 4; t = 2: 0 and 3, 1
 * and 2), since sixteen registers hold the twelve numbers of two lines. */
#ifndef LOCKSTEP_LAYERS_CONV2D_WINOGRAD_TILE_H
#define LOCKSTEP_LAYERS_CONV2D_WINOGRAD_TILE_H

#include "layers/conv2d/sixteen.h"

enum { MOST_SIDE = 6 };

/* Which line of positions is the first, or the second, of a pair. */
ALWAYS_INLINE int line_of_pair(int t, int pair, int which) {
    if (pair == 0) return which == 0 ? 0 : t + 1;
    return 2 * pair - 1 + which;
}
ALWAYS_INLINE int pairs_of(int t) {
    return t / 2 + 1;
}

/* --- pixels: B^T d B --------------------------------------------------------------------------- */

ALWAYS_INLINE void pixels_across(int t, const vec *d, float *to, int64_t step) {
    if (t == 2) {
        store(to, d[0] - d[2]);
        store(to + step, d[1] + d[2]);
        store(to + 2 * step, d[2] - d[1]);
        store(to + 3 * step, d[3] - d[1]);
        return;
    }
    const vec c = d[4] - d[2], e = d[3] - d[1];
    store(to, plus(4, d[0] - d[2], c));
    store(to + 5 * step, plus(-4, e, d[5] - d[3]));
    store(to + 3 * step, plus(2, e, c));
    store(to + 4 * step, plus(-2, e, c));
    const vec a = plus(-4, d[2], d[4]), b = plus(-4, d[1], d[3]);
    store(to + step, a + b);
    store(to + 2 * step, a - b);
}

/* Two lines of positions of the tile at `from`, whose pixels are 16 floats apart, lines `line`: position q of
 * the first goes to + q step, of the second to second + q step. */
ALWAYS_INLINE void transform_pixels(int t, int pair, const float *from, int64_t line, float *to,
                                    float *second, int64_t step) {
    vec a[MOST_SIDE], b[MOST_SIDE];
#define D(i) load(from + (i)*line + v * 16)
    UNROLL
    for (int v = 0; v < t + 2; v++) {
        if (t == 2 && pair == 0) {
            a[v] = D(0) - D(2);
            b[v] = D(3) - D(1);
        } else if (t == 2) {
            const vec d1 = D(1), d2 = D(2);
            a[v] = d1 + d2;
            b[v] = d2 - d1;
        } else if (pair == 0) {
            const vec d2 = D(2), d3 = D(3);
            a[v] = plus(4, D(0) - d2, D(4) - d2);
            b[v] = plus(-4, d3 - D(1), D(5) - d3);
        } else if (pair == 1) {
            const vec p = plus(-4, D(2), D(4)), q = plus(-4, D(1), D(3));
            a[v] = p + q;
            b[v] = p - q;
        } else {
            const vec c = D(4) - D(2), e = D(3) - D(1);
            a[v] = plus(2, e, c);
            b[v] = plus(-2, e, c);
        }
    }
#undef D
    pixels_across(t, a, to, step);
    pixels_across(t, b, second, step);
}

/* --- gradients of y: A e A^T ------------------------------------------------------------------- */

ALWAYS_INLINE void gradient_across(int t, const vec *e, float *to, int64_t step) {
    if (t == 2) {
        store(to, e[0]);
        store(to + step, e[0] + e[1]);
        store(to + 2 * step, e[0] - e[1]);
        store(to + 3 * step, e[1]);
        return;
    }
    const vec p = e[0] + e[2], q = e[1] + e[3], r = plus(4, e[2], e[0]), s = plus(4, e[3], e[1]);
    store(to, e[0]);
    store(to + step, p + q);
    store(to + 2 * step, p - q);
    store(to + 3 * step, plus(2, s, r));
    store(to + 4 * step, plus(-2, s, r));
    store(to + 5 * step, e[3]);
}

/* As transform_pixels. */
ALWAYS_INLINE void transform_gradient(int t, int pair, const float *from, int64_t line, float *to,
                                      float *second, int64_t step) {
    vec a[4], b[4];
#define E(i) load(from + (i)*line + v * 16)
    UNROLL
    for (int v = 0; v < t; v++) {
        if (pair == 0) {
            a[v] = E(0);
            b[v] = E(t - 1);
        } else if (t == 2) {
            const vec e0 = E(0), e1 = E(1);
            a[v] = e0 + e1;
            b[v] = e0 - e1;
        } else if (pair == 1) {
            const vec p = E(0) + E(2), q = E(1) + E(3);
            a[v] = p + q;
            b[v] = p - q;
        } else {
            const vec r = plus(4, E(2), E(0)), s = plus(4, E(3), E(1));
            a[v] = plus(2, s, r);
            b[v] = plus(-2, s, r);
        }
    }
#undef E
    gradient_across(t, a, to, step);
    gradient_across(t, b, second, step);
}

/* --- weights: G w G^T -------------------------------------------------------------------------- */

/* What a position of F(4x4) is multiplied with: the number nearest to the product of two of these. */
static const double winograd_fraction[MOST_SIDE] = {1 / 4.0, -1 / 6.0, -1 / 6.0, 1 / 24.0, 1 / 24.0, 1};

ALWAYS_INLINE float winograd_scale(int i, int j) {
    return (float)(winograd_fraction[i] * winograd_fraction[j]);
}

/* A line of three; of F(4x4) without its scale. */
ALWAYS_INLINE void spread_weights(int t, const vec *w, vec *to) {
    const vec ends = w[0] + w[2];
    to[0] = w[0];
    to[1] = ends + w[1];
    to[2] = ends - w[1];
    if (t == 2) {
        to[1] *= all(0.5f);
        to[2] *= all(0.5f);
    } else {
        const vec far = plus(4, w[2], w[0]);
        to[3] = plus(2, w[1], far);
        to[4] = plus(-2, w[1], far);
    }
    to[t + 1] = w[2];
}

/* The nine taps w [9][16] to all positions. */
ALWAYS_INLINE void transform_weights(int t, const float *w, float *to, int64_t step) {
    vec columns[3][MOST_SIDE];
    UNROLL
    for (int v = 0; v < 3; v++) {
        const vec column[3] = {load(w + v * 16), load(w + (3 + v) * 16), load(w + (6 + v) * 16)};
        spread_weights(t, column, columns[v]);
    }
    UNROLL
    for (int i = 0; i < t + 2; i++) {
        const vec line[3] = {columns[0][i], columns[1][i], columns[2][i]};
        vec done[MOST_SIDE];
        spread_weights(t, line, done);
        UNROLL
        for (int j = 0; j < t + 2; j++) {
            if (t == 4) done[j] *= all(winograd_scale(i, j));
            store(to + (i * (t + 2) + j) * step, done[j]);
        }
    }
}

/* --- results: A^T m A -------------------------------------------------------------------------- */

/* A column of pixels from its sums. */
ALWAYS_INLINE void results_down(int t, const vec *m, float *to, int64_t line) {
    const vec p = m[1] + m[2], q = m[1] - m[2];
    if (t == 2) {
        store(to, (m[0] + m[1]) + m[2]);
        store(to + line, q + m[3]);
        return;
    }
    const vec r = m[3] + m[4], s = m[3] - m[4];
    store(to, (m[0] + p) + r);
    store(to + line, plus(2, s, q));
    store(to + 2 * line, plus(4, r, p));
    store(to + 3 * line, plus(8, s, q) + m[5]);
}

/* The pixels of a tile from the sums at m, `step` apart. */
ALWAYS_INLINE void transform_results(int t, const float *m, int64_t step, float *to, int64_t pixel,
                                     int64_t line) {
    vec a[MOST_SIDE], b[MOST_SIDE];
#define M(j) load(m + (i * (t + 2) + (j)) * step)
    UNROLL
    for (int i = 0; i < t + 2; i++) {
        const vec m1 = M(1), m2 = M(2);
        if (t == 2) {
            a[i] = (M(0) + m1) + m2;
            b[i] = (m1 - m2) + M(3);
        } else {
            const vec p = m1 + m2, r = M(3) + M(4);
            a[i] = (M(0) + p) + r;
            b[i] = plus(4, r, p);
        }
    }
    results_down(t, a, to, line);
    results_down(t, b, to + t / 2 * pixel, line);
    if (t == 2) return;
    UNROLL
    for (int i = 0; i < t + 2; i++) {
        const vec q = M(1) - M(2), s = M(3) - M(4);
        a[i] = plus(2, s, q);
        b[i] = plus(8, s, q) + M(5);
    }
#undef M
    results_down(t, a, to + pixel, line);
    results_down(t, b, to + 3 * pixel, line);
}

/* --- weight gradients: G^T m G ----------------------------------------------------------------- */

/* A line of three from its sums; of F(4x4) they have been multiplied with its scale. */
ALWAYS_INLINE void contract(int t, const vec *m, vec *w) {
    const vec p = m[1] + m[2], q = m[1] - m[2];
    if (t == 2) {
        const vec middle = p * all(0.5f);
        w[0] = middle + m[0];
        w[1] = q * all(0.5f);
        w[2] = middle + m[3];
        return;
    }
    const vec r = m[3] + m[4], s = m[3] - m[4];
    w[0] = (m[0] + p) + r;
    w[1] = plus(2, s, q);
    w[2] = plus(4, r, p) + m[5];
}

/* The nine taps, tap_step apart, from the sums at m, `step` apart. */
ALWAYS_INLINE void transform_sums(int t, const float *m, int64_t step, float *to, int64_t tap_step) {
    vec columns[MOST_SIDE][3];
    UNROLL
    for (int j = 0; j < t + 2; j++) {
        vec column[MOST_SIDE];
        UNROLL
        for (int i = 0; i < t + 2; i++) {
            column[i] = load(m + (i * (t + 2) + j) * step);
            if (t == 4) column[i] *= all(winograd_scale(i, j));
        }
        contract(t, column, columns[j]);
    }
    UNROLL
    for (int u = 0; u < 3; u++) {
        vec line[MOST_SIDE], w[3];
        UNROLL
        for (int j = 0; j < t + 2; j++) line[j] = columns[j][u];
        contract(t, line, w);
        UNROLL
        for (int v = 0; v < 3; v++) store(to + (u * 3 + v) * tap_step, w[v]);
    }
}

#endif
