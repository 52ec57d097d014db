/* Images whose pixels are weighted sums of a few rows and columns of another image.

   A table has for each row of the output, and another for each column, its taps: pairs of the place
   of a row in the input and its weight. One tap is a copy. */

static void resample(const struct resample *a, const struct worker *me)
{
    const int64_t lines = a->blocks * a->height;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t k = l / a->height, h = l % a->height;
        const float *x = a->x + k * a->x_block, *rows = a->rows + h * a->row_taps * 2;
        const float *line = x + (int64_t)rows[0] * a->x_row, *taps = a->columns;
        if (a->row_taps > 1) {
            for (int64_t w = 0; w < a->x_width; w++) {
                vec sum = splat(0);
                for (int64_t i = 0; i < a->row_taps; i++)
                    sum += load(x + (int64_t)rows[2 * i] * a->x_row + w * LANES) * rows[2 * i + 1];
                store(me->scratch + w * LANES, sum);
            }
            line = me->scratch;
        }
        float *y = a->y + k * a->y_block + h * a->y_row;
        for (int64_t w = 0; w < a->width; w++, taps += 2 * a->column_taps) {
            vec sum = load(line + (int64_t)taps[0] * LANES);
            if (a->column_taps > 1) {
                sum *= taps[1];
                for (int64_t i = 1; i < a->column_taps; i++)
                    sum += load(line + (int64_t)taps[2 * i] * LANES) * taps[2 * i + 1];
            }
            store(y + w * LANES, activated(a->activation, sum, a->alpha, a->beta));
        }
    }
}
