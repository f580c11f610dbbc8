#include "layers/conv2d/conv2d_passes.h"

#include <string.h>

#include "layers/conv2d/sixteen.h"
#include "layers/fusion_ref.h"

enum { LANES = 16 };

ALWAYS_INLINE int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The next sixteen or, of the last group, `n` elements of vectors or pixels. */
ALWAYS_INLINE sixteen load_lanes(const float *p, int64_t n) {
    return n == LANES ? load16(p) : load16_first(p, n);
}
ALWAYS_INLINE void store_lanes(float *p, sixteen x, int64_t n) {
    if (n == LANES)
        store16(p, x);
    else
        store16_first(p, x, n);
}

void LS_NAME(ls_conv2d_end_streams)(void) {
    _mm_sfence();
}

/* Goes along the pixels of a line of an image in a plane. Like the planes below it is passed by value, so
 * that the compiler sees that no store changes it. */
typedef struct walk {
    int64_t at; /* floats from the line's beginning */
    int64_t phase, phases, stride, pixel;
} walk;

ALWAYS_INLINE walk walk_from(ls_conv2d_plane plane) {
    const int64_t pixel = ls_conv2d_plane_pixel(&plane), stride = plane.columns * pixel;
    const int64_t phase = plane.left % plane.phases;
    return (walk){phase * stride + plane.left / plane.phases * pixel, phase, plane.phases, stride, pixel};
}

ALWAYS_INLINE walk next_pixel(walk w) {
    w.at += w.stride;
    if (++w.phase == w.phases) {
        w.phase = 0;
        w.at += w.pixel - w.phases * w.stride;
    }
    return w;
}

/* Where channels from number `at` stand in a plane. */
ALWAYS_INLINE float *group_at(float *to, const ls_conv2d_plane *plane, int64_t at) {
    if (plane->channel_pairs)
        return to + at / (2 * LANES) * ls_conv2d_plane_group(plane) + at % (2 * LANES) / 2;
    return to + at / LANES * ls_conv2d_plane_group(plane);
}

/* x as factors into a pixel of a plane; pairs of columns are made of them at the end of a line. */
ALWAYS_INLINE void store_factors(ls_conv2d_plane plane, float *to, sixteen x) {
#if LS_PAIRS
    if (plane.channel_pairs) {
        store16_neighbours(to, round16(x));
        return;
    }
#endif
    (void)plane;
    store16(to, factor16(x));
}

/* Pairs every factor of a line with that of the next column of its phase. */
ALWAYS_INLINE void finish_factors(ls_conv2d_plane plane, float *line) {
#if LS_PAIRS
    if (plane.channel_pairs) return;
    for (int64_t phase = 0; phase < plane.phases; phase++, line += LANES) {
        sixteen x = load16(line);
        for (int64_t i = 1; i < plane.columns; i++, line += LANES) {
            const sixteen next = load16(line + LANES);
            store16(line, join16(x, next));
            x = next;
        }
        store16(line, first_factor16(x));
    }
#else
    (void)plane, (void)line;
#endif
}

/* --- prologues --------------------------------------------------------------------------------- */

typedef struct affine {
    sixteen mean, scale, shift;
} affine;

ALWAYS_INLINE affine load_affine(const ls_normalisation *norm, int64_t at, int64_t n) {
    affine a = {zero16(), zero16(), zero16()};
    if (norm->mean) {
        a.mean = load_lanes((const float *)norm->mean + at, n);
        a.scale = load_lanes((const float *)norm->scale + at, n);
        a.shift = load_lanes((const float *)norm->shift + at, n);
    }
    return a;
}

ALWAYS_INLINE sixteen apply(affine a, sixteen x) {
    return add16(multiply16(subtract16(x, a.mean), a.scale), a.shift);
}

