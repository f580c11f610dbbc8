#include "layers/conv2d/conv2d_winograd.h"
#include "layers/conv2d/winograd_tile.h"

/* Tiles whose products are added together, position by position: few enough for what they become at four
 * positions to stay near, enough to make little of loading and storing the sums. */
enum { MOST_TILES = 64 };

/* So many are transformed, and something is fetched ahead. */
enum { FETCH_TILES = 4 };

/* Floats of a group of them at a position: a line of the cache more, so that those at several positions do
 * not compete for one place in it. */
enum { GROUP = (MOST_TILES + 1) * LANES };

/* Images, and where the tiles at hand lie in them. */
typedef struct tiles {
    const float *x, *dy; /* planes */
    int64_t x_line, x_group, x_groups, dy_line, dy_group, dy_groups;
    int64_t count, x_at[MOST_TILES], dy_at[MOST_TILES];
} tiles;

/* Tiles at two neighbouring positions: [2][groups][GROUP]. */
typedef struct sides {
    float *x, *dy;
} sides;

static int64_t sides_size(const ls_conv2d_args *a) {
    return 2 * (ls_conv2d_groups(a->inputs) + ls_conv2d_groups(a->outputs)) * GROUP;
}

int64_t LS_NAME(ls_conv2d_winograd_gradient_room)(const ls_conv2d_args *a) {
    return 2 * sides_size(a);
}

/* Tiles [first, first + count) of the images. */
static void find(const ls_conv2d_args *a, int64_t first, int64_t count, tiles *t) {
    const ls_conv2d_plane x = plane_of_x(a), dy = plane_of_dy(a);
    const int64_t across = divide_up(a->out_width, 2), lines = divide_up(a->out_height, 2);
    int64_t image = first / (lines * across), line = first / across % lines, pixel = first % across;
    t->count = count;
    for (int64_t i = 0; i < count; i++) {
        t->x_at[i] = image * ls_conv2d_plane_size(&x) + 2 * line * t->x_line + 2 * pixel * LANES;
        t->dy_at[i] = image * ls_conv2d_plane_size(&dy) + (dy.top + 2 * line) * t->dy_line +
                      (dy.left + 2 * pixel) * LANES;
        if (++pixel < across) continue;
        pixel = 0;
        if (++line == lines) line = 0, image++;
    }
}

/* Element `row` of A e. */
ALWAYS_INLINE sixteen expand(sixteen a, sixteen b, int row) {
    if (row == 0) return a;
    if (row == 3) return b;
    return row == 1 ? add16(a, b) : subtract16(a, b);
}

/* (A dy A^T)[r][2 half] and the next */
ALWAYS_INLINE void transform_gradient(const float *from, int64_t line, int r, int half, sixteen to[2]) {
    const float *below = from + line;
    const sixteen left = expand(load16(from), load16(below), r),
                  right = expand(load16(from + LANES), load16(below + LANES), r);
    to[0] = expand(left, right, 2 * half);
    to[1] = expand(left, right, 2 * half + 1);
}

/* What is transformed in the course of a panel's products: one group of one side. */
typedef enum side { NOTHING, X, DY } side;

/* A group of inputs and one of outputs at a position. */
typedef struct panel {
    const float *x, *dy;
    int64_t tiles;
    float *sums;
    const float *from; /* the group to be transformed */
    const int64_t *at;
    int64_t line, count, second;
    float *to; /* [2][count][16], the second `second` floats behind the first */
    ls_conv2d_ahead *ahead;
} panel;

ALWAYS_INLINE void transform(const float *from, int64_t line, side task, int r, int half, float *to,
                             int64_t second) {
    sixteen two[2];
    if (task == X)
        transform_pixel_pair(from, line, r, half, two);
    else
        transform_gradient(from, line, r, half, two);
    store16(to, two[0]);
    store16(to + second, two[1]);
}

/* sums[channel][column] += sum over tiles of x[tile][channel] dy[tile][column], for n channels from `first`.
 * With a task, for positions (r, 2 half) and the next: it is done while the processor multiplies. */
