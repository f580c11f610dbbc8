#include "cuda/tables.h"

#include "core/vector.h"

const void *const ls_cuda_tables[] = {
    &ls_vector_ref_cuda,
    &ls_vector_doubles_cuda,
};
