#include "layers/conv2d/conv2d_weights.h"
#include "layers/conv2d/conv2d_winograd.h"
#include "layers/conv2d/winograd_tile.h"

/* Two lines of positions at a time, of x' and of dy, are transformed for all tiles of the images; then each
 * of their positions is taken: a group of inputs by one of outputs after the other, sums of some channels in
 * registers over all tiles. With AVX-512 8 channels x 2 groups of outputs, 16 multiply-adds for 10 loads, or
 * 16 x 1; with AVX2 6, 5 and 5 x 1. */

/* Tiles that are transformed together, and floats from position to position of a group of them. */
enum { MOST_TILES = 64, STEP = MOST_TILES * LANES + LANES };

/* Images, and the tiles in them. */
typedef struct tiles {
    const float *x, *dy; /* the first tile's first pixels */
    int64_t x_image, x_line, x_group, x_groups, dy_image, dy_line, dy_group, dy_groups;
    int64_t across, in_image, first, count; /* the tiles at hand */
    bool from_zero;                         /* are these the first of the sums? */
    float *v, *d;                           /* [groups][two lines of positions][MOST_TILES][16] */
} tiles;

static int64_t group_of(const ls_conv2d_args *a) {
    return 2 * (winograd_tile(a) + 2) * STEP;
}

int64_t LS_NAME(ls_conv2d_winograd_gradient_room)(const ls_conv2d_args *a) {
    return (ls_conv2d_groups(a->inputs) + ls_conv2d_groups(a->outputs)) * group_of(a);
}

ALWAYS_INLINE void transform_pair(const tiles *s, int t, int pair) {
    const int64_t second = (t + 2) * STEP, group = 2 * second;
    for (int64_t i = 0; i < s->count; i++) {
        const int64_t n = s->first + i, image = n / s->in_image, line = n % s->in_image / s->across * t,
                      pixel = n % s->across * t * LANES;
        const float *x = s->x + image * s->x_image + line * s->x_line + pixel;
        const float *dy = s->dy + image * s->dy_image + line * s->dy_line + pixel;
        float *v = s->v + i * LANES, *d = s->d + i * LANES;
        for (int64_t c = 0; c < s->x_groups; c++, x += s->x_group, v += group) {
            UNROLL
            for (int h = 0; h < LANES; h += WIDTH)
                transform_pixels(t, pair, x + h, s->x_line, v + h, v + second + h, STEP);
        }
        for (int64_t k = 0; k < s->dy_groups; k++, dy += s->dy_group, d += group) {
            UNROLL
            for (int h = 0; h < LANES; h += WIDTH)
                transform_gradient(t, pair, dy + h, s->dy_line, d + h, d + second + h, STEP);
        }
    }
}

/* sums[panel][channel][column] += sum over tiles of v[tile][channel] d[panel][tile][column], for n channels */
ALWAYS_INLINE void add_tiles(int n, int panels, const tiles *s, const float *v, const float *d, int64_t next,
                             float *sums, int64_t sums_panel) {
    sixteen sum[2][LANES];
    UNROLL
    for (int k = 0; k < panels; k++) {
        UNROLL
        for (int c = 0; c < n; c++)
            sum[k][c] = s->from_zero ? zero16() : load16(sums + k * sums_panel + c * LANES);
    }
    for (int64_t i = 0; i < s->count * LANES; i += LANES)
        if (panels == 1)
            multiply_add16(sum[0], n, v + i, 1, load16(d + i));
        else
            multiply_add16_twice(sum[0], sum[1], n, v + i, 1, load16(d + i), load16(d + next + i));
    UNROLL
    for (int k = 0; k < panels; k++) {
        UNROLL
        for (int c = 0; c < n; c++) store16(sums + k * sums_panel + c * LANES, sum[k][c]);
    }
}

/* One position: sums [groups of outputs][groups of inputs][16 inputs][16 outputs]. */
static void add_position(const tiles *s, int64_t next, const float *v, const float *d, float *sums,
                         ls_conv2d_ahead *ahead) {
    enum { GROUP = LANES * LANES };
    const int64_t panel = s->x_groups * GROUP;
    int64_t k = 0;
#ifdef LS_FOR_AVX512
    for (; k + 2 <= s->dy_groups; k += 2)
        for (int64_t c = 0; c < s->x_groups; c++)
            for (int64_t half = 0; half < LANES; half += LANES / 2) {
                ls_conv2d_fetch(ahead);
                add_tiles(LANES / 2, 2, s, v + c * next + half, d + k * next, next,
                          sums + k * panel + c * GROUP + half * LANES, panel);
            }
#endif
    for (; k < s->dy_groups; k++)
        for (int64_t c = 0; c < s->x_groups; c++) {
            const float *x = v + c * next, *dy = d + k * next;
            float *to = sums + k * panel + c * GROUP;
            ls_conv2d_fetch(ahead);
#ifdef LS_FOR_AVX512
            add_tiles(16, 1, s, x, dy, 0, to, 0);
#else
            add_tiles(6, 1, s, x, dy, 0, to, 0);
            add_tiles(5, 1, s, x + 6, dy, 0, to + 6 * LANES, 0);
            add_tiles(5, 1, s, x + 11, dy, 0, to + 11 * LANES, 0);
#endif
        }
}

