/* Convolutions and products as tiles: P pixels by B blocks of output channels in registers.

   The image lies in blocks of LANES channels, with a halo of zeros as wide as the window reaches, so
   no tile asks where the border is. A tile's weights lie in the order it reads them:
   [block of inputs][row of the window][column][input channel][B · LANES output channels]. */

struct tile {
    int64_t blocks, rest;            /* of input channels: whole blocks, and channels after them */
    int64_t rows, columns;           /* of the window */
    int64_t x_block, x_row, x_tap;   /* steps of the input: block, row and column of the window */
    int64_t x_pixel;                 /* between the inputs of two pixels of the output */
    int64_t y_block, y_pixel, r_block;
    float low, high;                 /* limits of the output: ReLU, ReLU6 */
    int64_t deep;                    /* floats or words of a pixel in one block */
    const float *scale;              /* of each output's sum of whole numbers */
    const float *ahead, *end;        /* weights to bring nearer meanwhile: those of the next part */
};

/* Some tiles of one size, side by side. */
typedef void tile_function(struct tile *, int64_t count, const float *restrict x,
                           const float *restrict w, const float *restrict b, const float *r,
                           float *y);

#include "tiles.h"

/* The units of a row, cut as evenly as tiles of at most `pixels` allow. */
struct cut {
    int64_t count, small, large; /* tiles; pixels of a small one; how many are one pixel larger */
};

INLINE struct cut cut_into(int64_t width, int64_t count)
{
    return (struct cut){count, width / count, width % count};
}

INLINE struct cut cut_row(int64_t width, int64_t pixels)
{
    return cut_into(width, (width + pixels - 1) / pixels);
}

/* Parts as many for one worker as for another: at least n, and at most `most_parts`. */
INLINE int64_t even(int64_t n, int64_t workers, int64_t most_parts)
{
    return least((n + workers - 1) / workers * workers, most_parts);
}
/* The largest share of n parts, in percent of an even one. */
INLINE int64_t share(int64_t n, int64_t workers)
{
    return (n + workers - 1) / workers * workers * 100 / n;
}

INLINE int64_t pixels_of(const struct cut *c, int64_t i) { return c->small + (i < c->large); }
/* The units of the size of unit i, from it on. */
INLINE int64_t alike(const struct cut *c, int64_t i)
{
    return i < c->large ? c->large - i : c->count - i;
}
INLINE int64_t start_of(const struct cut *c, int64_t i) { return i * c->small + least(i, c->large); }

static void activate_tile(const struct convolution *a, const struct tile *t, float *y,
                          int64_t pixels, int64_t blocks)
{
    for (int64_t o = 0; o < blocks; o++)
        for (int64_t p = 0; p < pixels; p++) {
            float *at = y + o * t->y_block + p * t->y_pixel;
            store(at, activated(a->activation, load(at), a->alpha, a->beta));
        }
}

/* Rows that end amid a vector: the last tiles of each write beside, and what belongs is copied. */
static void finish_rows(const struct convolution *a, const float *made, float *y, int64_t pixels,
                        int64_t blocks)
{
    for (int64_t p = 0; p < pixels; p++, made += blocks * LANES)
        for (int64_t i = 0; i < (blocks - 1) * LANES + a->tail; i++) y[p * a->y_pixel + i] = made[i];
}

static const float ZEROS[8 * LANES];
/* The floats that are still in the first cache when they are read again: half of it. */
enum {NEAR = 1 << 12};

/* Makes a tile sum over a part of the inputs: blocks from `first` on, and the rest behind the last.
   Returns the weights of the part, in floats; as many behind them come nearer meanwhile. */
INLINE int64_t take_part(struct tile *t, int64_t blocks, int64_t rest, int64_t first, int64_t part,
                         const float *w, int64_t outputs)
{
    const int64_t ends = first + part >= blocks;
    t->blocks = ends ? blocks - first : part;
    t->rest = ends ? rest : 0;
    const int64_t size = (t->blocks * t->deep + t->rest) * t->rows * t->columns * outputs;
    t->ahead = w + size;
    t->end = t->ahead + size;
    return size;
}

