/* Making Q8_0 blocks, bit for bit as gguf.quants.quantize does. */
#include "tensor/quant.h"

#include <math.h>
#include <string.h>

#include "tensor/half_private.h"

/* The largest magnitude; NaN if there is one. */
static float largest(const float *x, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++) {
        float magnitude = fabsf(x[i]);
        if (magnitude > most || isnan(magnitude))
            most = magnitude;
    }
    return most;
}

void um_quantise_q8_0(struct um_q8_0 *to, const float *from, int64_t n)
{
    for (; n >= UM_QUANT_BLOCK; n -= UM_QUANT_BLOCK, from += UM_QUANT_BLOCK, to++) {
        float d = largest(from, UM_QUANT_BLOCK) / 127, inverse = d == 0 ? 0 : 1 / d;
        uint16_t stored = um_f16_of_f32(d);
        memcpy(to->d, &stored, sizeof(stored));
        for (int i = 0; i < UM_QUANT_BLOCK; i++) {
            /* Beyond 127 only where 1 / d overflows; then d is stored as 0. NaN becomes 0. */
            float q = roundf(from[i] * inverse);
            int8_t limited = 0;
            if (q >= -127 && q <= 127)
                limited = (int8_t)q;
            to->q[i] = (unsigned char)limited;
        }
    }
}
