#include "layers/conv2d/conv2d_amx.h"

#include "core/tiles.h"
#include "core/transpose16.h"

/* --- forward and input gradient ----------------------------------------------------------------
 *
 * Two tiles of sums for two tiles of pixels by sixteen columns: a step is a tile of weights, two of pixels,
 * two products, 24 cycles of loads beside 32 of products. Lines are cut into tiles of equal size; where they
 * cannot, the last two overlap, and the sums of what both have are stored twice. */

#define C0      0
#define C1      1
#define A0      2
#define A1      3
#define B       4
#define A0_HALF 5 /* of steps of eight words: the last tap of a line of the kernel with sixteen channels */
#define A1_HALF 6
#define B_HALF  7

enum { HALF = LS_CONV2D_AMX_WORDS / 2 };

/* Pixels of a tile, of lines of so many. */
static int64_t pixels_of_tile(int64_t pixels) {
    return divide_up(pixels, divide_up(pixels, LS_TILE_ROWS));
}

void LS_NAME(ls_conv2d_open_tiles)(int64_t pixels) {
    const int64_t rows = pixels_of_tile(pixels);
    ls_tile_shapes shapes = {0};
    ls_tile_shape(&shapes, C0, rows, LANES);
    ls_tile_shape(&shapes, C1, rows, LANES);
    ls_tile_shape(&shapes, A0, rows, LS_CONV2D_AMX_WORDS);
    ls_tile_shape(&shapes, A1, rows, LS_CONV2D_AMX_WORDS);
    ls_tile_shape(&shapes, B, LS_CONV2D_AMX_WORDS, LANES);
    ls_tile_shape(&shapes, A0_HALF, rows, HALF);
    ls_tile_shape(&shapes, A1_HALF, rows, HALF);
    ls_tile_shape(&shapes, B_HALF, HALF, LANES);
    LS_TILES_CONFIGURE(&shapes);
}

void LS_NAME(ls_conv2d_close_tiles)(void) {
    LS_TILES_RELEASE();
}

/* Where a tile of pixels begins. */
typedef struct tile_place {
    const float *from;
    float *to;
} tile_place;

static tile_place place_of(const ls_conv2d_product *p, int64_t tile, int64_t pixels) {
    const int64_t rows = pixels_of_tile(pixels), in_line = divide_up(pixels, rows);
    const int64_t line = tile / in_line, pixel = smaller(tile % in_line * rows, pixels - rows);
    return (tile_place){p->from + line * p->from_line + pixel * p->from_pixel,
                        p->to + line * p->to_line + pixel * p->to_pixel};
}

/* One tile, or, unless `second` is NULL, two. */
static void multiply_tiles(const ls_conv2d_product *p, const tile_place *first, const tile_place *second,
                           bool fetching) {
    LS_TILE_ZERO(C0);
    LS_TILE_ZERO(C1);
    for (const ls_conv2d_step *step = p->step; step < p->step + p->steps; step++) {
        const float *weights = p->weights + step->weights;
        if (fetching) ls_conv2d_fetch(p->ahead);
        if (step->count == LS_CONV2D_AMX_WORDS) {
            LS_TILE_LOAD(B, weights, LANES);
            LS_TILE_LOAD(A0, first->from + step->from, p->from_pixel);
            LS_TILE_MULTIPLY(C0, A0, B);
            if (!second) continue;
            LS_TILE_LOAD(A1, second->from + step->from, p->from_pixel);
            LS_TILE_MULTIPLY(C1, A1, B);
        } else {
            LS_TILE_LOAD(B_HALF, weights, LANES);
            LS_TILE_LOAD(A0_HALF, first->from + step->from, p->from_pixel);
            LS_TILE_MULTIPLY(C0, A0_HALF, B_HALF);
            if (!second) continue;
            LS_TILE_LOAD(A1_HALF, second->from + step->from, p->from_pixel);
            LS_TILE_MULTIPLY(C1, A1_HALF, B_HALF);
        }
    }
    LS_TILE_STORE(C0, first->to, p->to_pixel);
    if (second) LS_TILE_STORE(C1, second->to, p->to_pixel);
}