/* n channels from number `at` of all pixels; constants after inlining for the cases that matter. */
ALWAYS_INLINE void load_group(const ls_prologue *p, ls_conv2d_plane plane, int64_t at, int64_t n, bool norm,
                              bool residual, bool residual_norm, bool relu, bool stored, bool stream,
                              float *to) {
    const affine a = load_affine(&p->norm, at, n), b = load_affine(&p->residual_norm, at, n);
    const float *x = (const float *)p->x + at, *r = residual ? (const float *)p->residual + at : NULL;
    float *kept = stored ? (float *)p->stored + at : NULL;
    for (int64_t h = 0; h < plane.height; h++) {
        float *line = to + (plane.top + h) * ls_conv2d_plane_line(&plane);
        walk w = walk_from(plane);
        for (int64_t i = 0; i < plane.width; i++, x += p->channels, w = next_pixel(w)) {
            sixteen z = load_lanes(x, n);
            if (norm) z = apply(a, z);
            if (residual) {
                sixteen s = load_lanes(r, n);
                if (residual_norm) s = apply(b, s);
                z = add16(z, s);
                r += p->channels;
            }
            if (relu) z = where_positive16(z, z);
            if (stored) {
                if (stream)
                    stream16(kept, z);
                else
                    store_lanes(kept, z, n);
                kept += p->channels;
            }
            store_factors(plane, line + w.at, z);
        }
        finish_factors(plane, line);
    }
}

static bool computed_here(const ls_prologue *p) {
    return p->act != LS_ACT_TANH && !p->dropout.active;
}

void LS_NAME(ls_conv2d_load)(const ls_prologue *p, const ls_conv2d_plane *plane, bool stream, float *plain,
                             float *to) {
    ls_prologue done = {.pixels = p->pixels, .channels = p->channels, .x = plain};
    if (!computed_here(p)) {
        LS_TIER_NAME(ls_prologue_rows)(p, 0, 1, plain);
        p = &done;
    }
    const bool norm = p->norm.mean, residual = p->residual, residual_norm = p->residual_norm.mean;
    const bool relu = p->act == LS_ACT_RELU, stored = p->stored;
    for (int64_t at = 0; at < p->channels; at += LANES) {
        const int64_t n = smaller(LANES, p->channels - at);
        float *group = group_at(to, plane, at);
        if (n < LANES)
            load_group(p, *plane, at, n, norm, residual, residual_norm, relu, stored, false, group);
        else if (norm && relu && !residual && !stored)
            load_group(p, *plane, at, LANES, true, false, false, true, false, false, group);
        else if (norm && relu && residual && !residual_norm && stored)
            load_group(p, *plane, at, LANES, true, true, false, true, true, stream, group);
        else if (!norm && !residual && !stored)
            load_group(p, *plane, at, LANES, false, false, false, relu, false, false, group);
        else
            load_group(p, *plane, at, LANES, norm, residual, residual_norm, relu, stored, stream, group);
    }
}

ALWAYS_INLINE void load_samples(const float *x, ls_conv2d_plane plane, int64_t n, int64_t width,
                                int64_t every, int64_t ahead, float *to) {
    const int64_t channels = plane.channels;
    for (int64_t h = 0; h < plane.height; h++, x += every * width * channels) {
        float *line = to + (plane.top + h) * ls_conv2d_plane_line(&plane);
        walk w = walk_from(plane);
        for (int64_t i = 0; i < plane.width; i++, w = next_pixel(w)) {
            const float *pixel = x + i * every * channels;
            if (ahead) __builtin_prefetch(pixel + ahead, 0, 2);
            store_factors(plane, line + w.at, load_lanes(pixel, n));
        }
        finish_factors(plane, line);
    }
}

void LS_NAME(ls_conv2d_load_samples)(const ls_prologue *p, const ls_conv2d_plane *plane, int64_t width,
                                     int64_t every, int64_t ahead, float *to) {
    for (int64_t at = 0; at < p->channels; at += LANES) {
        const int64_t n = smaller(LANES, p->channels - at);
        const float *x = (const float *)p->x + at;
        if (n == LANES)
            load_samples(x, *plane, LANES, width, every, ahead, group_at(to, plane, at));
        else
            load_samples(x, *plane, n, width, every, ahead, group_at(to, plane, at));
    }
}