static void convolve(const struct convolution *a, const struct worker *me)
{
    struct tile t = {a->blocks, a->rest, a->rows, a->columns, a->x_block, a->tap_row, a->tap_column,
                     a->x_pixel, a->y_block, a->y_pixel, a->r_block, a->low, a->high, LANES, 0, 0, 0};
    if (a->kind >= INT8) t.deep = a->kind == INT8 ? LANES / 4 : LANES / 2;
    const int64_t taps = (a->blocks * t.deep + a->rest) * a->rows * a->columns;
    const struct cut of = cut_row(a->y_blocks, a->group);
    const int64_t groups = of.count;
    struct cut cut = cut_row(a->width, a->pixels);
    /* Threads share the pixels, or the channels: more weights than pixels are read once so. */
    const int64_t by_groups = groups >= me->count
        && (a->height * cut.count < 2 * me->count
            || (a->y_blocks * LANES * a->rows * a->columns > a->height * a->width
                && share(groups, me->count) <= share(a->height * cut.count, me->count)));
    if (a->height == 1 && !by_groups) cut = cut_into(a->width, even(cut.count, me->count, a->width));
    const int64_t units = a->height * cut.count;
    const int64_t u0 = by_groups ? 0 : first_of(me, units), u1 = by_groups ? units : end_of(me, units);
    const int64_t g0 = by_groups ? first_of(me, groups) : 0, g1 = by_groups ? end_of(me, groups) : groups;
    const int64_t activates = a->activation > CLIP;
    /* Outer: groups (weights stay in cache) or pixels (the input does); bands of both between. */
    const int64_t band = a->band > 0 ? a->band : most(u1 - u0, 1);
    for (int64_t v = u0; v < u1; v += band)
        for (int64_t g = g0; g < g1; g++) {
            const int64_t blocks = pixels_of(&of, g), block = start_of(&of, g);
            tile_function *const *tiles =
                TILES[a->kind + (a->half && g == groups - 1 ? HALF_UNIT : 0)][blocks - 1];
            const float *w = a->w + block * LANES * taps, *b = a->b ? a->b + block * LANES : 0;
            float *out = a->y + block * a->y_block;
            t.scale = a->scale ? a->scale + block * LANES : 0;
            const float *add = a->r ? a->r + block * a->r_block : 0;
            const int64_t aside = a->tail && g == groups - 1;
            t.y_block = aside ? LANES : a->y_block;
            t.y_pixel = aside ? blocks * LANES : a->y_pixel;
            /* Parts of the inputs whose weights stay in the first cache; the output holds the sums. */
            const int64_t part = aside || !a->part ? most(a->blocks, 1) : a->part;
            for (int64_t c = 0; c == 0 || c < a->blocks; c += part) {
                const int64_t ends = c + part >= a->blocks;
                const int64_t size = take_part(&t, a->blocks, a->rest, c, part, w, blocks * LANES);
                const float *x = a->x + c * a->x_block;
                t.low = ends ? a->low : -INFINITE;
                t.high = ends ? a->high : INFINITE;
                t.r_block = c ? a->y_block : a->r_block;
                int64_t h = v / cut.count, i = v % cut.count;
                const int64_t end = least(v + band, u1);
                for (int64_t u = v, n; u < end; u += n) {
                    const int64_t pixels = pixels_of(&cut, i), at = start_of(&cut, i);
                    n = aside ? 1 : least(alike(&cut, i), end - u);
                    if (activates && ends) n = least(n, most(NEAR / (pixels * blocks * LANES), 1));
                    float *y = out + h * a->y_row + at * a->y_pixel;
                    const float *r = c ? y : add ? add + h * a->r_row + at * a->y_pixel : 0;
                    tiles[pixels - 1](&t, n, x + h * a->x_row + at * a->x_pixel, w,
                                      c ? ZEROS : b, r, aside ? me->scratch : y);
                    if (activates && ends)
                        activate_tile(a, &t, aside ? me->scratch : y, n * pixels, blocks);
                    if (aside) finish_rows(a, me->scratch, y, pixels, blocks);
                    i += n;
                    if (i == cut.count) i = 0, h++;
                }
                w += size;
            }
        }
}
