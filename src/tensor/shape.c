/* Operations that move elements and compute nothing: views, transposes, slices, selections. */
#include <stdlib.h>
#include <string.h>

#include "tensor/kernels.h"

/* --- views: other shapes of the same memory ------------------------------------------------------------- */

static const ls_op_class reshape_class = {.name = "reshape", .unbatched = true, .view = true};
static const ls_op_class detach_class = {.name = "detach", .unbatched = true, .view = true};

static ls_tensor *view(const ls_op_class *class, ls_tensor *x, int dims, const int64_t *shape) {
    ls_op op = {.class = class, .in = {x}};
    return ls_graph_add(x->graph, &op, dims, shape);
}

ls_tensor *ls_tensor_detach(ls_tensor *x) {
    if (!ls_tensor_usable("detach", x)) return NULL;
    ls_tensor *y = view(&detach_class, x, x->dims, x->shape);
    if (y) y->requires_grad = false;
    return y;
}

/* What -1 stands for: the elements of x over those of the other sizes; 0: there is no such number. */
static int64_t size_left(const ls_tensor *x, int dims, const int64_t *shape) {
    int64_t left = ls_tensor_elements(x);
    for (int i = 0; i < dims; i++) {
        if (shape[i] == -1) continue;
        if (shape[i] < 1 || left % shape[i] != 0) return 0;
        left /= shape[i];
    }
    return left;
}

ls_tensor *ls_tensor_reshape(ls_tensor *x, int dims, const int64_t *shape) {
    int64_t full[LS_MAX_DIMS] = {0};
    int open = 0;
    if (!ls_tensor_usable("reshape", x)) return NULL;
    if (dims < 0 || dims > LS_MAX_DIMS)
        return ls_graph_fail(x->graph, LS_USAGE, "reshape: %d dimensions; expected at most %d", dims,
                             LS_MAX_DIMS);
    int64_t left = size_left(x, dims, shape);
    for (int i = 0; i < dims; i++) {
        full[i] = shape[i] == -1 ? left : shape[i];
        open += shape[i] == -1;
    }
    if (left < 1 || open > 1 || (open == 0 && left != 1)) {
        char from[256], to[256];
        return ls_graph_fail(
            x->graph, LS_USAGE, "reshape: %s to %s; expected as many elements, and at most one -1",
            ls_shape_text(x->dims, x->shape, from, sizeof from), ls_shape_text(dims, shape, to, sizeof to));
    }
    return view(&reshape_class, x, dims, full);
}

ls_tensor *ls_tensor_expand_dims(ls_tensor *x, int axis) {
    int64_t shape[LS_MAX_DIMS + 1];
    if (!ls_tensor_usable("expand_dims", x)) return NULL;
    int at = ls_tensor_axis(x, "expand_dims", axis, x->dims + 1);
    if (at < 0) return NULL;
    for (int i = 0; i <= x->dims; i++) shape[i] = i == at ? 1 : x->shape[i < at ? i : i - 1];
    return ls_tensor_reshape(x, x->dims + 1, shape);
}

ls_tensor *ls_tensor_squeeze(ls_tensor *x, int axis) {
    int64_t shape[LS_MAX_DIMS] = {0};
    char text[256];
    if (!ls_tensor_usable("squeeze", x)) return NULL;
    int at = ls_tensor_axis(x, "squeeze", axis, x->dims);
    if (at < 0) return NULL;
    if (x->shape[at] != 1)
        return ls_graph_fail(x->graph, LS_USAGE, "squeeze: axis %d of %s; expected one of size 1", axis,
                             ls_shape_text(x->dims, x->shape, text, sizeof text));
    for (int i = 0; i + 1 < x->dims; i++) shape[i] = x->shape[i < at ? i : i + 1];
    return ls_tensor_reshape(x, x->dims - 1, shape);
}

/* --- copies along strides ------------------------------------------------------------------------------- */

static const ls_op_class transpose_class = {.name = "transpose",
                                            .unbatched = true,
                                            .forward = ls_contraction_forward,
                                            .backward = ls_contraction_backward};
static const ls_op_class slice_class = {.name = "slice",
                                        .unbatched = true,
                                        .forward = ls_contraction_forward,
                                        .backward = ls_contraction_backward};

/* Axis i of the result is `size[i]` elements of x that are stride[i] apart, from `offset` on. */
static ls_tensor *copy(const ls_op_class *class, ls_tensor *x, const int64_t *shape, const int64_t *stride,
                       int64_t offset) {
    ls_contraction c = {.loops = x->dims, .offset = offset, .divisor = 1};
    int64_t out[LS_MAX_DIMS];
    ls_tensor_strides(x->dims, shape, out);
    for (int i = 0; i < x->dims; i++)
        c.loop[i] = (ls_contraction_loop){.size = shape[i], .in = {stride[i], 0}, .out = out[i]};
    return ls_contraction_add(class, &c, x, NULL, x->dims, shape);
}

ls_tensor *ls_tensor_transpose(ls_tensor *x, int axis1, int axis2) {
    int64_t shape[LS_MAX_DIMS], stride[LS_MAX_DIMS], kept;
    if (!ls_tensor_usable("transpose", x)) return NULL;
    int p = ls_tensor_axis(x, "transpose", axis1, x->dims),
        q = ls_tensor_axis(x, "transpose", axis2, x->dims);
    if (p < 0 || q < 0) return NULL;
    memcpy(shape, x->shape, sizeof shape);
    ls_tensor_strides(x->dims, x->shape, stride);
    kept = stride[p], stride[p] = stride[q], stride[q] = kept;
    shape[p] = x->shape[q], shape[q] = x->shape[p];
    return copy(&transpose_class, x, shape, stride, 0);
}

