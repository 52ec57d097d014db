/* Plain loops, one output at a time and in ONNX's order of weights: the baseline. Nothing here is a
   vector, a tile or unrolled, and compilers that would make it so are told not to. */

/* Compilers make no vectors of a loop with this in it. */
#if defined(__GNUC__)
#define ONE_BY_ONE() __asm__ volatile("")
#else
#define ONE_BY_ONE() ((void)0)
#endif

/* Where a channel of a pixel lies in blocks. */
static int64_t place_of(int64_t channel, int64_t block)
{
    return channel / LANES * block + channel % LANES;
}

static float activated_one(int64_t kind, float x, float a, float b)
{
    return LANE(activated(kind, splat(x), a, b), 0);
}

/* Convolutions of any window and groups; products are those of a window of one. */
static void vanilla(const struct vanilla *a, const struct worker *me)
{
    const int64_t lines = a->outputs * a->height, size = a->inputs * a->rows * a->columns;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t o = l / a->height, h = l % a->height;
        const int64_t first = o / (a->outputs / a->groups) * a->inputs;
        for (int64_t v = 0; v < a->width; v++) {
            const float *x = a->x + h * a->x_row + v * a->x_pixel, *w = a->w + o * size;
            float sum = a->b[o];
            for (int64_t c = first; c < first + a->inputs; c++) {
                const float *at = x + place_of(c, a->x_block);
                for (int64_t i = 0; i < a->rows; i++)
                    for (int64_t j = 0; j < a->columns; j++) {
                        sum += at[i * a->tap_row + j * a->tap_column] * *w++;
                        ONE_BY_ONE();
                    }
            }
            if (a->r) sum += a->r[place_of(o, a->r_block) + h * a->r_row + v * a->y_pixel];
            a->y[place_of(o, a->y_block) + h * a->y_row + v * a->y_pixel] =
                activated_one(a->activation, sum, a->alpha, a->beta);
        }
    }
}

/* Pools, those of a whole image among them: see pool.c. */
static void vanilla_pool(const struct vanilla_pool *a, const struct worker *me)
{
    const int64_t lines = a->channels * a->height;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t c = l / a->height, h = l % a->height;
        const int64_t top = h * a->stride_high - a->pad_high;
        const float *x = a->x + place_of(c, a->x_block);
        for (int64_t v = 0; v < a->width; v++) {
            const int64_t left = v * a->stride_wide - a->pad_wide;
            float sum = 0, largest = -INFINITE;
            int64_t count = 0;
            for (int64_t i = 0; i < a->rows; i++)
                for (int64_t j = 0; j < a->columns; j++) {
                    const int64_t row = top + i * a->dilation_high, column = left + j * a->dilation_wide;
                    if (row >= 0 && row < a->x_height && column >= 0 && column < a->x_width) {
                        const float value = x[row * a->x_row + column * LANES];
                        sum += value, count++;
                        largest = value > largest ? value : largest;
                    } else
                        count += a->padding_counts && row < a->x_height + a->pad_end_high &&
                                 column < a->x_width + a->pad_end_wide;
                    ONE_BY_ONE();
                }
            a->y[place_of(c, a->y_block) + h * a->y_row + v * LANES] = activated_one(
                a->activation, a->mean ? sum / (float)count : largest, a->alpha, a->beta);
        }
    }
}
