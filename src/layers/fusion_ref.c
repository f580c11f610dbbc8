#include "layers/fusion_ref.h"

#include <string.h>

#include "core/rng.h"
#include "layers/pixel_sums.h"

/* Rows are taken in chunks that stay in L1 with all their temporaries. A multiple of 4, so that a chunk
 * begins with a block of random numbers; every feature is a loop of its own over the chunk, which the
 * compiler can vectorise. */
enum { CHUNK = 512 };

static inline int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The activation's kernels of this tier. */
static const ls_activation_kernels *kernels_of(const ls_activation *act) {
    const ls_activation_kernels *own = act->class->LS_TIER_NAME(kernels);
    return own ? own : act->class->kernels_f32;
}

/* (x - mean) * scale + shift of n elements from `start` of a row, channel by channel. */
static void normalise(const ls_normalisation *norm, int64_t channels, int64_t start, int64_t n,
                      const real *restrict x, real *restrict z) {
    for (int64_t i = 0, m, c = start % channels; i < n; i += m, c = 0) {
        m = smaller(channels - c, n - i);
        const real *restrict mean = (const real *)norm->mean + c;
        const real *restrict scale = (const real *)norm->scale + c;
        const real *restrict shift = (const real *)norm->shift + c;
        for (int64_t j = 0; j < m; j++) z[i + j] = (x[i + j] - mean[j]) * scale[j] + shift[j];
    }
}

/* z += r' */
static void add_residual(const ls_prologue *p, int64_t base, int64_t start, int64_t n, real *restrict z) {
    const real *r = (const real *)p->residual + base;
    real normalised[CHUNK];
    if (p->residual_norm.mean) {
        normalise(&p->residual_norm, p->channels, start, n, r, normalised);
        r = normalised;
    }
    for (int64_t i = 0; i < n; i++) z[i] = z[i] + r[i];
}

/* z, what goes into the activation, of n elements from `start` of the row; base = row * pixels * channels +
 * start. */
static void inputs(const ls_prologue *p, int64_t base, int64_t start, int64_t n, real *restrict t) {
    const real *x = (const real *)p->x + base;
    if (p->norm.mean)
        normalise(&p->norm, p->channels, start, n, x, t);
    else
        memcpy(t, x, (size_t)n * sizeof(real));
    if (p->residual) add_residual(p, base, start, n, t);
}

/* act(z) of them. */
static void activations(const ls_prologue *p, int64_t base, int64_t start, int64_t n, real *restrict t) {
    inputs(p, base, start, n, t);
    if (p->act.class) kernels_of(&p->act)->forward(&p->act, n, t);
}

/* v = kept ? v * scale : 0, for n elements from `start` of the row. */
static void drop(const ls_dropout_mask *mask, int64_t row, int64_t start, int64_t n, real *restrict v) {
    uint32_t words[CHUNK];
    ls_rng rng = ls_rng_stream(mask->seed, LS_RNG_DROPOUT, mask->op, mask->step, mask->sample[row]);
    LS_NAME(ls_rng_blocks)(&rng, (uint32_t)(start / 4), (uint32_t)((n + 3) / 4), words);
    const uint32_t threshold = mask->threshold;
    const real scale = (real)mask->scale;
    for (int64_t i = 0; i < n; i++) {
        real scaled = v[i] * scale;
        v[i] = words[i] < threshold ? scaled : 0;
    }
}

void LS_NAME(ls_prologue_rows)(const ls_prologue *p, int64_t row, int64_t rows, real *out) {
    const int64_t length = p->pixels * p->channels;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t start = 0; start < length; start += CHUNK) {
            const int64_t n = smaller(CHUNK, length - start), base = (row + r) * length + start;
            real *to = out + r * length + start, *stored = p->stored ? (real *)p->stored + base : to;
            activations(p, base, start, n, to);
            if (p->dropout.active) drop(&p->dropout, row + r, start, n, to);
            if (stored != to) memcpy(stored, to, (size_t)n * sizeof(real));
        }
    }
}

void LS_NAME(ls_epilogue_rows)(const ls_epilogue *e, int shard, int64_t rows, real *y) {
    const int64_t channels = e->channels, length = e->pixels * channels;
    const ls_pixel_sums sums = ls_open_pixel_sums(e->sums, shard, e->pixels, e->width, channels, e->room);
    if (e->bias) {
        const real *restrict bias = e->bias;
        for (int64_t i = 0; i < rows * length; i += channels)
            for (int64_t k = 0; k < channels; k++) y[i + k] = y[i + k] + bias[k];
    }
    for (int64_t r = 0; sums.shard && r < rows; r++, y += length)
        ls_add_to_pixel_sums(&sums, 0, length, y, y, NULL);
}