ALWAYS_INLINE void add_pairs(const ls_conv2d_args *a, const tiles *s, int t, float *sums,
                             ls_conv2d_ahead *ahead) {
    for (int pair = 0; pair < pairs_of(t); pair++) {
        if (pair == 0)
            transform_pair(s, t, 0);
        else if (pair == 1)
            transform_pair(s, t, 1);
        else
            transform_pair(s, t, 2);
        for (int q = 0; q < 2 * (t + 2); q++) {
            const int position = line_of_pair(t, pair, q / (t + 2)) * (t + 2) + q % (t + 2);
            add_position(s, 2 * (t + 2) * STEP, s->v + q * STEP, s->d + q * STEP,
                         sums + position * winograd_sums_step(a), ahead);
        }
    }
}

static void add_pairs_2(const ls_conv2d_args *a, const tiles *s, float *sums, ls_conv2d_ahead *ahead) {
    add_pairs(a, s, 2, sums, ahead);
}
static void add_pairs_4(const ls_conv2d_args *a, const tiles *s, float *sums, ls_conv2d_ahead *ahead) {
    add_pairs(a, s, 4, sums, ahead);
}

/* sums: [positions][groups of outputs][groups of inputs][16 inputs][16 outputs] */
void LS_NAME(ls_conv2d_winograd_add_gradient)(const ls_conv2d_args *a, const float *x, const float *dy,
                                              int64_t images, bool first, float *room, float *sums,
                                              ls_conv2d_ahead *ahead) {
    const ls_conv2d_plane of_x = plane_of_x(a), of_dy = plane_of_dy(a);
    const int64_t all = images * winograd_tiles(a, false);
    tiles s = {.x = x,
               .dy = dy + of_dy.top * ls_conv2d_plane_line(&of_dy) + of_dy.left * LANES,
               .x_image = ls_conv2d_plane_size(&of_x),
               .x_line = ls_conv2d_plane_line(&of_x),
               .x_group = ls_conv2d_plane_group(&of_x),
               .x_groups = ls_conv2d_groups(a->inputs),
               .dy_image = ls_conv2d_plane_size(&of_dy),
               .dy_line = ls_conv2d_plane_line(&of_dy),
               .dy_group = ls_conv2d_plane_group(&of_dy),
               .dy_groups = ls_conv2d_groups(a->outputs),
               .across = winograd_across(a, false),
               .in_image = winograd_tiles(a, false),
               .v = room,
               .d = room + ls_conv2d_groups(a->inputs) * group_of(a)};
    for (int64_t left = divide_up(all, MOST_TILES); left > 0; left--, s.first += s.count) {
        s.count = divide_up(all - s.first, left);
        s.from_zero = first && s.first == 0;
        if (winograd_tile(a) == 4)
            add_pairs_4(a, &s, sums, ahead);
        else
            add_pairs_2(a, &s, sums, ahead);
    }
}

int64_t LS_NAME(ls_conv2d_winograd_gradient_steps)(const ls_conv2d_args *a, int64_t images) {
    /* halves of two panels are as many as two panels */
    return divide_up(images * winograd_tiles(a, false), MOST_TILES) * winograd_positions(a) *
           ls_conv2d_groups(a->inputs) * ls_conv2d_groups(a->outputs);
}

void LS_NAME(ls_conv2d_winograd_finish_gradient)(const ls_conv2d_args *a, const float *sums, float *to) {
    const int64_t panels = ls_conv2d_groups(a->outputs), groups = ls_conv2d_groups(a->inputs);
    const int64_t step = winograd_sums_step(a), tap = a->inputs * LANES;
    for (int64_t k = 0; k < panels; k++, to += 9 * tap)
        for (int64_t c = 0; c < a->inputs; c++)
            for (int h = 0; h < LANES; h += WIDTH) {
                const float *from = sums + (k * groups * LANES + c) * LANES + h;
                if (winograd_tile(a) == 4)
                    transform_sums(4, from, step, to + c * LANES + h, tap);
                else
                    transform_sums(2, from, step, to + c * LANES + h, tap);
            }
}
