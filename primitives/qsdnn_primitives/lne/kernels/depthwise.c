/* Depthwise convolutions: each channel has a window of its own, so a vector holds LANES of them. */

struct depthwise_tile {
    int64_t rows, columns, tap_row, tap_column, x_pixel;
    float low, high;
};

typedef void depthwise_function(const struct depthwise_tile *, const float *restrict x,
                                const float *restrict w, vec bias, const float *restrict r,
                                float *restrict y);

#include "depthwise_tiles.h"

/* Any window: one pixel. */
static void depthwise_pixel(const struct depthwise_tile *t, const float *restrict x,
                            const float *restrict w, vec bias, const float *restrict r,
                            float *restrict y)
{
    vec sum = bias;
    for (int64_t i = 0; i < t->rows; i++)
        for (int64_t j = 0; j < t->columns; j++, w += LANES)
            sum += load(x + i * t->tap_row + j * t->tap_column) * load(w);
    if (r) sum += load(r);
    store(y, smaller(larger(sum, splat(t->low)), splat(t->high)));
}

static void depthwise(const struct depthwise *a, const struct worker *me)
{
    const struct depthwise_tile t = {a->rows, a->columns, a->tap_row, a->tap_column, a->x_pixel,
                                     a->low, a->high};
    depthwise_function *const *tiles = a->shape < 0 ? 0 : DEPTHWISE[a->shape];
    const struct cut cut = cut_row(a->width, tiles ? a->pixels : 1);
    /* Workers share rows or channels, as they mostly share the product before: what one of them has
       made is in its cache. */
    const int64_t by_rows = a->height * a->width >= a->blocks * LANES;
    const int64_t h0 = by_rows ? first_of(me, a->height) : 0;
    const int64_t rows = by_rows ? end_of(me, a->height) - h0 : a->height;
    const int64_t lines = a->blocks * rows;
    const int64_t l0 = by_rows ? 0 : first_of(me, lines), l1 = by_rows ? lines : end_of(me, lines);
    for (int64_t l = l0; l < l1; l++) {
        const int64_t k = l / rows, h = h0 + l % rows;
        const float *x = a->x + k * a->x_block + h * a->x_row;
        const float *w = a->w + k * a->rows * a->columns * LANES;
        const float *r = a->r ? a->r + k * a->r_block + h * a->r_row : 0;
        float *y = a->y + k * a->y_block + h * a->y_row;
        const vec bias = load(a->b + k * LANES);
        for (int64_t i = 0; i < cut.count; i++) {
            const int64_t at = start_of(&cut, i);
            (tiles ? tiles[pixels_of(&cut, i) - 1] : depthwise_pixel)(
                &t, x + at * a->x_pixel, w, bias, r ? r + at * LANES : 0, y + at * LANES);
        }
        if (a->activation > CLIP)
            for (int64_t i = 0; i < a->width; i++)
                store(y + i * LANES,
                      activated(a->activation, load(y + i * LANES), a->alpha, a->beta));
    }
}
