#include "layers/conv2d/conv2d_winograd.h"
#include "layers/conv2d/winograd_tile.h"

/* Tiles of a group of channels whose products are added together: as many as, transformed, stay in the
 * second-level cache beside the sums. */
enum { MOST_TILES = 128, FEWEST_TILES = 16 };

/* What is added together: sides [positions][groups][tiles][16] and a line of the cache, so that the positions
 * of a tile do not compete for one place in it. */
typedef struct block {
    int64_t tiles, x_groups, dy_groups;
    float *x, *dy;
} block;

static block block_of(const ls_conv2d_args *a, float *room) {
    block b = {.x_groups = ls_conv2d_groups(a->inputs), .dy_groups = ls_conv2d_groups(a->outputs), .x = room};
    b.tiles = larger(FEWEST_TILES, MOST_TILES / larger(b.x_groups, b.dy_groups));
    b.dy = b.x ? b.x + POSITIONS * (b.x_groups * b.tiles + 1) * LANES : NULL;
    return b;
}

static int64_t position_size(const block *b, int64_t groups) {
    return (groups * b->tiles + 1) * LANES;
}

int64_t LS_NAME(ls_conv2d_winograd_gradient_room)(const ls_conv2d_args *a) {
    const block b = block_of(a, NULL);
    return POSITIONS * (position_size(&b, b.x_groups) + position_size(&b, b.dy_groups));
}

/* A e for two vectors. */
ALWAYS_INLINE void expand(sixteen a, sixteen b, sixteen to[SIDE]) {
    to[0] = a;
    to[1] = add16(a, b);
    to[2] = subtract16(a, b);
    to[3] = b;
}

/* A dy A^T */
ALWAYS_INLINE void transform_gradient(const float *from, int64_t from_line, float *to, int64_t to_position) {
    sixteen t[2][SIDE]; /* [column][line of positions] */
    UNROLL
    for (int v = 0; v < 2; v++) expand(load16(from + v * LANES), load16(from + from_line + v * LANES), t[v]);
    UNROLL
    for (int r = 0; r < SIDE; r++) {
        sixteen line[SIDE];
        expand(t[0][r], t[1][r], line);
        UNROLL
        for (int q = 0; q < SIDE; q++) store16(to + (r * SIDE + q) * to_position, line[q]);
    }
}

/* Tiles [first, first + count) of the images, transformed, into b. */
static void transform(const ls_conv2d_args *a, const float *x, const float *dy, int64_t first, int64_t count,
                      const block *b) {
    const ls_conv2d_plane from = plane_of_x(a), by = plane_of_dy(a);
    const int64_t x_line = ls_conv2d_plane_line(&from), dy_line = ls_conv2d_plane_line(&by);
    const int64_t x_position = position_size(b, b->x_groups), dy_position = position_size(b, b->dy_groups);
    const int64_t across = divide_up(a->out_width, 2), tiles = divide_up(a->out_height, 2) * across;
    for (int64_t t = 0; t < count; t++) {
        const int64_t image = (first + t) / tiles, tile = (first + t) % tiles;
        const int64_t line = tile / across * 2, pixel = tile % across * 2;
        const float *x_at = x + image * ls_conv2d_plane_size(&from) + line * x_line + pixel * LANES;
        const float *dy_at =
            dy + image * ls_conv2d_plane_size(&by) + (by.top + line) * dy_line + (by.left + pixel) * LANES;
        for (int64_t c = 0; c < b->x_groups; c++)
            transform_pixels(x_at + c * ls_conv2d_plane_group(&from), x_line,
                             b->x + (c * b->tiles + t) * LANES, SIDE * x_position, x_position);
        for (int64_t k = 0; k < b->dy_groups; k++)
            transform_gradient(dy_at + k * ls_conv2d_plane_group(&by), dy_line,
                               b->dy + (k * b->tiles + t) * LANES, dy_position);
    }
}

/* sums[channel][column] += sum over tiles of x[tile][channel] dy[tile][column], for n channels */
ALWAYS_INLINE void add_tiles(const float *x, const float *dy, int64_t tiles, int n, float *sums) {
    sixteen sum[LANES];
    UNROLL
    for (int c = 0; c < n; c++) sum[c] = load16(sums + c * LANES);
    const float *const end = dy + tiles * LANES;
    do {
        multiply_add16(sum, n, x, 1, load16(dy));
        x += LANES, dy += LANES;
    } while (dy < end);
    UNROLL
    for (int c = 0; c < n; c++) store16(sums + c * LANES, sum[c]);
}

static void add_panel(const float *x, const float *dy, int64_t tiles, float *sums) {
#ifdef LS_FOR_AVX512
    add_tiles(x, dy, tiles, LANES, sums);
#else
    add_tiles(x, dy, tiles, 6, sums);
    add_tiles(x + 6, dy, tiles, 5, sums + 6 * LANES);
    add_tiles(x + 11, dy, tiles, 5, sums + 11 * LANES);
#endif
}

/* sums: [positions][groups of outputs][groups of inputs][16 inputs][16 outputs] */
void LS_NAME(ls_conv2d_winograd_add_gradient)(const ls_conv2d_args *a, const float *x, const float *dy,
                                              int64_t images, float *room, float *sums) {
    const block b = block_of(a, room);
    int64_t all = images * divide_up(a->out_height, 2) * divide_up(a->out_width, 2);
    for (int64_t left = divide_up(all, b.tiles), done = 0, n; left > 0; left--, done += n, all -= n) {
        n = divide_up(all, left);
        transform(a, x, dy, done, n, &b);
        float *sum = sums;
        for (int64_t p = 0; p < POSITIONS; p++) {
            const float *x_side = b.x + p * position_size(&b, b.x_groups);
            const float *dy_side = b.dy + p * position_size(&b, b.dy_groups);
            for (int64_t k = 0; k < b.dy_groups; k++)
                for (int64_t c = 0; c < b.x_groups; c++, sum += LANES * LANES)
                    add_panel(x_side + c * b.tiles * LANES, dy_side + k * b.tiles * LANES, n, sum);
        }
    }
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
