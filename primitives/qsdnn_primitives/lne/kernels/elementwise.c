/* Operators on each element alone, over blocked images and over rows of plain tensors. */

/* The first n lanes of memory, and no byte beyond them. */
INLINE vec load_some(const float *p, int64_t n)
{
    vec v = {0};
    for (int i = 0; i < LANES; i++)
        if (i < n) LANE(v, i) = p[i];
    return v;
}

INLINE void store_some(float *p, vec v, int64_t n)
{
    for (int i = 0; i < LANES; i++)
        if (i < n) p[i] = LANE(v, i);
}

static void unary(const struct unary *a, const struct worker *me)
{
    const int64_t lines = a->blocks * a->height;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t k = l / a->height, h = l % a->height;
        const float *x = a->x + k * a->x_block + h * a->x_row;
        float *y = a->y + k * a->y_block + h * a->y_row;
        for (int64_t w = 0; w < a->width; w++, x += LANES, y += LANES)
            store(y, activated(a->activation, load(x), a->alpha, a->beta));
        if (a->rest)
            store_some(y, activated(a->activation, load_some(x, a->rest), a->alpha, a->beta), a->rest);
    }
}

INLINE vec combined(int64_t operation, vec x, vec z)
{
    switch (operation) {
    case ADD: return x + z;
    case SUBTRACT: return x - z;
    case MULTIPLY: return x * z;
    case DIVIDE: return x / z;
    case LARGER: return choose((x > z) | (x != x), x, z);
    case SMALLER: return choose((x < z) | (x != x), x, z);
    case SLOPE: return choose(x < splat(0), x * z, x);
    case POWER: return power(x, z);
    default: return x;
    }
}

/* An operand is a vector at each place, or one number for all its lanes (`splat`). */
static void binary(const struct binary *a, const struct worker *me)
{
    const int64_t lines = a->blocks * a->height;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t k = l / a->height, h = l % a->height;
        const float *x = a->x + k * a->x_block + h * a->x_row;
        const float *z = a->z + k * a->z_block + h * a->z_row;
        float *y = a->y + k * a->y_block + h * a->y_row;
        for (int64_t w = 0; w < a->width; w++, x += a->x_column, z += a->z_column, y += LANES) {
            vec made = combined(a->operation, a->x_splat ? splat(*x) : load(x),
                                a->z_splat ? splat(*z) : load(z));
            store(y, activated(a->activation, made, a->alpha, a->beta));
        }
        if (a->rest) {
            vec made = combined(a->operation, a->x_splat ? splat(*x) : load_some(x, a->rest),
                                a->z_splat ? splat(*z) : load_some(z, a->rest));
            store_some(y, activated(a->activation, made, a->alpha, a->beta), a->rest);
        }
    }
}

/* x · scale + shift of each channel, over a blocked image. */
static void affine(const struct affine *a, const struct worker *me)
{
    const int64_t lines = a->blocks * a->height;
    for (int64_t l = first_of(me, lines); l < end_of(me, lines); l++) {
        const int64_t k = l / a->height, h = l % a->height;
        const float *x = a->x + k * a->x_block + h * a->x_row;
        float *y = a->y + k * a->y_block + h * a->y_row;
        const vec scale = load(a->scale + k * LANES), shift = load(a->shift + k * LANES);
        for (int64_t w = 0; w < a->width; w++)
            store(y + w * LANES,
                  activated(a->activation, load(x + w * LANES) * scale + shift, a->alpha, a->beta));
    }
}