void LS_NAME(ls_grad_prologue_rows)(const ls_grad_prologue *p, int64_t row, int64_t rows, real *out) {
    const int64_t length = p->pixels * p->channels;
    const real *dz = (const real *)p->dz + row * length;
    real *stored = p->stored ? (real *)p->stored + row * length : NULL;
    if (p->a) {
        const real *y = (const real *)p->y + row * length;
        const real *mean = p->mean, *a = p->a, *b = p->b, *c = p->c;
        for (int64_t i = 0; i < rows * length; i += p->channels)
            for (int64_t k = 0; k < p->channels; k++)
                out[i + k] = a[k] * dz[i + k] + b[k] * (y[i + k] - mean[k]) + c[k];
    } else if (out != dz) {
        memcpy(out, dz, (size_t)(rows * length) * sizeof(real));
    }
    if (stored && stored != out) memcpy(stored, out, (size_t)(rows * length) * sizeof(real));
}

/* What the activation's derivative is made of: x' where it was stored and is act(z), or that, or z, made
 * again in `room`. */
static const real *seen(const ls_prologue *p, int64_t base, int64_t start, int64_t n, real *restrict room) {
    switch (p->act.class->derivative) {
    case LS_DERIVATIVE_MASK:
    case LS_DERIVATIVE_OUTPUT:
        if (p->stored && !p->dropout.active) return (const real *)p->stored + base;
        activations(p, base, start, n, room);
        break;
    case LS_DERIVATIVE_INPUT: inputs(p, base, start, n, room); break;
    }
    return room;
}

/* g = dx through the dropout and the activation. A mask is in x' where that was stored, whatever dropout has
 * made of it (scale >= 1 cannot underflow). */
static void back_through(const ls_prologue *p, int64_t row, int64_t base, int64_t start, int64_t n,
                         const real *restrict dx, real *restrict g) {
    const ls_activation_class *class = p->act.class;
    real room[CHUNK];
    if (class && class->derivative == LS_DERIVATIVE_MASK && p->stored) {
        const real scale = p->dropout.active ? (real)p->dropout.scale : 1;
        for (int64_t i = 0; i < n; i++) g[i] = dx[i] * scale;
        kernels_of(&p->act)->backward(&p->act, n, (const real *)p->stored + base, g);
        return;
    }
    memcpy(g, dx, (size_t)n * sizeof(real));
    if (p->dropout.active) drop(&p->dropout, row, start, n, g);
    if (class) kernels_of(&p->act)->backward(&p->act, n, seen(p, base, start, n, room), g);
}

/* Stores g at d (= or +=), and leaves what was stored in v. */
static void store_gradient(real *d, bool accumulate, const real *restrict g, int64_t n, real *restrict v) {
    if (d && accumulate) {
        for (int64_t i = 0; i < n; i++) v[i] = d[i] + g[i];
    } else {
        memcpy(v, g, (size_t)n * sizeof(real));
    }
    if (d) memcpy(d, v, (size_t)n * sizeof(real));
}

/* The whole gradient of x': dx, or, in `total`, what other readers have written and dx. */
static const real *with_others(const ls_grad_epilogue *e, int64_t base, int64_t n, const real *restrict dx,
                               real *restrict total) {
    if (!e->others) return dx;
    const real *restrict others = (const real *)e->others + base;
    for (int64_t i = 0; i < n; i++) total[i] = others[i] + dx[i];
    return total;
}

void LS_NAME(ls_grad_epilogue_rows)(const ls_prologue *p, const ls_grad_epilogue *e, int shard, int64_t row,
                                    int64_t rows, const real *dx) {
    const int64_t channels = p->channels, length = p->pixels * channels;
    const ls_pixel_sums sums = ls_open_pixel_sums(e->sums, shard, p->pixels, p->width, channels, e->room);
    const ls_pixel_sums residual_sums =
        ls_open_pixel_sums(e->residual_sums, shard, p->pixels, p->width, channels,
                           e->residual_sums ? e->room + ls_sums_room(channels) : NULL);
    real g[CHUNK], v[CHUNK];
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t start = 0; start < length; start += CHUNK) {
            const int64_t n = smaller(CHUNK, length - start), base = (row + r) * length + start;
            const real *total = with_others(e, base, n, dx + r * length + start, v);
            back_through(p, row + r, base, start, n, total, g);
            store_gradient(e->dz ? (real *)e->dz + base : NULL, e->accumulate, g, n, v);
            if (sums.shard) ls_add_to_pixel_sums(&sums, start, n, v, (const real *)p->x + base, p->norm.mean);
            if (!e->dresidual && !residual_sums.shard) continue;
            store_gradient(e->dresidual ? (real *)e->dresidual + base : NULL, e->dresidual_accumulate, g, n,
                           v);
            if (residual_sums.shard)
                ls_add_to_pixel_sums(&residual_sums, start, n, v, (const real *)p->residual + base,
                                     p->residual_norm.mean);
        }
    }
}
