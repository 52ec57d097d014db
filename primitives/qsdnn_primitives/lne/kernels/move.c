/* Operators that move elements and compute nothing. */

/* A plain image (channels, height, width) into blocks. */
static void pack(const struct pack *a, const struct worker *me)
{
    const int64_t lines = a->blocks * a->height;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t k = l / a->height, h = l % a->height, lanes = least(LANES, a->channels - k * LANES);
        const float *x = a->x + k * LANES * a->x_channel + h * a->x_row;
        float *y = a->y + k * a->y_block + h * a->y_row;
        for (int64_t w = 0; w < a->width; w++) {
            vec v = {0};
            if (lanes == LANES)
                for (int c = 0; c < LANES; c++) LANE(v, c) = x[c * a->x_channel + w];
            else
                for (int c = 0; c < lanes; c++) LANE(v, c) = x[c * a->x_channel + w];
            store(y + w * LANES, v);
        }
    }
}

/* Blocks into a plain image. */
static void unpack(const struct unpack *a, const struct worker *me)
{
    const int64_t lines = a->blocks * a->height;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t k = l / a->height, h = l % a->height, lanes = least(LANES, a->channels - k * LANES);
        const float *x = a->x + k * a->x_block + h * a->x_row;
        float *y = a->y + k * LANES * a->y_channel + h * a->y_row;
        if (lanes == LANES && a->y_channel != 1)
            for (int64_t w = 0; w < a->width; w++) {
                const vec v = load(x + w * LANES);
                for (int c = 0; c < LANES; c++) y[c * a->y_channel + w] = LANE(v, c);
            }
        else
            for (int64_t w = 0; w < a->width; w++)
                for (int64_t c = 0; c < lanes; c++) y[c * a->y_channel + w] = x[w * LANES + c];
    }
}

#include "interleaving.h"

/* A plain image (channels, height, width) with the channels of each pixel side by side. */
static void interleave(const struct interleave *a, const struct worker *me)
{
    for (int64_t h = first_of(me, a->height); h < end_of(me, a->height); h++) {
        const float *row = a->x + h * a->x_row;
        float *to = a->y + h * a->y_row;
        const int64_t done =
            a->channels == 3 ? interleave_vectors(row, a->x_channel, to, a->width) : 0;
        for (int64_t c = 0; c < a->channels; c++) {
            const float *x = row + c * a->x_channel;
            float *y = to + done * a->channels + c;
            for (int64_t w = done; w < a->width; w++, y += a->channels) *y = x[w];
        }
    }
}

/* Rows of an image, blocked or plain, to another place. */
static void copy(const struct copy *a, const struct worker *me)
{
    const int64_t lines = a->blocks * a->height;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t k = l / a->height, h = l % a->height;
        const float *x = a->x + k * a->x_block + h * a->x_row;
        float *y = a->y + k * a->y_block + h * a->y_row;
        int64_t i = 0;
        for (; i + LANES <= a->width; i += LANES) store(y + i, load(x + i));
        for (; i < a->width; i++) y[i] = x[i];
    }
}

/* Channels of a blocked image in any order; pixels of the output may lie apart. */
static void pick(const struct pick *a, const struct worker *me)
{
    const int64_t lines = a->blocks * a->height;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t k = l / a->height, h = l % a->height;
        const float *x = a->x + h * a->x_row;
        float *y = a->y + k * a->y_block + h * a->y_row;
        int64_t from[LANES];
        for (int c = 0; c < LANES; c++) {
            const int64_t channel = (int64_t)a->channels[k * LANES + c];
            from[c] = channel / LANES * a->x_block + channel % LANES;
        }
        for (int64_t w = 0; w < a->width; w++) {
            vec v = splat(0);
            for (int c = 0; c < LANES; c++) LANE(v, c) = x[from[c] + w * LANES];
            store(y + w * a->y_pixel, v);
        }
    }
}

/* Slices of a plain tensor (outer, x_n, inner), in the order of a table. */
static void gather(const struct gather *a, const struct worker *me)
{
    const int64_t lines = a->outer * a->n;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const float *x = a->x + (l / a->n * a->x_n + (int64_t)a->places[l % a->n]) * a->inner;
        float *y = a->y + l * a->inner;
        int64_t i = 0;
        for (; i + LANES <= a->inner; i += LANES) store(y + i, load(x + i));
        for (; i < a->inner; i++) y[i] = x[i];
    }
}

/* Any rearrangement of a plain tensor of up to six dimensions, by the steps of each. */
static void move(const struct move *a, const struct worker *me)
{
    const int64_t lines = a->n0 * a->n1 * a->n2 * a->n3 * a->n4, end = end_of(me, lines);
    int64_t l = first_of(me, lines), i = l;
    int64_t i4 = i % a->n4, i3 = (i /= a->n4) % a->n3, i2 = (i /= a->n3) % a->n2;
    int64_t i1 = (i /= a->n2) % a->n1, i0 = i / a->n1;
    for (; l < end; l++) {
        const float *x = a->x + i0 * a->x0 + i1 * a->x1 + i2 * a->x2 + i3 * a->x3 + i4 * a->x4;
        float *y = a->y + i0 * a->y0 + i1 * a->y1 + i2 * a->y2 + i3 * a->y3 + i4 * a->y4;
        if (a->x5 == 1 && a->y5 == 1) {
            int64_t j = 0;
            for (; j + LANES <= a->n5; j += LANES) store(y + j, load(x + j));
            for (; j < a->n5; j++) y[j] = x[j];
        } else
            for (int64_t j = 0; j < a->n5; j++) y[j * a->y5] = x[j * a->x5];
        if (++i4 < a->n4) continue;
        i4 = 0;
        if (++i3 < a->n3) continue;
        i3 = 0;
        if (++i2 < a->n2) continue;
        i2 = 0;
        if (++i1 == a->n1) i1 = 0, i0++;
    }
}

/* A number, everywhere. */
static void fill(const struct fill *a, const struct worker *me)
{
    for (int64_t i = first_of(me, a->count); i < end_of(me, a->count); i++) a->y[i] = a->value;
}

/* A plain matrix (k, n) as the weights of tiles: groups of columns, each [k][blocks · LANES]. */
static void pack_columns(const struct pack_columns *a, const struct worker *me)
{
    const int64_t blocks = (a->n + LANES - 1) / LANES;
    const struct cut of = cut_row(blocks, a->group);
    for (int64_t g = first_of(me, of.count); g < end_of(me, of.count); g++) {
        const int64_t wide = pixels_of(&of, g) * LANES, at = start_of(&of, g) * LANES;
        float *y = a->y + at * a->k;
        const int64_t whole = a->x_column == 1 && at + wide <= a->n;
        for (int64_t i = 0; i < a->k; i++, y += wide) {
            const float *x = a->x + i * a->x_row + at * a->x_column;
            if (whole)
                for (int64_t j = 0; j < wide; j += LANES) store(y + j, load(x + j));
            else
                for (int64_t j = 0; j < wide; j++) y[j] = at + j < a->n ? x[j * a->x_column] : 0;
        }
    }
}
