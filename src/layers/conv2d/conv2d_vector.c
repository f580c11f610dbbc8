/* The convolution with vectors of sixteen channels (AVX2, AVX-512, portable C), image by image: directly,
 * or, where is_winograd() says so, with the products of conv2d_winograd.h between the same planes and
 * epilogues.
 *
 * Forward (conv2d_vector_forward.c): x' goes through its prologue into a plane in the second-level cache,
 * with zeros around it; tiles of y are computed from there (conv2d_tiles.h), bias and sums taken while the
 * lines are still in the caches.
 *
 * Backward (conv2d_vector_backward.c): dy and x' go into planes. dx' comes from dy by the same tiles, with
 * the weights transposed, one phase of the stride after the other, and goes back through the prologue; the
 * weight gradient comes from both planes, for every shard (conv2d_weights.h).
 *
 * The order of every sum is that of conv2d.h, with terms 0 w where a tap meets padding and a multiply-add
 * that rounds once; it does not depend on the tier. x' is computed again where it is needed, so that nobody
 * has to store it. */
#include "layers/conv2d/conv2d_vector.h"

#include "layers/conv2d/conv2d_amx.h"
#include "layers/conv2d/conv2d_winograd.h"
#include "layers/conv2d/sixteen.h"

/* --- weights ----------------------------------------------------------------------------------- */

/* n columns of a term. */
ALWAYS_INLINE sixteen load_columns(const float *w, int64_t n, int64_t by_column) {
    float column[LANES] = {0};
    if (by_column == 1) return n == LANES ? load16(w) : load16_first(w, n);
    for (int64_t j = 0; j < n; j++) column[j] = w[j * by_column];
    return load16(column);
}

/* As [panels][taps][terms][16], or words of two terms, zeros behind the last column and term: columns are
 * outputs and terms inputs, or, transposed, the other way round, and with LS_TILES the taps from the last to
 * the first. */
static void pack_weights(const ls_conv2d_args *a, bool transposed, float *to) {
    const float *weight = a->weight;
    const int64_t columns = transposed ? a->inputs : a->outputs, terms = transposed ? a->outputs : a->inputs;
    const int64_t by_column = transposed ? a->outputs : 1, by_term = transposed ? 1 : a->outputs;
    for (int64_t column = 0; column < columns; column += LANES)
        for (int64_t tap = 0; tap < taps(a); tap++) {
            const int64_t place = LS_TILES && transposed ? taps(a) - 1 - tap : tap;
            const float *w = weight + place * a->inputs * a->outputs + column * by_column;
            const int64_t n = smaller(LANES, columns - column);
#if LS_PAIRS
            for (int64_t t = 0; t < terms; t += 2, to += LANES) {
                const sixteen first = load_columns(w + t * by_term, n, by_column);
                const sixteen second =
                    t + 1 < terms ? load_columns(w + (t + 1) * by_term, n, by_column) : zero16();
                store16(to, pair16(round16(first), round16(second)));
            }
#else
            for (int64_t t = 0; t < terms; t++, to += LANES)
                store16(to, factor16(load_columns(w + t * by_term, n, by_column)));
#endif
        }
}

void LS_NAME(ls_conv2d_prepare_weights)(const ls_conv2d_args *a, bool transposed, float *to) {
    if (is_winograd(a))
        LS_NAME(ls_conv2d_winograd_weights)(a, transposed, to);
    else
        pack_weights(a, transposed, to);
}

/* --- scratch ----------------------------------------------------------------------------------- */

static size_t take(size_t *used, int64_t count, size_t size) {
    const size_t at = *used;
    *used += ((size_t)count * size + 63) / 64 * 64;
    return at;
}

/* Floats of the packed weights of both directions. */
static int64_t room_for_weights(const ls_conv2d_args *a) {
    if (is_winograd(a)) return ls_conv2d_winograd_weights_size(a);
    return larger(packed_size(a, false), packed_size(a, true));
}

/* Floats of transformed tiles. */
static int64_t room_for_tiles(const ls_conv2d_args *a) {
#if LS_TILES
    return LS_NAME(ls_conv2d_amx_gradient_room)(a);
#endif
    if (!is_winograd(a)) return 0;
    return larger(LS_NAME(ls_conv2d_winograd_room)(a), LS_NAME(ls_conv2d_winograd_gradient_room)(a));
}

