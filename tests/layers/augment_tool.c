/* For augment_pillow.py: applies the operations of layers/input/augment.h to what standard input holds, in
 * the order of bytes of this machine: any number of cases of int32 height, int32 width, double degrees,
 * double brightness factor, double contrast factor, image and writes for each the image rotated, brightened,
 * with changed contrast, and with all three in a row. */
#include "layers/input/augment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    const ls_backend *backend;
    if (ls_backend_find(LS_FP32, &backend) != LS_OK) return 1;
    const ls_augment_kernels *kernels = LS_KERNELS_OF(backend, ls_augment);
    int32_t size[2];
    double value[3];
    while (fread(size, sizeof size, 1, stdin) == 1 && fread(value, sizeof value, 1, stdin) == 1) {
        size_t count = (size_t)size[0] * (size_t)size[1];
        uint8_t *in = malloc(count), *out = malloc(count);
        void *scratch = malloc(kernels->scratch_bytes(size[0], size[1]));
        int good = in && out && scratch && fread(in, 1, count, stdin) == count;
        for (int which = 0; good && which < 4; which++) {
            int all = which == 3;
            if (which == 0 || all)
                kernels->rotate(in, size[0], size[1], value[0], out, scratch);
            else
                memcpy(out, in, count);
            if (which == 1 || all) kernels->brightness(out, count, value[1]);
            if (which == 2 || all) kernels->contrast(out, count, value[2]);
            good = fwrite(out, 1, count, stdout) == count;
        }
        free(in);
        free(out);
        free(scratch);
        if (!good) return 1;
    }
    return ferror(stdin) ? 1 : 0;
}