/* The slice with its ends counted from the start; false: it does not lie in an axis of `size` or is empty. */
static bool resolve(ls_slice *s, int64_t size) {
    if (s->start < 0) s->start += size;
    if (s->stop == LS_END) s->stop = size;
    if (s->stop < 0) s->stop += size;
    return s->step >= 1 && s->start >= 0 && s->start < s->stop && s->stop <= size;
}

ls_tensor *ls_tensor_slice(ls_tensor *x, int count, const ls_slice *slices) {
    int64_t shape[LS_MAX_DIMS], stride[LS_MAX_DIMS], offset = 0;
    char text[256];
    if (!ls_tensor_usable("slice", x)) return NULL;
    ls_shape_text(x->dims, x->shape, text, sizeof text);
    if (count < 0 || count > x->dims)
        return ls_graph_fail(x->graph, LS_USAGE, "slice: %d slices of %s; expected at most one an axis",
                             count, text);
    memcpy(shape, x->shape, sizeof shape);
    ls_tensor_strides(x->dims, x->shape, stride);
    for (int i = 0; i < count; i++) {
        ls_slice s = slices[i];
        if (!resolve(&s, x->shape[i]))
            return ls_graph_fail(x->graph, LS_USAGE,
                                 "slice: %lld:%lld:%lld of axis %d of %s; expected positions of the "
                                 "axis, something between them, and a step of at least 1",
                                 (long long)slices[i].start, (long long)slices[i].stop,
                                 (long long)slices[i].step, i, text);
        offset += s.start * stride[i];
        shape[i] = (s.stop - s.start - 1) / s.step + 1;
        stride[i] *= s.step < x->shape[i] ? s.step : x->shape[i]; /* a longer step takes one element */
    }
    return copy(&slice_class, x, shape, stride, offset);
}

ls_tensor *ls_tensor_select(ls_tensor *x, int axis, int64_t index) {
    ls_slice slices[LS_MAX_DIMS];
    char text[256];
    if (!ls_tensor_usable("select", x)) return NULL;
    int at = ls_tensor_axis(x, "select", axis, x->dims);
    if (at < 0) return NULL;
    int64_t size = x->shape[at], position = index < 0 ? index + size : index;
    if (position < 0 || position >= size)
        return ls_graph_fail(x->graph, LS_USAGE, "select: index %lld of axis %d of %s; expected %lld to %lld",
                             (long long)index, axis, ls_shape_text(x->dims, x->shape, text, sizeof text),
                             (long long)-size, (long long)(size - 1));
    for (int i = 0; i <= at; i++) slices[i] = LS_ALL;
    slices[at] = (ls_slice){position, position + 1, 1};
    return ls_tensor_squeeze(ls_tensor_slice(x, at + 1, slices), at);
}

/* --- positions of an axis ------------------------------------------------------------------------------- */

typedef struct take_state {
    int64_t rows, size, row, count;
    int64_t index[]; /* [count] */
} take_state;

static void take_forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    (void)run, (void)first, (void)last, (void)lane;
    const take_state *s = op->state;
    ls_tensor_kernels_for(op->graph)->take(s->rows, s->size, s->row, s->count, s->index, op->in[0]->value,
                                           op->out->value);
}

static void take_backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    (void)run, (void)first, (void)last, (void)lane;
    const take_state *s = op->state;
    ls_tensor_kernels_for(op->graph)->take_backward(s->rows, s->size, s->row, s->count, s->index,
                                                    op->out->grad, ls_tensor_grad_of_input(op, 0));
}

static const ls_op_class take_class = {
    .name = "take", .unbatched = true, .forward = take_forward, .backward = take_backward};

static bool copy_index(const ls_tensor *x, int axis, int64_t count, const int64_t *index, int64_t *to) {
    int64_t size = x->shape[axis];
    char text[256];
    for (int64_t i = 0; i < count; i++) {
        to[i] = index[i] < 0 ? index[i] + size : index[i];
        if (to[i] >= 0 && to[i] < size) continue;
        ls_graph_fail(x->graph, LS_USAGE, "take: index %lld of axis %d of %s; expected %lld to %lld",
                      (long long)index[i], axis, ls_shape_text(x->dims, x->shape, text, sizeof text),
                      (long long)-size, (long long)(size - 1));
        return false;
    }
    return true;
}

ls_tensor *ls_tensor_take(ls_tensor *x, int axis, int64_t count, const int64_t *index) {
    int64_t shape[LS_MAX_DIMS];
    take_state *state;
    if (!ls_tensor_usable("take", x)) return NULL;
    int at = ls_tensor_axis(x, "take", axis, x->dims);
    if (at < 0) return NULL;
    memcpy(shape, x->shape, sizeof shape);
    shape[at] = count;
    if (!ls_tensor_shape_fits(x->graph, "take", x->dims, shape)) return NULL;
    ls_status status = ls_calloc(&state, 1, sizeof *state + (size_t)count * sizeof *index, "indices");
    if (status != LS_OK) return ls_graph_give_up(x->graph, status);
    *state = (take_state){.rows = 1, .size = x->shape[at], .row = 1, .count = count};
    for (int i = 0; i < x->dims; i++) {
        if (i < at) state->rows *= x->shape[i];
        if (i > at) state->row *= x->shape[i];
    }
    if (!copy_index(x, at, count, index, state->index)) {
        free(state);
        return NULL;
    }
    ls_op op = {.class = &take_class, .in = {x}, .state = state};
    return ls_graph_add(x->graph, &op, x->dims, shape);
}
