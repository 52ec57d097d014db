/* Pools over blocked images. The window is cut at the border: a halo of zeros is no neutral element
   of the maximum. */

/* The maximum or the sum of a window whose size the compiler knows. */
#define WINDOW(NAME, R, C)                                                                        \
    INLINE void NAME(const float *x, int64_t row, vec *most, vec *sum)                            \
    {                                                                                             \
        vec m = load(x), s = splat(0);                                                            \
        for (int i = 0; i < R; i++)                                                               \
            for (int j = 0; j < C; j++) {                                                         \
                const vec v = load(x + i * row + j * LANES);                                      \
                m = larger(m, v), s += v;                                                         \
            }                                                                                     \
        *most = m, *sum = s;                                                                      \
    }
WINDOW(window_2x2, 2, 2)
WINDOW(window_3x3, 3, 3)

static void pool(const struct pool *a, const struct worker *me)
{
    const int64_t lines = a->blocks * a->height;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t k = l / a->height, h = l % a->height;
        const int64_t top = h * a->stride_high - a->pad_high;
        int64_t i0 = 0, i1 = a->rows;
        while (top + i0 * a->dilation_high < 0) i0++;
        while (top + (i1 - 1) * a->dilation_high >= a->x_height) i1--;
        const float *x = a->x + k * a->x_block;
        float *y = a->y + k * a->y_block + h * a->y_row;
        for (int64_t w = 0; w < a->width; w++) {
            const int64_t left = w * a->stride_wide - a->pad_wide;
            int64_t j0 = 0, j1 = a->columns;
            while (left + j0 * a->dilation_wide < 0) j0++;
            while (left + (j1 - 1) * a->dilation_wide >= a->x_width) j1--;
            const float *at = x + (top + i0 * a->dilation_high) * a->x_row +
                              (left + j0 * a->dilation_wide) * LANES;
            const int64_t row = a->dilation_high * a->x_row, column = a->dilation_wide * LANES;
            vec sum = load(at);
            const int64_t size = i1 - i0 == a->rows && j1 - j0 == a->columns && column == LANES
                                     ? a->rows * 16 + a->columns : 0;
            vec most, total;
            if (size == 0x33 || size == 0x22) {
                (size == 0x33 ? window_3x3 : window_2x2)(at, row, &most, &total);
                sum = a->mean ? total / (float)(a->rows * a->columns) : most;
            } else if (a->mean) {
                sum = splat(0);
                for (int64_t i = i0; i < i1; i++, at += row)
                    for (int64_t j = 0; j < j1 - j0; j++) sum += load(at + j * column);
                int64_t count = (i1 - i0) * (j1 - j0);
                if (a->padding_counts) {
                    const int64_t i2 = least(a->rows, (a->x_height + a->pad_end_high - top + a->dilation_high - 1) / a->dilation_high);
                    const int64_t j2 = least(a->columns, (a->x_width + a->pad_end_wide - left + a->dilation_wide - 1) / a->dilation_wide);
                    count = i2 * j2;
                }
                sum /= (float)count;
            } else
                for (int64_t i = i0; i < i1; i++, at += row)
                    for (int64_t j = 0; j < j1 - j0; j++) sum = larger(sum, load(at + j * column));
            store(y + w * LANES, activated(a->activation, sum, a->alpha, a->beta));
        }
    }
}

/* The mean or the largest of each channel over the whole image. */
static void global_pool(const struct global_pool *a, const struct worker *me)
{
    for (int64_t k = first_of(me, a->blocks); k < end_of(me, a->blocks); k++) {
        const float *x = a->x + k * a->x_block;
        vec sum[4] = {load(x), load(x), load(x), load(x)};
        if (a->mean) sum[0] = sum[1] = sum[2] = sum[3] = splat(0);
        for (int64_t h = 0; h < a->height; h++, x += a->x_row) {
            int64_t w = 0;
            if (a->mean) {
                for (const int64_t end = a->width / 4 * 4; w < end; w += 4)
                    for (int i = 0; i < 4; i++) sum[i] += load(x + (w + i) * LANES);
                for (; w < a->width; w++) sum[0] += load(x + w * LANES);
            } else
                for (; w < a->width; w++) sum[0] = larger(sum[0], load(x + w * LANES));
        }
        vec y = a->mean ? (sum[0] + sum[1] + sum[2] + sum[3]) / (float)(a->height * a->width) : sum[0];
        store(a->y + k * LANES, activated(a->activation, y, a->alpha, a->beta));
    }
}
