/* Operators on rows of a plain tensor (outer, n, inner): softmax, norms, reductions. */

static float reduced_row(int64_t operation, const float *x, int64_t n)
{
    vec v = operation == LARGER ? splat(-INFINITE) : operation == SMALLER ? splat(INFINITE) : splat(0);
    vec u = v;
    int64_t i = 0;
    if (operation == ADD) {
        for (; i + 2 * LANES <= n; i += 2 * LANES) v += load(x + i), u += load(x + i + LANES);
        float s = sum_of(v + u);
        for (; i < n; i++) s += x[i];
        return s;
    }
    float s = LANE(v, 0);
    for (; i + LANES <= n; i += LANES) v = operation == LARGER ? larger(v, load(x + i)) : smaller(v, load(x + i));
    for (int l = 0; l < LANES; l++) s = (operation == LARGER) == (LANE(v, l) > s) ? LANE(v, l) : s;
    for (; i < n; i++) s = (operation == LARGER) == (x[i] > s) ? x[i] : s;
    return s;
}

static void reduce(const struct reduce *a, const struct worker *me)
{
    for (int64_t o = first_of(me, a->outer); o < end_of(me, a->outer); o++) {
        const float *x = a->x + o * a->n * a->inner;
        float *y = a->y + o * a->inner;
        if (a->inner == 1) {
            *y = reduced_row(a->operation, x, a->n) * a->factor;
            continue;
        }
        for (int64_t j = 0; j < a->inner; j += LANES) {
            const int64_t lanes = least(LANES, a->inner - j);
            vec v = load_some(x + j, lanes);
            for (int64_t i = 1; i < a->n; i++) {
                const float *at = x + i * a->inner + j;
                const vec next = lanes == LANES ? load(at) : load_some(at, lanes);
                v = a->operation == ADD ? v + next : combined(a->operation, v, next);
            }
            store_some(y + j, v * a->factor, lanes);
        }
    }
}

static void softmax_row(const float *x, float *y, int64_t n, int64_t logarithmic)
{
    const float top = reduced_row(LARGER, x, n);
    vec sums = splat(0);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const vec e = exponential(load(x + i) - top);
        sums += e;
        store(y + i, logarithmic ? load(x + i) - top : e);
    }
    float sum = sum_of(sums);
    if (i < n) {
        const vec shifted = load_some(x + i, n - i) - top, e = exponential(shifted);
        store_some(y + i, logarithmic ? shifted : e, n - i);
        for (int l = 0; l < LANES; l++) sum += l < n - i ? LANE(e, l) : 0;
    }
    const float by = logarithmic ? LANE(logarithm(splat(sum)), 0) : 1.0f / sum;
    for (i = 0; i < n; i++) y[i] = logarithmic ? y[i] - by : y[i] * by;
}

static void softmax(const struct softmax *a, const struct worker *me)
{
    for (int64_t o = first_of(me, a->outer); o < end_of(me, a->outer); o++) {
        const float *x = a->x + o * a->n * a->inner;
        float *y = a->y + o * a->n * a->inner;
        if (a->inner == 1) {
            softmax_row(x, y, a->n, a->logarithmic);
            continue;
        }
        for (int64_t j = 0; j < a->inner; j += LANES) {
            const int64_t lanes = least(LANES, a->inner - j);
            vec top = load_some(x + j, lanes), sum = splat(0);
            for (int64_t i = 1; i < a->n; i++) top = larger(top, load_some(x + i * a->inner + j, lanes));
            for (int64_t i = 0; i < a->n; i++) {
                const vec shifted = load_some(x + i * a->inner + j, lanes) - top, e = exponential(shifted);
                sum += e;
                store_some(y + i * a->inner + j, a->logarithmic ? shifted : e, lanes);
            }
            const vec by = a->logarithmic ? logarithm(sum) : 1.0f / sum;
            for (int64_t i = 0; i < a->n; i++) {
                float *at = y + i * a->inner + j;
                const vec v = load_some(at, lanes);
                store_some(at, a->logarithmic ? v - by : v * by, lanes);
            }
        }
    }
}

/* (x − mean) / √(variance + ε) of each row; then scale and shift, which change every `run` elements. */
static void standardize(const struct standardize *a, const struct worker *me)
{
    for (int64_t o = first_of(me, a->outer); o < end_of(me, a->outer); o++) {
        const float *x = a->x + o * a->n;
        float *y = a->y + o * a->n;
        const float mean = reduced_row(ADD, x, a->n) / (float)a->n;
        vec squares = splat(0);
        int64_t i = 0;
        for (; i + LANES <= a->n; i += LANES) {
            const vec d = load(x + i) - mean;
            squares += d * d;
        }
        float sum = sum_of(squares);
        for (; i < a->n; i++) sum += (x[i] - mean) * (x[i] - mean);
        const float by = 1.0f / LANE(root(splat(sum / (float)a->n + a->epsilon)), 0);
        const float *scale = a->scale + o * a->step, *shift = a->shift + o * a->step;
        if (a->run == 1) {
            for (i = 0; i + LANES <= a->n; i += LANES)
                store(y + i, (load(x + i) - mean) * by * load(scale + i) + load(shift + i));
            for (; i < a->n; i++) y[i] = (x[i] - mean) * by * scale[i] + shift[i];
        } else
            for (i = 0; i < a->n; i++)
                y[i] = (x[i] - mean) * by * scale[i / a->run] + shift[i / a->run];
    }
}

/* Local response normalization across the channels of a blocked image. */
static void lrn(const struct lrn *a, const struct worker *me)
{
    const int64_t before = (a->size - 1) / 2, places = a->blocks * LANES;
    float *const squares = me->scratch;
    for (int64_t i = 0; i < places + a->size; i++) squares[i] = 0;
    for (int64_t h = first_of(me, a->height); h < end_of(me, a->height); h++)
        for (int64_t w = 0; w < a->width; w++) {
            const float *x = a->x + h * a->x_row + w * LANES;
            float *y = a->y + h * a->y_row + w * LANES;
            for (int64_t k = 0; k < a->blocks; k++) {
                const vec v = load(x + k * a->x_block);
                store(squares + before + k * LANES, v * v);
            }
            for (int64_t i = a->channels; i < places; i++) squares[before + i] = 0;
            for (int64_t k = 0; k < a->blocks; k++) {
                vec sum = splat(0);
                for (int64_t i = 0; i < a->size; i++) sum += load(squares + k * LANES + i);
                sum = a->bias + a->alpha / (float)a->size * sum;
                const vec s = root(sum);
                const vec by = a->beta == 0.75f ? 1.0f / (s * root(s))
                                                : exponential(-a->beta * logarithm(sum));
                store(y + k * a->y_block, load(x + k * a->x_block) * by);
            }
        }
}
