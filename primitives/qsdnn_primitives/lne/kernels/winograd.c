/* Winograd's convolution F(m, r): tiles of m × m outputs by products in a transformed domain.

   A chunk of tiles at a time: transform inputs to n² planes (n = m + r − 1), one product of channels
   for each plane, transform back, with bias, sum and limits. Workers share the chunks; or, of few
   tiles and many outputs, the groups of outputs: each then transforms all inputs, which costs less
   than it would to read all weights. */

typedef void in_function(const float *restrict x, int64_t row, float *restrict v, int64_t plane);
typedef void out_function(const float *restrict m, int64_t plane, vec bias, const float *restrict r,
                          int64_t r_row, float *restrict y, int64_t y_row, int64_t height,
                          int64_t width, float low, float high);

#include "transforms.h"

static void winograd(const struct winograd *a, const struct worker *me)
{
    const struct transform *f = &TRANSFORMS[a->transform];
    const int64_t n = f->m + f->r - 1, tiles = a->tiles_high * a->tiles_wide;
    const struct cut of = cut_row(a->y_blocks, a->group);
    const int64_t by_groups = tiles < a->y_blocks * LANES && of.count % me->count == 0;
    /* As many chunks for one worker as for another. */
    const int64_t workers = by_groups ? 1 : me->count, chunk = a->chunk;
    const struct cut chunked = cut_into(tiles, even((tiles + chunk - 1) / chunk, workers, tiles));
    const int64_t c0 = by_groups ? 0 : first_of(me, chunked.count);
    const int64_t c1 = by_groups ? chunked.count : end_of(me, chunked.count);
    const int64_t g0 = by_groups ? first_of(me, of.count) : 0;
    const int64_t g1 = by_groups ? end_of(me, of.count) : of.count;
    const int64_t in_blocks = a->blocks + (a->rest > 0), channels = a->blocks * LANES + a->rest;
    /* An odd number of cache lines between planes: no two share a set. */
    const int64_t v_plane = (in_blocks * chunk * LANES + 15) / 16 * 16 + 16;
    const int64_t m_plane = (a->y_blocks * chunk * LANES + 15) / 16 * 16 + 16;
    float *const v = me->scratch, *const m = v + n * n * v_plane;
    struct tile t = {0, 0, 1, 1, chunk * LANES, 0, 0, LANES, chunk * LANES, LANES, chunk * LANES,
                     -INFINITE, INFINITE, LANES, 0, 0, 0};
    for (int64_t c = c0; c < c1; c++) {
        const int64_t first = start_of(&chunked, c), count = pixels_of(&chunked, c);
        for (int64_t k = 0; k < in_blocks; k++)
            for (int64_t i = 0; i < count; i++) {
                const int64_t th = (first + i) / a->tiles_wide, tw = (first + i) % a->tiles_wide;
                f->in[2 * (channels - k * LANES) <= LANES](
                      a->x + k * a->x_block + th * f->m * a->x_row + tw * f->m * LANES, a->x_row,
                      v + (k * chunk + i) * LANES, v_plane);
            }
        const struct cut cut = cut_row(count, a->pixels);
        for (int64_t k = 0; k < n * n; k++)
            for (int64_t g = g0; g < g1; g++) {
                const int64_t blocks = pixels_of(&of, g), block = start_of(&of, g);
                tile_function *const *products =
                    TILES[a->half && g == of.count - 1 ? HALF_UNIT : UNIT][blocks - 1];
                const float *w = a->w + (k * a->y_blocks + block) * LANES * channels;
                const float *const from = v + k * v_plane;
                float *const to = m + k * m_plane + block * chunk * LANES;
                const int64_t part = a->part ? a->part : most(a->blocks, 1);
                for (int64_t c = 0; c == 0 || c < a->blocks; c += part) {
                    const int64_t size =
                        take_part(&t, a->blocks, a->rest, c, part, w, blocks * LANES);
                    for (int64_t i = 0, some; i < cut.count; i += some) {
                        const int64_t at = start_of(&cut, i) * LANES;
                        some = alike(&cut, i);
                        products[pixels_of(&cut, i) - 1](&t, some, from + c * chunk * LANES + at, w,
                                                         ZEROS, c ? to + at : 0, to + at);
                    }
                    w += size;
                }
            }
        for (int64_t k = start_of(&of, g0); k < start_of(&of, g1); k++)
            for (int64_t i = 0; i < count; i++) {
                const int64_t th = (first + i) / a->tiles_wide * f->m;
                const int64_t tw = (first + i) % a->tiles_wide * f->m;
                float *y = a->y + k * a->y_block + th * a->y_row + tw * LANES;
                const int64_t high = least(f->m, a->height - th), wide = least(f->m, a->width - tw);
                f->out[a->half && k == a->y_blocks - 1](
                       m + (k * chunk + i) * LANES, m_plane, load(a->b + k * LANES),
                       a->r ? a->r + k * a->r_block + th * a->r_row + tw * LANES : 0, a->r_row, y,
                       a->y_row, high, wide, a->low, a->high);
                if (a->activation > CLIP)
                    for (int64_t h = 0; h < high; h++)
                        for (int64_t w = 0; w < wide; w++) {
                            float *at = y + h * a->y_row + w * LANES;
                            store(at, activated(a->activation, load(at), a->alpha, a->beta));
                        }
            }
    }
}
