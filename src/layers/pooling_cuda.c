#include "layers/pooling_cuda.h"

ls_cuda_pool ls_cuda_pool_of(const ls_pool_args *a) {
    return (ls_cuda_pool){.height = (int)a->height,
                          .width = (int)a->width,
                          .channels = (int)a->channels,
                          .out_height = (int)a->out_height,
                          .out_width = (int)a->out_width,
                          .kernel = (int)a->window.kernel,
                          .stride = (int)a->window.stride,
                          .pad = (int)a->window.pad,
                          .all_ties = a->window.ties == LS_TIES_ALL,
                          .accumulate = a->accumulate,
                          .x = a->x,
                          .dy = a->dy,
                          .y = a->y,
                          .dx = a->dx};
}
