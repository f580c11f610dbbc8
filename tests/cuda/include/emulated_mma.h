/* Tensor cores on the CPU, for core/mma_cuda.h: what its functions do, a warp at once. */
#ifndef LS_EMULATED_MMA_H
#define LS_EMULATED_MMA_H

namespace ls_emulated {

/* What a lane brings to an operation of its warp; `run` is called once, with those of all lanes. */
struct together {
    void (*run)(together *const *lanes);
    const unsigned *from; /* ls_mma_matrices: the lane's row */
    unsigned *to;
    const ls_mma_a *a;
    const ls_mma_b *b;
    ls_mma_c *c;
};
static inline void in_warp(together &mine) {
    ls_emulated_warp(LS_EMULATED_TOGETHER, 0xffffffffu, (uint64_t)(uintptr_t)&mine, 0, 0);
}

/* Factor k of a row or column, whose words lie in four lanes from `first` on; bf16: two a word. */
template <bool BF16> inline float factor(unsigned word, int half) {
    return from_bits<float>(BF16 ? half ? word & 0xffff0000u : word << 16 : word);
}
/* The columns of a row side by side, which compilers make one instruction. */
template <bool BF16> void multiply(together *const *lanes) {
    enum { PER_WORD = BF16 ? 2 : 1, K = 8 * PER_WORD };
    float b[K][8];
    for (int column = 0; column < 8; column++)
        for (int k = 0; k < K; k++) {
            const int word = k / PER_WORD;
            b[k][column] = factor<BF16>(lanes[column * 4 + word % 4]->b->w[word / 4], k % PER_WORD);
        }
    for (int row = 0; row < 16; row++) {
        together *const *mine = lanes + row % 8 * 4;
        float c[8];
        for (int column = 0; column < 8; column++)
            c[column] = mine[column / 2]->c->v[row / 8 * 2 + column % 2];
        for (int k = 0; k < K; k++) {
            const int word = k / PER_WORD;
            const float a = factor<BF16>(mine[word % 4]->a->w[row / 8 + word / 4 * 2], k % PER_WORD);
            for (int column = 0; column < 8; column++) c[column] = fmaf(a, b[k][column], c[column]);
        }
        for (int column = 0; column < 8; column++)
            mine[column / 2]->c->v[row / 8 * 2 + column % 2] = c[column];
    }
}

/* Word w of row r of matrix m goes to lane 4 r + w, or, transposed, numbers 2 w and 2 w + 1 of column r do. */
template <bool TRANSPOSED> void matrices(together *const *lanes) {
    for (int m = 0; m < 4; m++)
        for (int r = 0; r < 8; r++)
            for (int w = 0; w < 4; w++) {
                unsigned word = 0;
                for (int half = 0; half < 2; half++) {
                    const int row = TRANSPOSED ? 2 * w + half : r, at = TRANSPOSED ? r : 2 * w + half;
                    const unsigned *from = lanes[m * 8 + row]->from;
                    whole<16>::check(from);
                    word |= (from[at / 2] >> at % 2 * 16 & 0xffffu) << half * 16;
                }
                lanes[4 * r + w]->to[m] = word;
            }
}

} // namespace ls_emulated

static inline void ls_mma_bf16(ls_mma_c &c, const ls_mma_a &a, const ls_mma_b &b) {
    ls_emulated::together mine = {ls_emulated::multiply<true>, nullptr, nullptr, &a, &b, &c};
    ls_emulated::in_warp(mine);
}
static inline void ls_mma_tf32(ls_mma_c &c, const ls_mma_a &a, const ls_mma_b &b) {
    ls_emulated::together mine = {ls_emulated::multiply<false>, nullptr, nullptr, &a, &b, &c};
    ls_emulated::in_warp(mine);
}
static inline void ls_mma_matrices(const unsigned *row, unsigned (&to)[4]) {
    ls_emulated::together mine = {ls_emulated::matrices<false>, row, to, nullptr, nullptr, nullptr};
    ls_emulated::in_warp(mine);
}
static inline void ls_mma_transposed(const unsigned *row, unsigned (&to)[4]) {
    ls_emulated::together mine = {ls_emulated::matrices<true>, row, to, nullptr, nullptr, nullptr};
    ls_emulated::in_warp(mine);
}

#endif