/* Lays scratch out for both directions; NULL: only says how many bytes. */
static size_t lay_out(const ls_conv2d_args *a, void *scratch, ls_conv2d_room *r) {
    const ls_conv2d_plane x = plane_of_x(a), dy = plane_of_dy(a), dy_pixels = pixels_of_dy(a);
    const int64_t pixels = a->height * a->width, groups = ls_conv2d_groups(a->inputs);
    size_t used = 0;
    const size_t step =
        take(&used, taps(a) * larger(groups, ls_conv2d_groups(a->outputs)), sizeof(ls_conv2d_step));
    const size_t packed = take(&used, room_for_weights(a), sizeof(float));
    const size_t x_at = take(&used, images_together(a) * ls_conv2d_plane_size(&x), sizeof(float));
    const size_t dy_at = take(&used, images_together(a) * ls_conv2d_plane_size(&dy), sizeof(float));
    const size_t dy_pixels_at =
        LS_PAIRS ? take(&used, images_together(a) * ls_conv2d_plane_size(&dy_pixels), sizeof(float)) : dy_at;
    const int64_t images = is_winograd(a) ? images_together(a) : 1;
    const size_t image = take(&used, images * pixels * groups * LANES, sizeof(float));
    const size_t plain = take(&used, pixels * a->inputs, sizeof(float));
    const size_t tiles = take(&used, room_for_tiles(a), sizeof(float));
    const size_t sums =
        take(&used, is_winograd(a) ? ls_conv2d_winograd_sums_size(a) : gradient_room(a), sizeof(float));
    const size_t pixel_sums =
        take(&used, larger(ls_sums_room(a->outputs), 2 * ls_sums_room(a->inputs)), sizeof(double));
    char *base = scratch;
    if (base)
        *r = (ls_conv2d_room){.step = (ls_conv2d_step *)(base + step),
                              .packed = (float *)(base + packed),
                              .x = (float *)(base + x_at),
                              .dy = (float *)(base + dy_at),
                              .dy_pixels = (float *)(base + dy_pixels_at),
                              .image = (float *)(base + image),
                              .plain = (float *)(base + plain),
                              .tiles = (float *)(base + tiles),
                              .sums = (float *)(base + sums),
                              .pixel_sums = (double *)(base + pixel_sums)};
    return used;
}

ls_conv2d_room LS_NAME(ls_conv2d_open_room)(const ls_conv2d_args *a, void *scratch) {
    ls_conv2d_room r = {0};
    lay_out(a, scratch, &r);
    return r;
}

static size_t scratch_bytes(const ls_conv2d_args *a, int64_t rows_per_shard) {
    const size_t sum = LS_NAME(ls_conv2d_weight_grad_scratch)(), used = lay_out(a, NULL, NULL);
    (void)rows_per_shard;
    return used > sum ? used : sum;
}

/* Tensors of a rank from that size on leave the caches before they are read again. */
enum { STREAMED_BYTES = 2 << 20 };

bool LS_NAME(ls_conv2d_streams)(const ls_conv2d_args *given, const ls_shards *shards, const void *to) {
    const int64_t elements = ls_shards_rows(shards) * given->in.pixels * given->inputs;
    return to && given->inputs % LANES == 0 && (uintptr_t)to % 64 == 0 &&
           elements * (int64_t)sizeof(float) >= STREAMED_BYTES;
}

/* --- the table of kernels ---------------------------------------------------------------------- */

const ls_conv2d_kernels LS_NAME(ls_conv2d_vector) = {
    .folds = ls_folds_any,
    .scratch_bytes = scratch_bytes,
    .forward = LS_NAME(ls_conv2d_vector_forward),
    .backward = LS_NAME(ls_conv2d_vector_backward),
    .weight_grad_parts = LS_NAME(ls_conv2d_weight_grad_parts),
    .weight_grad = LS_NAME(ls_conv2d_weight_grad),
    .shard_gradient_elements = shard_elements,
};
