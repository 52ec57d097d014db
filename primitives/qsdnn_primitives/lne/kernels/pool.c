/* Pools over blocked images. The window is cut at the border: a halo of zeros is no neutral element
   of the maximum. */

/* A run of windows that lie within the image; the compiler knows their size where it matters. */
INLINE void pool_run(const struct pool *a, const float *restrict x, float *restrict y, int64_t count,
                     int64_t rows, int64_t columns)
{
    const int64_t row = a->dilation_high * a->x_row, column = a->dilation_wide * LANES;
    const int64_t step = a->stride_wide * LANES;
    const vec share = splat(1.0f / (float)(rows * columns));
    for (int64_t w = 0; w < count; w++, x += step) {
        vec v = load(x);
        if (a->mean) {
            v = splat(0);
            for (int64_t i = 0; i < rows; i++)
                for (int64_t j = 0; j < columns; j++) v += load(x + i * row + j * column);
            v *= share;
        } else
            for (int64_t i = 0; i < rows; i++)
                for (int64_t j = 0; j < columns; j++) v = larger(v, load(x + i * row + j * column));
        store(y + w * LANES, v);
    }
}

/* The part of a window along one axis that is in the image: first tap, and the one after the last. */
struct span { int64_t first, end; };

/* The taps of a window that lie before an end. */
INLINE int64_t taps_before(int64_t start, int64_t taps, int64_t dilation, int64_t end)
{
    while (start + (taps - 1) * dilation >= end) taps--;
    return taps;
}

INLINE struct span taps_within(int64_t start, int64_t taps, int64_t dilation, int64_t size)
{
    struct span s = {0, taps_before(start, taps, dilation, size)};
    while (start + s.first * dilation < 0) s.first++;
    return s;
}

/* Any window: one pixel; `x` is where the image begins. */
static void pool_pixel(const struct pool *a, const float *x, float *y, int64_t top, int64_t left)
{
    const struct span i = taps_within(top, a->rows, a->dilation_high, a->x_height);
    const struct span j = taps_within(left, a->columns, a->dilation_wide, a->x_width);
    vec v = a->mean ? splat(0) : splat(-INFINITE);
    for (int64_t r = i.first; r < i.end; r++)
        for (int64_t c = j.first; c < j.end; c++) {
            const vec at = load(x + (top + r * a->dilation_high) * a->x_row +
                                (left + c * a->dilation_wide) * LANES);
            v = a->mean ? v + at : larger(v, at);
        }
    int64_t count = (i.end - i.first) * (j.end - j.first);
    if (a->padding_counts)
        count = taps_before(top, a->rows, a->dilation_high, a->x_height + a->pad_end_high) *
                taps_before(left, a->columns, a->dilation_wide, a->x_width + a->pad_end_wide);
    store(y, a->mean ? v / (float)count : v);
}

static void pool(const struct pool *a, const struct worker *me)
{
    const int64_t lines = a->blocks * a->height;
    const int64_t reach = (a->columns - 1) * a->dilation_wide;
    /* The outputs whose windows lie within the image's width. */
    const int64_t w0 = least((a->pad_wide + a->stride_wide - 1) / a->stride_wide, a->width);
    const int64_t room = a->x_width - 1 - reach + a->pad_wide;
    const int64_t w1 = room < 0 ? w0 : most(least(room / a->stride_wide + 1, a->width), w0);
    const int64_t size = a->dilation_wide == 1 ? a->rows * 16 + a->columns : 0;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t k = l / a->height, h = l % a->height;
        const int64_t top = h * a->stride_high - a->pad_high;
        const struct span i = taps_within(top, a->rows, a->dilation_high, a->x_height);
        const int64_t whole = i.end - i.first == a->rows;
        const float *x = a->x + k * a->x_block;
        float *y = a->y + k * a->y_block + h * a->y_row;
        for (int64_t w = 0; w < a->width; w++)
            if (!whole || w < w0 || w >= w1)
                pool_pixel(a, x, y + w * LANES, top, w * a->stride_wide - a->pad_wide);
        if (whole) {
            const float *at = x + top * a->x_row + (w0 * a->stride_wide - a->pad_wide) * LANES;
            if (size == 0x33) pool_run(a, at, y + w0 * LANES, w1 - w0, 3, 3);
            else if (size == 0x22) pool_run(a, at, y + w0 * LANES, w1 - w0, 2, 2);
            else pool_run(a, at, y + w0 * LANES, w1 - w0, a->rows, a->columns);
        }
        if (a->activation != NONE)
            for (int64_t w = 0; w < a->width; w++) {
                const vec v = load(y + w * LANES);
                store(y + w * LANES, activated(a->activation, v, a->alpha, a->beta));
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
