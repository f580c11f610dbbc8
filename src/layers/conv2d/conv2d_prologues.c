/* Images on their way into planes, through the prologues of conv2d_passes.h. */
#include "layers/conv2d/conv2d_passes.h"

#include "layers/conv2d/conv2d_walk.h"
#include "layers/fusion_ref.h"

/* --- factors ----------------------------------------------------------------------------------- */

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

/* --- of the forward pass ----------------------------------------------------------------------- */

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

/* What a load does on its way; stream: what is kept goes past the caches. */
typedef struct load_steps {
    bool norm, residual, residual_norm, relu, stored, stream;
} load_steps;

/* n channels from number `at` of all pixels. n and `does` are constants after inlining for the cases that matter. */
ALWAYS_INLINE void load_group(const ls_prologue *p, ls_conv2d_plane plane, int64_t at, int64_t n,
                              load_steps does, float *to) {
    const affine a = load_affine(&p->norm, at, n), b = load_affine(&p->residual_norm, at, n);
    const float *x = (const float *)p->x + at, *r = does.residual ? (const float *)p->residual + at : NULL;
    float *kept = does.stored ? (float *)p->stored + at : NULL;
    for (int64_t h = 0; h < plane.height; h++) {
        float *line = to + (plane.top + h) * ls_conv2d_plane_line(&plane);
        walk w = walk_from(plane);
        for (int64_t i = 0; i < plane.width; i++, x += p->channels, w = next_pixel(w)) {
            sixteen z = load_lanes(x, n);
            if (does.norm) z = apply(a, z);
            if (does.residual) {
                sixteen s = load_lanes(r, n);
                if (does.residual_norm) s = apply(b, s);
                z = add16(z, s);
                r += p->channels;
            }
            if (does.relu) z = where_positive16(z, z);
            if (does.stored) {
                if (does.stream)
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

void LS_NAME(ls_conv2d_load)(const ls_prologue *p, const ls_conv2d_plane *plane, bool stream, float *plain,
                             float *to) {
    ls_prologue done = {.pixels = p->pixels, .channels = p->channels, .x = plain};
    if (!ls_conv2d_by_lines(p)) {
        LS_TIER_NAME(ls_prologue_rows)(p, 0, 1, plain);
        p = &done;
    }
    const load_steps all = {.norm = p->norm.mean,
                            .residual = p->residual,
                            .residual_norm = p->residual_norm.mean,
                            .relu = p->act.class,
                            .stored = p->stored,
                            .stream = stream};
    load_steps few = all;
    few.stream = false;
    for (int64_t at = 0; at < p->channels; at += LANES) {
        const int64_t n = smaller(LANES, p->channels - at);
        float *group = group_at(to, plane, at);
        if (n < LANES)
            load_group(p, *plane, at, n, few, group);
        else if (all.norm && all.relu && !all.residual && !all.stored)
            load_group(p, *plane, at, LANES, (load_steps){.norm = true, .relu = true}, group);
        else if (all.norm && all.relu && all.residual && !all.residual_norm && all.stored)
            load_group(
                p, *plane, at, LANES,
                (load_steps){.norm = true, .residual = true, .relu = true, .stored = true, .stream = stream},
                group);
        else if (!all.norm && !all.residual && !all.stored)
            load_group(p, *plane, at, LANES, (load_steps){.relu = all.relu}, group);
        else
            load_group(p, *plane, at, LANES, all, group);
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

/* --- of the backward pass ---------------------------------------------------------------------- */

ALWAYS_INLINE void load_gradient_group(const ls_grad_prologue *p, ls_conv2d_plane plane, int64_t at,
                                       int64_t n, bool norm, float *to, float *pixel_pairs, float *bias) {
    const float *dz = (const float *)p->dz + at, *y = norm ? (const float *)p->y + at : NULL;
    sixteen mean = zero16(), a = mean, b = mean, c = mean, sum = mean;
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
    if (bias) store16(bias, add16(load16(bias), sum));
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

/* --- rows -------------------------------------------------------------------------------------- */

ls_prologue LS_NAME(ls_conv2d_prologue_from)(const ls_prologue *p, int64_t row) {
    ls_prologue from = *p;
    const int64_t at = row * p->pixels * p->channels;
    from.x = read_at(p->x, at);
    from.residual = read_at(p->residual, at);
    from.stored = written_at(p->stored, at);
    if (p->dropout.active) from.dropout.sample = p->dropout.sample + row;
    return from;
}

ls_grad_prologue LS_NAME(ls_conv2d_grad_prologue_from)(const ls_grad_prologue *p, int64_t row) {
    ls_grad_prologue from = *p;
    const int64_t at = row * p->pixels * p->channels;
    from.dz = read_at(p->dz, at);
    from.y = read_at(p->y, at);
    return from;
}
