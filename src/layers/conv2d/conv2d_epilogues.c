/* What products left on its way out of them, through the epilogues of conv2d_passes.h. */
#include "layers/conv2d/conv2d_passes.h"

#include <string.h>

#include "layers/conv2d/conv2d_walk.h"
#include "layers/fusion_ref.h"

void LS_NAME(ls_conv2d_end_streams)(void) {
    end_streams16();
}

/* --- sums -------------------------------------------------------------------------------------- */

/* The two sums of a group of channels (layers/pixel_sums.h). Those of a line are in registers; those of the
 * image and of the shard are where they live. */
typedef struct sums {
    double *shard, *image; /* the group's first, the second `channels` behind it; NULL: there are none */
    int64_t channels;
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

/* all: [local shards][2][channels] or NULL; room: [2][channels] */
ALWAYS_INLINE sums open_sums(double *all, int shard, double *room, int64_t channels, int64_t at) {
    sums s = {.channels = channels};
    if (!all) return s;
    s.shard = all + shard * 2 * channels + at;
    s.image = room + at;
    return s;
}

ALWAYS_INLINE void begin_line(sums *s) {
    s->a = s->b = widen16(zero16());
}

ALWAYS_INLINE void add_to_sums(sums *s, sixteen v, sixteen factor) {
    const sixteen_doubles wide = widen16(v);
    s->a = add_widened16(s->a, wide);
    s->b = add_product16(s->b, wide, widen16(factor));
}

/* Adds the line to the image and, behind the last one, that to the shard. A sum from 0 is no -0, so that the
 * first line is the sum of 0 and it. */
ALWAYS_INLINE void end_line(sums *s, int64_t n, bool first, bool last) {
    double *second = s->image + s->channels;
    if (!first) {
        s->a = add_widened16(fetch(s->image, n), s->a);
        s->b = add_widened16(fetch(second, n), s->b);
    }
    if (!last) {
        put(s->image, s->a, n);
        put(second, s->b, n);
        return;
    }
    second = s->shard + s->channels;
    put(s->shard, add_widened16(fetch(s->shard, n), s->a), n);
    put(second, add_widened16(fetch(second, n), s->b), n);
}

/* --- of the forward pass ----------------------------------------------------------------------- */

/* Lines [first, last) of a row. */
typedef struct lines {
    int64_t first, last;
} lines;

ALWAYS_INLINE void finish_group(const ls_epilogue *e, int shard, lines of, int64_t at, int64_t n, bool bias,
                                bool summed, float *y) {
    const int64_t channels = e->channels, width = e->width, height = e->pixels / width;
    sums s = open_sums(summed ? e->sums : NULL, shard, e->room, channels, at);
    const sixteen added = bias ? load_lanes((const float *)e->bias + at, n) : zero16();
    for (int64_t h = of.first; h < of.last; h++) {
        if (summed) begin_line(&s);
        for (int64_t i = 0; i < width; i++, y += channels) {
            sixteen v = load_lanes(y, n);
            if (bias) {
                v = add16(v, added);
                store_lanes(y, v, n);
            }
            if (summed) add_to_sums(&s, v, v);
        }
        if (summed) end_line(&s, n, h == 0, h == height - 1);
    }
}

void LS_NAME(ls_conv2d_finish)(const ls_epilogue *e, int shard, int64_t first, int64_t last, float *y) {
    const lines of = {first, last};
    if (!e->bias && !e->sums) return;
    for (int64_t at = 0; at < e->channels; at += LANES) {
        const int64_t n = smaller(LANES, e->channels - at);
        if (n == LANES && !e->bias)
            finish_group(e, shard, of, at, LANES, false, true, y + at);
        else
            finish_group(e, shard, of, at, n, e->bias, e->sums, y + at);
    }
}

/* --- of the backward pass ---------------------------------------------------------------------- */

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

/* What is done to a gradient on its way; stream: dz goes past the caches. */
typedef struct back_steps {
    bool others, relu, accumulate, summed, residual, stream;
} back_steps;

ALWAYS_INLINE void back_group(way_back b, int64_t at, int64_t n, back_steps does, const float *dx) {
    const ls_prologue p = b.p;
    const int64_t channels = p.channels;
    const sixteen mean = p.norm.mean ? load_lanes((const float *)p.norm.mean + at, n) : zero16();
    sixteen residual_mean = zero16();
    sums s = open_sums(does.summed ? b.e.sums : NULL, b.shard, b.e.room, channels, at), rs = {0};
    if (does.residual) {
        rs = open_sums(b.e.residual_sums, b.shard,
                       b.e.residual_sums ? b.e.room + ls_sums_room(channels) : NULL, channels, at);
        if (p.residual_norm.mean) residual_mean = load_lanes((const float *)p.residual_norm.mean + at, n);
    }
    int64_t i = b.first * b.plane.width * channels + at;
    for (int64_t h = b.first; h < b.last; h++) {
        const float *t = b.x + (b.plane.top + h) * ls_conv2d_plane_line(&b.plane);
        walk w = walk_from(b.plane);
        if (does.summed) begin_line(&s);
        if (rs.shard) begin_line(&rs);
        for (int64_t j = 0; j < b.plane.width; j++, i += channels, dx += b.pitch, w = next_pixel(w)) {
            sixteen g = load16(dx);
            if (does.others) g = add16(load_lanes((const float *)b.e.others + i, n), g);
            if (does.relu) g = where_positive16(first_factor16(load16(t + w.at)), g);
            const sixteen v = store_gradient(written_at(b.e.dz, i), does.accumulate, does.stream, g, n);
            if (does.summed) add_to_sums(&s, v, subtract16(load_lanes((const float *)p.x + i, n), mean));
            if (!does.residual) continue;
            g = store_gradient(written_at(b.e.dresidual, i), b.e.dresidual_accumulate, false, g, n);
            if (rs.shard)
                add_to_sums(&rs, g, subtract16(load_lanes((const float *)p.residual + i, n), residual_mean));
        }
        if (does.summed) end_line(&s, n, h == 0, h == b.plane.height - 1);
        if (rs.shard) end_line(&rs, n, h == 0, h == b.plane.height - 1);
    }
}

void LS_NAME(ls_conv2d_finish_gradient)(const ls_prologue *p, const ls_grad_epilogue *e, int shard,
                                        bool stream, const ls_conv2d_plane *plane, const float *x,
                                        int64_t first, int64_t last, float *dx) {
    const int64_t pitch = ls_conv2d_groups(p->channels) * LANES;
    if (!ls_conv2d_by_lines(p)) {
        for (int64_t i = 0; i < p->pixels; i++)
            memmove(dx + i * p->channels, dx + i * pitch, (size_t)p->channels * sizeof(float));
        LS_TIER_NAME(ls_grad_epilogue_rows)(p, e, shard, 0, 1, dx);
        return;
    }
    const back_steps all = {.others = e->others,
                            .relu = p->act.class,
                            .accumulate = e->accumulate,
                            .summed = e->sums,
                            .residual = e->dresidual || e->residual_sums,
                            .stream = stream};
    back_steps few = all;
    few.stream = false;
    way_back b = {*p, *e, *plane, x, shard, first, last, pitch};
    for (int64_t at = 0; at < p->channels; at += LANES, b.x += ls_conv2d_plane_group(plane)) {
        const int64_t n = smaller(LANES, p->channels - at);
        const bool usual = all.relu && !all.accumulate && all.summed && !all.residual;
        if (n < LANES)
            back_group(b, at, n, few, dx + at);
        else if (usual && !all.others && stream)
            back_group(b, at, LANES, (back_steps){.relu = true, .summed = true, .stream = true}, dx + at);
        else if (usual && !all.others)
            back_group(b, at, LANES, (back_steps){.relu = true, .summed = true}, dx + at);
        else if (usual)
            back_group(b, at, LANES, (back_steps){.others = true, .relu = true, .summed = true}, dx + at);
        else
            back_group(b, at, LANES, all, dx + at);
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

ls_grad_epilogue LS_NAME(ls_conv2d_grad_epilogue_from)(const ls_grad_epilogue *e, const ls_prologue *p,
                                                       int64_t row) {
    ls_grad_epilogue from = *e;
    const int64_t at = row * p->pixels * p->channels;
    from.others = read_at(e->others, at);
    from.dz = written_at(e->dz, at);
    from.dresidual = written_at(e->dresidual, at);
    return from;
}