ALWAYS_INLINE void load_gradient_group(const ls_grad_prologue *p, ls_conv2d_plane plane, int64_t at,
                                       int64_t n, bool norm, float *to, float *pixel_pairs, float *bias) {
    const float *dz = (const float *)p->dz + at, *y = norm ? (const float *)p->y + at : NULL;
    sixteen mean = zero16(), a = mean, b = mean, c = mean, sum = bias ? load16(bias) : mean;
    if (norm) {
        mean = load_lanes((const float *)p->mean + at, n);
        a = load_lanes((const float *)p->a + at, n);
        b = load_lanes((const float *)p->b + at, n);
        c = load_lanes((const float *)p->c + at, n);
    }
    for (int64_t h = 0; h < plane.height; h++) {
        float *line = to + (plane.top + h) * ls_conv2d_plane_line(&plane);
        walk w = walk_from(plane);
#if LS_PAIRS
        sixteen_bf16 before = round16(zero16());
#else
        (void)pixel_pairs;
#endif
        for (int64_t i = 0; i < plane.width; i++, dz += p->channels, w = next_pixel(w)) {
            sixteen d = load_lanes(dz, n);
            if (norm) {
                const sixteen deviation = subtract16(load_lanes(y, n), mean);
                d = add16(add16(multiply16(a, d), multiply16(b, deviation)), c);
                y += p->channels;
            }
            sum = add16(sum, d);
#if LS_PAIRS
            const sixteen_bf16 rounded = round16(d);
            store16_neighbours(line + w.at, rounded);
            if (i % 2 != 0) store16(pixel_pairs, pair16(before, rounded)), pixel_pairs += LANES;
            before = rounded;
#else
            store_factors(plane, line + w.at, d);
#endif
        }
#if LS_PAIRS
        if (plane.width % 2 != 0)
            store16(pixel_pairs, pair16(before, round16(zero16()))), pixel_pairs += LANES;
#endif
    }
    if (bias) store16(bias, sum);
}

void LS_NAME(ls_conv2d_load_gradient)(const ls_grad_prologue *p, const ls_conv2d_plane *plane, float *to,
                                      float *pixel_pairs, float *bias) {
    for (int64_t at = 0; at < p->channels; at += LANES) {
        const int64_t n = smaller(LANES, p->channels - at);
        float *group = group_at(to, plane, at),
              *pairs = pixel_pairs ? pixel_pairs + at * plane->height * ((plane->width + 1) / 2) : NULL;
        if (n == LANES && p->a)
            load_gradient_group(p, *plane, at, LANES, true, group, pairs, bias ? bias + at : NULL);
        else
            load_gradient_group(p, *plane, at, n, p->a, group, pairs, bias ? bias + at : NULL);
    }
}

/* --- epilogues --------------------------------------------------------------------------------- */

/* Two sums of a group of channels of a shard: in registers while a few lines go by. */
typedef struct sums {
    double *first, *second; /* where they live; NULL: there are none */
    sixteen_doubles a, b;
} sums;

ALWAYS_INLINE sixteen_doubles fetch(const double *p, int64_t n) {
    double padded[LANES] = {0};
    if (n == LANES) return load16_doubles(p);
    memcpy(padded, p, (size_t)n * sizeof(double));
    return load16_doubles(padded);
}

ALWAYS_INLINE void put(double *p, sixteen_doubles s, int64_t n) {
    double padded[LANES];
    if (n == LANES) {
        store16_doubles(p, s);
    } else {
        store16_doubles(padded, s);
        memcpy(p, padded, (size_t)n * sizeof(double));
    }
}

/* all: [local shards][2][channels] or NULL */
ALWAYS_INLINE sums open_sums(double *all, int shard, int64_t channels, int64_t at, int64_t n) {
    sums s = {0};
    if (!all) return s;
    s.first = all + shard * 2 * channels + at;
    s.second = s.first + channels;
    s.a = fetch(s.first, n);
    s.b = fetch(s.second, n);
    return s;
}

ALWAYS_INLINE void add_to_sums(sums *s, sixteen v, sixteen factor) {
    const sixteen_doubles wide = widen16(v);
    s->a = add_widened16(s->a, wide);
    s->b = add_product16(s->b, wide, widen16(factor));
}

