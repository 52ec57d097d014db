/* What all kernels share: vectors, the slots of arguments, the division of work between threads. */

#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), may_alias, aligned(4)));

INLINE vec load(const float *p) { return *(const loose *)p; }
INLINE void store(float *p, vec v) { *(loose *)p = v; }
INLINE vec splat(float s) { return (vec){0} + s; }

/* Where a lane of `mask` has all bits set, the lane of a; else that of b. */
INLINE vec choose(ints mask, vec a, vec b) { return (vec)((mask & (ints)a) | (~mask & (ints)b)); }

#if defined(__clang__)
INLINE vec larger(vec a, vec b) { return __builtin_elementwise_max(a, b); }
INLINE vec smaller(vec a, vec b) { return __builtin_elementwise_min(a, b); }
INLINE vec root(vec a) { return __builtin_elementwise_sqrt(a); }
INLINE vec below(vec a) { return __builtin_elementwise_floor(a); }
#else
INLINE vec larger(vec a, vec b) { return choose(a > b, a, b); }
INLINE vec smaller(vec a, vec b) { return choose(a < b, a, b); }
INLINE vec root(vec a)
{
    for (int i = 0; i < LANES; i++) a[i] = __builtin_sqrtf(a[i]);
    return a;
}
INLINE vec below(vec a)
{
    for (int i = 0; i < LANES; i++) a[i] = __builtin_floorf(a[i]);
    return a;
}
#endif

INLINE float sum_of(vec v)
{
    float s = 0;
    for (int i = 0; i < LANES; i++) s += v[i];
    return s;
}

INLINE float largest_of(vec v)
{
    float s = v[0];
    for (int i = 1; i < LANES; i++) s = v[i] > s ? v[i] : s;
    return s;
}

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* One of several threads, with scratch memory of its own. */
struct worker {
    int64_t index, count;
    float *scratch;
};

/* The items [first, end) of n that belong to a worker. */
INLINE int64_t first_of(const struct worker *me, int64_t n) { return n * me->index / me->count; }
INLINE int64_t end_of(const struct worker *me, int64_t n) { return n * (me->index + 1) / me->count; }

/* Arguments lie in slots of eight bytes, on every machine. */
#define SLOT __attribute__((aligned(8)))

/* A pause in a loop that waits for another thread. */
#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__) || defined(__arm__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() ((void)0)
#endif