void LS_NAME(ls_conv2d_multiply)(const ls_conv2d_product *p, int64_t lines, int64_t pixels) {
    const int64_t tiles = lines * divide_up(pixels, pixels_of_tile(pixels));
    for (int64_t t = 0; t < tiles; t += 2) {
        const tile_place first = place_of(p, t, pixels),
                         second = place_of(p, smaller(t + 1, tiles - 1), pixels);
        multiply_tiles(p, &first, t + 1 < tiles ? &second : NULL, t == 0);
    }
}

/* --- weight gradient ---------------------------------------------------------------------------
 *
 * The transpose of dw, a tile [16 outputs][16 inputs] for each tap of a line of the kernel. The rows of b are
 * words of two neighbouring pixels of x', as the plane has them for every pixel: those of two taps overlap
 * there. a is dy transposed, a line of words of two pixels for every output, which need not be shifted.
 * Pixels of all lines are taken as if they stood in one, with zeros between them in dy where the plane of x'
 * is wider: so steps of 16 words go over the ends of lines. */

#define D0     0 /* taps */
#define D1     1
#define D2     2
#define DY     3
#define X      4
#define DY_END 5 /* of the last step */
#define X_END  6

/* Words between the beginnings of lines of y, and from the first to the last of all. */
static int64_t words_of_line(const ls_conv2d_args *a) {
    return plane_of_x(a).columns / 2;
}
static int64_t words_of_image(const ls_conv2d_args *a) {
    return (a->out_height - 1) * words_of_line(a) + words(a->out_width);
}

int64_t LS_NAME(ls_conv2d_amx_gradient_room)(const ls_conv2d_args *a) {
    return a->outputs * words_of_image(a);
}

/* dy [lines][words of a line][16 outputs] -> to [16 outputs][words_of_image]. */
static void turn_gradient(const ls_conv2d_args *a, const float *dy, float *to) {
    const int64_t in_line = words(a->out_width), all = words_of_image(a), pitch = words_of_line(a);
    for (int64_t i = 0; i < a->out_height; i++, dy += in_line * LANES)
        for (int64_t j = 0; j < pitch; j += LANES) {
            const int64_t at = i * pitch + j, n = smaller(smaller(LANES, pitch - j), all - at);
            const __mmask16 some = (__mmask16)(n > 0 ? (1u << n) - 1 : 0);
            __m512 w[LANES];
            for (int64_t r = 0; r < LANES; r++)
                w[r] = j + r < in_line ? _mm512_loadu_ps(dy + (j + r) * LANES) : _mm512_setzero_ps();
            ls_transpose16(w);
            for (int64_t k = 0; k < LANES; k++) _mm512_mask_storeu_ps(to + k * all + at, some, w[k]);
        }
}

static void configure_gradient(int64_t end) {
    ls_tile_shapes shapes = {0};
    ls_tile_shape(&shapes, D0, LANES, LANES);
    ls_tile_shape(&shapes, D1, LANES, LANES);
    ls_tile_shape(&shapes, D2, LANES, LANES);
    ls_tile_shape(&shapes, DY, LANES, LS_TILE_WORDS);
    ls_tile_shape(&shapes, X, LS_TILE_WORDS, LANES);
    if (end > 0) {
        ls_tile_shape(&shapes, DY_END, LANES, end);
        ls_tile_shape(&shapes, X_END, end, LANES);
    }
    LS_TILES_CONFIGURE(&shapes);
}

/* The taps of a line of the kernel for sixteen outputs and inputs. dy: [16][count]; x: where the first tap's
 * first word is; sums: of the first tap. */
static void add_taps(const float *dy, const float *x, int64_t count, float *sums, int64_t sums_tap) {
    const int64_t whole = count / LS_TILE_WORDS * LS_TILE_WORDS;
    enum { NEXT = 2 * LANES }; /* a word is two pixels */
    LS_TILE_LOAD(D0, sums, LANES);
    LS_TILE_LOAD(D1, sums + sums_tap, LANES);
    LS_TILE_LOAD(D2, sums + 2 * sums_tap, LANES);
    for (int64_t i = 0; i < whole; i += LS_TILE_WORDS) {
        LS_TILE_LOAD(DY, dy + i, count);
        LS_TILE_LOAD(X, x + i * NEXT, NEXT);
        LS_TILE_MULTIPLY(D0, DY, X);
        LS_TILE_LOAD(X, x + i * NEXT + LANES, NEXT);
        LS_TILE_MULTIPLY(D1, DY, X);
        LS_TILE_LOAD(X, x + i * NEXT + 2 * LANES, NEXT);
        LS_TILE_MULTIPLY(D2, DY, X);
    }
    if (whole < count) {
        LS_TILE_LOAD(DY_END, dy + whole, count);
        LS_TILE_LOAD(X_END, x + whole * NEXT, NEXT);
        LS_TILE_MULTIPLY(D0, DY_END, X_END);
        LS_TILE_LOAD(X_END, x + whole * NEXT + LANES, NEXT);
        LS_TILE_MULTIPLY(D1, DY_END, X_END);
        LS_TILE_LOAD(X_END, x + whole * NEXT + 2 * LANES, NEXT);
        LS_TILE_MULTIPLY(D2, DY_END, X_END);
    }
    LS_TILE_STORE(D0, sums, LANES);
    LS_TILE_STORE(D1, sums + sums_tap, LANES);
    LS_TILE_STORE(D2, sums + 2 * sums_tap, LANES);
}

