/* What max_pool and average_pool share: windows of kernel x kernel pixels over [height][width][channels], a
 * channel at a time, stride pixels apart over an image with pad pixels around it. As in PyTorch the last
 * window is the last that fits, and pad is at most half the kernel, so that every window holds a pixel of the
 * image. */
#ifndef LOCKSTEP_LAYERS_POOLING_H
#define LOCKSTEP_LAYERS_POOLING_H

#include "layers/layer.h"

typedef enum ls_pool_ties { LS_TIES_FIRST, LS_TIES_ALL } ls_pool_ties;

typedef struct ls_pool_window {
    int64_t kernel, stride, pad;
    ls_pool_ties ties; /* of max_pool */
} ls_pool_window;

typedef struct ls_pool_args {
    int64_t height, width, channels; /* of x */
    int64_t out_height, out_width;   /* (height + 2 pad - kernel) / stride + 1, .. */
    ls_pool_window window;
    const void *x;   /* [rows][height][width][channels] */
    void *y;         /* [rows][out_height][out_width][channels] */
    const void *dy;  /* as y */
    void *dx;        /* as x */
    bool accumulate; /* dx += the gradient of an image, once it is complete, instead of dx = */
} ls_pool_args;

/* Local; shards [first, last) of the local ones; lane->scratch holds one image of x. */
typedef struct ls_pool_kernels {
    void (*forward)(const ls_pool_args *args, const ls_shards *shards, int first, int last,
                    const ls_lane *lane);
    void (*backward)(const ls_pool_args *args, const ls_shards *shards, int first, int last,
                     const ls_lane *lane);
} ls_pool_kernels;

/* The output's shape for an input of shape `in`. LS_USAGE: `layer` (for the message) does not fit on it. */
ls_status ls_pool_shape(const char *layer, int dims, const int64_t *in, const ls_pool_window *window,
                        int64_t out[3]);

/* Puts an op of that class on the graph of x, whose pieces run these kernels. */
ls_tensor *ls_pool(ls_graph *graph, ls_tensor *x, const ls_op_class *class, const ls_pool_kernels *kernels,
                   const ls_pool_window *window);

/* What its kernels are called with. */
ls_pool_args ls_pool_arguments(const ls_op *op);

/* The pieces of such a class, its table, and the scratch memory that they want. */
const void *ls_pool_table(const ls_op *op);
void ls_pool_forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane);
void ls_pool_backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane);
size_t ls_pool_scratch(const ls_op *op, int64_t rows_per_shard);

/* The keys of a configuration. stride: -1 stands for the kernel. */
typedef struct ls_pool_settings {
    int64_t kernel, stride, pad;
    ls_pool_ties ties;
    char *name;
} ls_pool_settings;

/* The first three of their keys. */
#define LS_POOL_WINDOW_KEYS(pad_help)                                                                        \
    LS_LAYER_KEY(ls_pool_settings, INT, kernel, NULL, 1, 1024, NULL, "height and width of the window"),      \
        LS_LAYER_KEY(ls_pool_settings, INT, stride, "-1", -1, 1024, NULL,                                    \
                     "step of the window, at least 1; -1: as large as the kernel"),                          \
        LS_LAYER_KEY(ls_pool_settings, INT, pad, "0", 0, 512, NULL, pad_help)

/* The window that they describe. */
ls_pool_window ls_pool_window_of(const ls_pool_settings *settings);

/* declare() of such a layer. */
ls_status ls_pool_declare(ls_layer *layer, ls_parameters *parameters);

#endif