ALWAYS_INLINE void add_tiles(const panel *p, int first, int n, side task, int r, int half) {
    sixteen sum[LANES];
    float *const sums = p->sums + first * LANES;
    UNROLL
    for (int c = 0; c < n; c++) sum[c] = load16(sums + c * LANES);
    const float *x = p->x + first, *dy = p->dy, *const end = dy + p->tiles * LANES, *const from = p->from;
    if (task != NOTHING) {
        const int64_t *at = p->at, line = p->line, second = p->second;
        float *to = p->to;
        for (const float *const last = dy + p->count * LANES; dy < last;) {
            ls_conv2d_fetch(p->ahead);
            const float *const some = dy + smaller(FETCH_TILES * LANES, last - dy);
            for (; dy < some; x += LANES, dy += LANES, to += LANES) {
                transform(from + *at++, line, task, r, half, to, second);
                multiply_add16(sum, n, x, 1, load16(dy));
            }
        }
    }
    for (; dy < end; x += LANES, dy += LANES) multiply_add16(sum, n, x, 1, load16(dy));
    UNROLL
    for (int c = 0; c < n; c++) store16(sums + c * LANES, sum[c]);
}

ALWAYS_INLINE void add_panel(const panel *p, side task, int r, int half) {
#ifdef LS_FOR_AVX512
    add_tiles(p, 0, LANES, task, r, half);
#else
    add_tiles(p, 0, 5, task, r, half);
    add_tiles(p, 5, 5, NOTHING, 0, 0);
    add_tiles(p, 10, 6, NOTHING, 0, 0);
#endif
}

static void add(const panel *p) {
    add_panel(p, NOTHING, 0, 0);
}

enum { PAIRS = POSITIONS / 2 };
#define ALL(F, task)                                                                                         \
    F(task, 0, 0)                                                                                            \
    F(task, 0, 1) F(task, 1, 0) F(task, 1, 1) F(task, 2, 0) F(task, 2, 1) F(task, 3, 0) F(task, 3, 1)
#define ADD(task, r, half)                                                                                   \
    static void add_and_##task##_##r##_##half(const panel *p) {                                              \
        add_panel(p, task, r, half);                                                                         \
    }
#define NAME(task, r, half) add_and_##task##_##r##_##half,
ALL(ADD, X)
ALL(ADD, DY)
static void (*const add_and_transform[2][PAIRS])(const panel *p) = {{ALL(NAME, X)}, {ALL(NAME, DY)}};

static void set_task(panel *p, const tiles *t, side task, int64_t group, const sides *to) {
    const int64_t groups = task == X ? t->x_groups : t->dy_groups;
    p->from = task == X ? t->x + group * t->x_group : t->dy + group * t->dy_group;
    p->at = task == X ? t->x_at : t->dy_at;
    p->line = task == X ? t->x_line : t->dy_line;
    p->count = t->count;
    p->to = (task == X ? to->x : to->dy) + group * GROUP;
    p->second = groups * GROUP;
}

/* Position 2 pair + task - X of `count` tiles; in the meantime the task for the next pair of positions, of
 * t's tiles. */
static void add_position(const tiles *t, int64_t count, const sides *at, int pair, side task, float *sums,
                         const sides *next, ls_conv2d_ahead *ahead) {
    const int64_t groups = task == X ? t->x_groups : t->dy_groups;
    const float *x = at->x + (task - X) * t->x_groups * GROUP,
                *dy = at->dy + (task - X) * t->dy_groups * GROUP;
    int64_t j = 0;
    for (int64_t k = 0; k < t->dy_groups; k++)
        for (int64_t c = 0; c < t->x_groups; c++, j++, sums += LANES * LANES) {
            panel p = {
                .x = x + c * GROUP, .dy = dy + k * GROUP, .tiles = count, .sums = sums, .ahead = ahead};
            if (next && j < groups) {
                set_task(&p, t, task, j, next);
                add_and_transform[task - X][(pair + 1) % PAIRS](&p);
            } else {
                add(&p);
            }
        }
}

/* The first two positions. */
static void transform_first(const tiles *t, side task, const sides *to) {
    for (int64_t j = 0; j < (task == X ? t->x_groups : t->dy_groups); j++) {
        panel p;
        set_task(&p, t, task, j, to);
        for (int64_t i = 0; i < t->count; i++)
            transform(p.from + p.at[i], p.line, task, 0, 0, p.to + i * LANES, p.second);
    }
}