ALWAYS_INLINE void close_sums(const sums *s, int64_t n) {
    if (!s->first) return;
    put(s->first, s->a, n);
    put(s->second, s->b, n);
}

ALWAYS_INLINE void finish_group(const ls_epilogue *e, int64_t channels, int shard, int64_t count, int64_t at,
                                int64_t n, bool bias, bool summed, float *y) {
    sums s = open_sums(summed ? e->sums : NULL, shard, channels, at, n);
    const sixteen added = bias ? load_lanes((const float *)e->bias + at, n) : zero16();
    for (int64_t i = 0; i < count; i++, y += channels) {
        sixteen v = load_lanes(y, n);
        if (bias) {
            v = add16(v, added);
            store_lanes(y, v, n);
        }
        if (summed) add_to_sums(&s, v, v);
    }
    if (summed) close_sums(&s, n);
}

void LS_NAME(ls_conv2d_finish)(const ls_epilogue *e, int64_t channels, int shard, int64_t count, float *y) {
    if (!e->bias && !e->sums) return;
    for (int64_t at = 0; at < channels; at += LANES) {
        const int64_t n = smaller(LANES, channels - at);
        if (n == LANES && !e->bias)
            finish_group(e, channels, shard, count, at, LANES, false, true, y + at);
        else
            finish_group(e, channels, shard, count, at, n, e->bias, e->sums, y + at);
    }
}

/* What a group of lines goes back through. */
typedef struct way_back {
    ls_prologue p;
    ls_grad_epilogue e;
    ls_conv2d_plane plane;
    const float *x; /* x', the group's */
    int shard;
    int64_t first, last, pitch;
} way_back;

/* Stores g at d (= or +=) and returns what stands there then. */
ALWAYS_INLINE sixteen store_gradient(float *d, bool accumulate, bool stream, sixteen g, int64_t n) {
    if (!d) return g;
    if (accumulate) g = add16(load_lanes(d, n), g);
    if (stream)
        stream16(d, g);
    else
        store_lanes(d, g, n);
    return g;
}

ALWAYS_INLINE float *offset(void *base, int64_t at) {
    return base ? (float *)base + at : NULL;
}

ALWAYS_INLINE void back_group(way_back b, int64_t at, int64_t n, bool others, bool relu, bool accumulate,
                              bool summed, bool residual, bool stream, const float *dx) {
    const ls_prologue p = b.p;
    const int64_t channels = p.channels;
    const sixteen mean = p.norm.mean ? load_lanes((const float *)p.norm.mean + at, n) : zero16();
    sixteen residual_mean = zero16();
    sums s = open_sums(summed ? b.e.sums : NULL, b.shard, channels, at, n), rs = {0};
    if (residual) {
        rs = open_sums(b.e.residual_sums, b.shard, channels, at, n);
        if (p.residual_norm.mean) residual_mean = load_lanes((const float *)p.residual_norm.mean + at, n);
    }
    int64_t i = b.first * b.plane.width * channels + at;
    for (int64_t h = b.first; h < b.last; h++) {
        const float *t = b.x + (b.plane.top + h) * ls_conv2d_plane_line(&b.plane);
        walk w = walk_from(b.plane);
        for (int64_t j = 0; j < b.plane.width; j++, i += channels, dx += b.pitch, w = next_pixel(w)) {
            sixteen g = load16(dx);
            if (others) g = add16(load_lanes((const float *)b.e.others + i, n), g);
            if (relu) g = where_positive16(first_factor16(load16(t + w.at)), g);
            const sixteen v = store_gradient(offset(b.e.dz, i), accumulate, stream, g, n);
            if (summed) add_to_sums(&s, v, subtract16(load_lanes((const float *)p.x + i, n), mean));
            if (!residual) continue;
            g = store_gradient(offset(b.e.dresidual, i), b.e.dresidual_accumulate, false, g, n);
            if (rs.first)
                add_to_sums(&rs, g, subtract16(load_lanes((const float *)p.residual + i, n), residual_mean));
        }
    }
    if (summed) close_sums(&s, n);
    if (residual) close_sums(&rs, n);
}

