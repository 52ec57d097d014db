/* An image in blocks as numbers of few bits: [block][row][pixel][word]. Bytes are x · scale + zero,
   rounded, within 0 and 255. Channels beyond the last are zeros. */

typedef uint8_t bytes __attribute__((vector_size(LANES)));
typedef uint8_t loose_bytes __attribute__((vector_size(LANES), may_alias, aligned(4)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint16_t loose_halves __attribute__((vector_size(2 * LANES), may_alias, aligned(4)));

/* Added to 3 · 2^22, a number is rounded to a whole one, which its last bits then hold. */
INLINE bytes bytes_of(vec v, float scale, float zero)
{
    const vec at = smaller(larger(v * scale + zero, splat(0)), splat(255));
    return __builtin_convertvector((bits_of(at + 12582912.0f) & 255) ^ BYTE_SIGN, bytes);
}

/* The nearest bfloat16; of two, the even one. */
INLINE halves halves_of(vec v)
{
    const ints bits = bits_of(v), rounded = bits + 0x7fff + ((bits >> 16) & 1);
    return __builtin_convertvector((bits_of(choose(v == v, of_bits(rounded), v)) >> 16) & 0xffff, halves);
}

static void narrow(const struct narrow *a, const struct worker *me)
{
    const int64_t words = a->kind == INT8 ? WORDS_INT8 : WORDS_BF16, lines = a->blocks * a->height;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t k = l / a->height, h = l % a->height, lanes = least(LANES, a->channels - k * LANES);
        const float *x = a->x + k * a->x_block + h * a->x_row;
        float *y = a->y + l * a->width * words;
        for (int64_t w = 0; w < a->width; w++, x += a->x_pixel, y += words) {
            const vec v = lanes == LANES ? load(x) : load_some(x, lanes);
            if (a->kind == INT8)
                *(loose_bytes *)y = bytes_of(v, a->scale, a->zero);
            else
                *(loose_halves *)y = halves_of(v);
        }
    }
}
