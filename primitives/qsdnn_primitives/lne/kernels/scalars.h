/* Vectors of one number, in plain C99, for processors without any. */

#include <math.h>

#define INLINE static inline
#define ORDERED (void)0
#define OPAQUE(p) (void)0
#define FETCH(p) (void)0
#define INFINITE INFINITY
#define NO_NUMBER NAN

typedef float vec;
typedef int32_t ints;

INLINE vec load(const float *p) { return *p; }
INLINE void store(float *p, vec v) { *p = v; }
INLINE vec splat(float s) { return s; }

#define LANE(v, i) (v)

union number {
    vec real;
    ints bits;
};

INLINE ints bits_of(vec v) { return (union number){v}.bits; }
INLINE vec of_bits(ints i) { return (union number){.bits = i}.real; }
INLINE ints whole(vec v) { return (ints)v; }
INLINE vec real(ints i) { return (vec)i; }
INLINE ints to_exponent(ints i) { return (ints)((uint32_t)i << 23); }

INLINE vec choose(ints condition, vec a, vec b) { return condition ? a : b; }
INLINE vec larger(vec a, vec b) { return a > b ? a : b; }
INLINE vec smaller(vec a, vec b) { return a < b ? a : b; }
INLINE vec root(vec a) { return sqrtf(a); }

/* From 2^23 on there are whole numbers only. */
INLINE vec below(vec a)
{
    if (!(a > -8388608.0f && a < 8388608.0f)) return a;
    const vec n = real(whole(a));
    return n > a ? n - 1.0f : n;
}

INLINE float sum_of(vec v) { return v; }