/* sums: [positions][groups of outputs][groups of inputs][16 inputs][16 outputs] */
void LS_NAME(ls_conv2d_winograd_add_gradient)(const ls_conv2d_args *a, const float *x, const float *dy,
                                              int64_t images, float *room, float *sums,
                                              ls_conv2d_ahead *ahead) {
    const ls_conv2d_plane of_x = plane_of_x(a), of_dy = plane_of_dy(a);
    tiles t = {.x = x,
               .dy = dy,
               .x_line = ls_conv2d_plane_line(&of_x),
               .x_group = ls_conv2d_plane_group(&of_x),
               .x_groups = ls_conv2d_groups(a->inputs),
               .dy_line = ls_conv2d_plane_line(&of_dy),
               .dy_group = ls_conv2d_plane_group(&of_dy),
               .dy_groups = ls_conv2d_groups(a->outputs)};
    sides at[2]; /* of a pair of positions and of the next */
    for (int i = 0; i < 2; i++, room += sides_size(a)) at[i] = (sides){room, room + 2 * t.x_groups * GROUP};
    const int64_t position = t.x_groups * t.dy_groups * LANES * LANES;
    const int64_t all = images * divide_up(a->out_height, 2) * divide_up(a->out_width, 2);
    int64_t left = divide_up(all, MOST_TILES), done = divide_up(all, left);
    find(a, 0, done, &t);
    transform_first(&t, X, &at[0]);
    transform_first(&t, DY, &at[0]);
    for (; left > 0; left--) {
        const int64_t count = t.count;
        for (int pair = 0; pair < PAIRS; pair++) {
            const bool last = pair == PAIRS - 1;
            const sides *next = last && left == 1 ? NULL : &at[(pair + 1) % 2];
            if (last && next) { /* of these tiles all is transformed; no more follow than they are */
                find(a, done, divide_up(all - done, left - 1), &t);
                done += t.count;
            }
            float *sum = sums + 2 * pair * position;
            add_position(&t, count, &at[pair % 2], pair, X, sum, next, ahead);
            add_position(&t, count, &at[pair % 2], pair, DY, sum + position, next, ahead);
        }
    }
}

int64_t LS_NAME(ls_conv2d_winograd_gradient_steps)(const ls_conv2d_args *a, int64_t images) {
    const int64_t all = images * divide_up(a->out_height, 2) * divide_up(a->out_width, 2),
                  parts = divide_up(all, MOST_TILES);
    /* the first pair of positions of the first part is transformed before */
    return (PAIRS * parts - 1) * (ls_conv2d_groups(a->inputs) + ls_conv2d_groups(a->outputs)) *
           (all / parts / FETCH_TILES);
}

/* G^T m for four vectors. */
ALWAYS_INLINE void contract(const sixteen m[SIDE], sixteen to[3]) {
    const sixteen half = broadcast16(0.5f);
    const sixteen middle = multiply16(add16(m[1], m[2]), half);
    to[0] = add16(middle, m[0]);
    to[1] = multiply16(subtract16(m[1], m[2]), half);
    to[2] = add16(middle, m[3]);
}

void LS_NAME(ls_conv2d_winograd_finish_gradient)(const ls_conv2d_args *a, const float *sums, float *to) {
    const int64_t panels = ls_conv2d_groups(a->outputs), groups = ls_conv2d_groups(a->inputs);
    const int64_t position = panels * groups * LANES * LANES, tap = a->inputs * LANES;
    for (int64_t k = 0; k < panels; k++, to += 9 * tap)
        for (int64_t c = 0; c < a->inputs; c++) {
            const float *from = sums + (k * groups * LANES + c) * LANES;
            sixteen columns[SIDE][3]; /* [column of positions][line of taps] */
            for (int q = 0; q < SIDE; q++) {
                sixteen m[SIDE];
                for (int r = 0; r < SIDE; r++) m[r] = load16(from + (r * SIDE + q) * position);
                contract(m, columns[q]);
            }
            for (int u = 0; u < 3; u++) {
                const sixteen line[SIDE] = {columns[0][u], columns[1][u], columns[2][u], columns[3][u]};
                sixteen w[3];
                contract(line, w);
                for (int v = 0; v < 3; v++) store16(to + (u * 3 + v) * tap + c * LANES, w[v]);
            }
        }
}
