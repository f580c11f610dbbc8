/* The multiply-adds of the portable tier against fmaf(), to the bit: sums that cancel, that are halfway
 * between two floats or nearly so, denormals, zeros of either sign, numbers that are not finite. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/fused.h"

static uint64_t state = 88172645463325252u;

static uint32_t next_word(void) { /* xorshift */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static void expect_fused(const float a[4], const float b[4], const float c[4]) {
    ls_four x, y, z;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    memcpy(&z, c, sizeof z);
    const ls_four got = ls_multiply_add4(x, y, z);
    for (int i = 0; i < 4; i++) {
        const float want = fmaf(a[i], b[i], c[i]), sum = got[i];
        if (want != want && sum != sum) continue;
        if (memcmp(&want, &sum, sizeof want))
            fail_msg("%a * %a + %a: %a instead of %a", (double)a[i], (double)b[i], (double)c[i], (double)sum,
                     (double)want);
    }
}

/* Every third of 9 special numbers with every other two. */
static void special(void **unused) {
    (void)unused;
    const float n[] = {0,        1,   0x1p-149f,    0x1.fffffep-127f, 0x1p-126f, 0x1.fffffep127f,
                       INFINITY, NAN, 0x1.000002p0f};
    enum { COUNT = 2 * sizeof n / sizeof *n };
    float all[COUNT];
    for (int i = 0; i < COUNT; i++) all[i] = i % 2 ? -n[i / 2] : n[i / 2];
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < COUNT; j++)
            for (int k = 0; k < COUNT; k++) {
                const float a[4] = {all[i], all[j], all[k], all[i]}, b[4] = {all[j], all[k], all[i], all[i]};
                const float c[4] = {all[k], all[i], all[j], all[k]};
                expect_fused(a, b, c);
            }
}

/* Any bits; and a third number near to the product of the first two, all with few bits set now and then. */
static void random_bits(void **unused) {
    (void)unused;
    for (int n = 0; n < 400000; n++) {
        uint32_t w[12];
        float f[12];
        for (int i = 0; i < 12; i++) w[i] = next_word();
        for (int i = 0; n % 2 && i < 4; i++) {
            const int exponent =
                (int)(w[i] >> 23 & 255) + (int)(w[4 + i] >> 23 & 255) - 127 + (int)(next_word() % 60) - 30;
            const int kept = exponent < 0 ? 0 : exponent > 254 ? 254 : exponent;
            w[8 + i] = (w[8 + i] & 0x807fffffu) | (uint32_t)kept << 23;
            if (n & 2) w[i] &= 0xfffff000u;
            if (n & 4) w[4 + i] &= 0xffffff00u;
            if (n & 8) w[8 + i] &= 0xfffffff0u;
        }
        memcpy(f, w, sizeof f);
        expect_fused(f, f + 4, f + 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(special), cmocka_unit_test(random_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