void LS_NAME(ls_conv2d_amx_add_gradient)(const ls_conv2d_args *a, const float *x, const float *dy,
                                         int64_t images, float *room, float *sums) {
    const ls_conv2d_plane from = plane_of_x(a), by = pixels_of_dy(a);
    const int64_t count = words_of_image(a), sums_tap = a->inputs * LANES;
    configure_gradient(count % LS_TILE_WORDS);
    for (int64_t n = 0; n < images; n++, x += ls_conv2d_plane_size(&from), dy += ls_conv2d_plane_size(&by))
        for (int64_t k = 0; k < ls_conv2d_groups(a->outputs); k++) {
            float *turned = room + k * LANES * count;
            turn_gradient(a, dy + k * ls_conv2d_plane_group(&by), turned);
            for (int64_t u = 0; u < 3; u++)
                for (int64_t c = 0; c < ls_conv2d_groups(a->inputs); c++)
                    add_taps(turned, x + c * ls_conv2d_plane_group(&from) + u * ls_conv2d_plane_line(&from),
                             count, sums + (k * 3 + u) * 3 * sums_tap + c * LANES * LANES, sums_tap);
        }
    LS_TILES_RELEASE();
}

void LS_NAME(ls_conv2d_amx_finish_gradient)(const ls_conv2d_args *a, float *sums) {
    for (float *end = sums + weight_elements(a); sums < end; sums += LANES * LANES) {
        __m512 w[LANES];
        for (int64_t k = 0; k < LANES; k++) w[k] = _mm512_loadu_ps(sums + k * LANES);
        ls_transpose16(w);
        for (int64_t c = 0; c < LANES; c++) _mm512_storeu_ps(sums + c * LANES, w[c]);
    }
}

/* --- the kernels, by shape ----------------------------------------------------------------------- */

extern const ls_conv2d_kernels ls_conv2d_vector_bf16_amx; /* conv2d_vector.c */

static const ls_conv2d_kernels *kernels_for(const ls_conv2d_args *a) {
    return ls_conv2d_on_tiles(a) ? &ls_conv2d_vector_bf16_amx : &ls_conv2d_vector_rounded_avx512;
}

static size_t scratch_bytes(const ls_conv2d_args *a, int64_t rows_per_shard) {
    return kernels_for(a)->scratch_bytes(a, rows_per_shard);
}

static void forward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,
                    const ls_lane *lane) {
    kernels_for(a)->forward(a, shards, first, last, lane);
}

static void backward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,
                     const ls_lane *lane) {
    kernels_for(a)->backward(a, shards, first, last, lane);
}

static int64_t weight_grad_parts(const ls_conv2d_args *a) {
    return kernels_for(a)->weight_grad_parts(a);
}

static void weight_grad(const ls_conv2d_args *a, const ls_shards *shards, int64_t first, int64_t last,
                        const ls_lane *lane) {
    kernels_for(a)->weight_grad(a, shards, first, last, lane);
}

static int64_t shard_gradient_elements(const ls_conv2d_args *a) {
    return kernels_for(a)->shard_gradient_elements(a);
}

const ls_conv2d_kernels ls_conv2d_bf16_amx = {.folds = ls_folds_any,
                                              .scratch_bytes = scratch_bytes,
                                              .forward = forward,
                                              .backward = backward,
                                              .weight_grad_parts = weight_grad_parts,
                                              .weight_grad = weight_grad,
                                              .shard_gradient_elements = shard_gradient_elements};