bool LS_NAME(ls_conv2d_back_by_lines)(const ls_prologue *p) {
    return p->act != LS_ACT_TANH && !p->dropout.active;
}

void LS_NAME(ls_conv2d_finish_gradient)(const ls_prologue *p, const ls_grad_epilogue *e, int shard,
                                        bool stream, const ls_conv2d_plane *plane, const float *x,
                                        int64_t first, int64_t last, float *dx) {
    const int64_t pitch = ls_conv2d_groups(p->channels) * LANES;
    if (!LS_NAME(ls_conv2d_back_by_lines)(p)) {
        for (int64_t i = 0; i < p->pixels; i++)
            memmove(dx + i * p->channels, dx + i * pitch, (size_t)p->channels * sizeof(float));
        LS_TIER_NAME(ls_grad_epilogue_rows)(p, e, shard, 0, 1, dx);
        return;
    }
    const bool relu = p->act == LS_ACT_RELU, residual = e->dresidual || e->residual_sums, others = e->others;
    way_back b = {*p, *e, *plane, x, shard, first, last, pitch};
    for (int64_t at = 0; at < p->channels; at += LANES, b.x += ls_conv2d_plane_group(plane)) {
        const int64_t n = smaller(LANES, p->channels - at);
        const bool usual = relu && !e->accumulate && e->sums && !residual;
        if (n < LANES)
            back_group(b, at, n, others, relu, e->accumulate, e->sums, residual, false, dx + at);
        else if (usual && !others && stream)
            back_group(b, at, LANES, false, true, false, true, false, true, dx + at);
        else if (usual && !others)
            back_group(b, at, LANES, false, true, false, true, false, false, dx + at);
        else if (usual)
            back_group(b, at, LANES, true, true, false, true, false, false, dx + at);
        else
            back_group(b, at, LANES, others, relu, e->accumulate, e->sums, residual, stream, dx + at);
    }
}

void LS_NAME(ls_conv2d_finish_samples)(const ls_conv2d_plane *plane, int64_t height, int64_t width,
                                       int64_t every, bool stream, const float *dx, float *dz) {
    const int64_t channels = plane->channels, pitch = ls_conv2d_groups(channels) * LANES;
    for (int64_t h = 0; h < height; h++)
        for (int64_t i = 0; i < width; i++, dz += channels) {
            const bool sample = h % every == 0 && i % every == 0;
            for (int64_t at = 0; at < channels; at += LANES) {
                const sixteen d = sample ? load16(dx + at) : zero16();
                if (stream)
                    stream16(dz + at, d);
                else
                    store_lanes(dz + at, d, smaller(LANES, channels - at));
            }
            if (sample) dx += pitch;
        }
}

/* --- rows -------------------------------------------------------------------------------------- */

static const float *advance(const void *base, int64_t by) {
    return base ? (const float *)base + by : NULL;
}

ls_prologue LS_NAME(ls_conv2d_prologue_from)(const ls_prologue *p, int64_t row) {
    ls_prologue from = *p;
    const int64_t at = row * p->pixels * p->channels;
    from.x = advance(p->x, at);
    from.residual = advance(p->residual, at);
    from.stored = offset(p->stored, at);
    if (p->dropout.active) from.dropout.sample = p->dropout.sample + row;
    return from;
}

ls_grad_prologue LS_NAME(ls_conv2d_grad_prologue_from)(const ls_grad_prologue *p, int64_t row) {
    ls_grad_prologue from = *p;
    const int64_t at = row * p->pixels * p->channels;
    from.dz = advance(p->dz, at);
    from.y = advance(p->y, at);
    return from;
}

ls_grad_epilogue LS_NAME(ls_conv2d_grad_epilogue_from)(const ls_grad_epilogue *e, const ls_prologue *p,
                                                       int64_t row) {
    ls_grad_epilogue from = *e;
    const int64_t at = row * p->pixels * p->channels;
    from.others = advance(e->others, at);
    from.dz = offset(e->dz, at);
    from.dresidual = offset(e->dresidual, at);
    return from;
}
