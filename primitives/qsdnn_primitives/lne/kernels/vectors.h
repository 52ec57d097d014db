/* Vectors, as gcc and clang extend C. */

#define INLINE static inline __attribute__((always_inline))
/* No load moves across: what is loaded early takes registers, and sums then go to memory. */
#define ORDERED __asm__ volatile("" ::: "memory")
/* What the compiler does not see through: it keeps the value, and does not make it anew. */
#define OPAQUE(p) __asm__("" : "+r"(p))
/* Brings a line of memory nearer that will be read soon. */
#define FETCH(p) __builtin_prefetch(p)
#define INFINITE __builtin_inff()
#define NO_NUMBER __builtin_nanf("")

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), may_alias, aligned(4)));

INLINE vec load(const float *p) { return *(const loose *)p; }
INLINE void store(float *p, vec v) { *(loose *)p = v; }

/* The first half of a vector, a vector of it and zeros, and h += s · w. The compiler would move sums
   from register to register between a half and a whole product of one number. */
typedef float half __attribute__((vector_size(2 * LANES)));
typedef float loose_half __attribute__((vector_size(2 * LANES), may_alias, aligned(4)));
INLINE half load_half(const float *p) { return *(const loose_half *)p; }
INLINE void store_half(float *p, half h) { *(loose_half *)p = h; }
INLINE vec widened(half h)
{
    vec v = {0};
    __builtin_memcpy(&v, &h, sizeof h);
    return v;
}
#define ADD_HALF(h, s, w) __asm__("vfmadd231ps %1%{1to8%}, %2, %0" : "+v"(h) : "m"(s), "v"(w))

INLINE vec splat(float s) { return (vec){0} + s; }

/* One number of a vector. */
#define LANE(v, i) (v)[i]

/* The bits of numbers and back; whole numbers of numbers and back. */
INLINE ints bits_of(vec v) { return (ints)v; }
INLINE vec of_bits(ints i) { return (vec)i; }
INLINE ints whole(vec v) { return __builtin_convertvector(v, ints); }
INLINE vec real(ints i) { return __builtin_convertvector(i, vec); }
/* The last bits of a whole number where a number has its exponent. */
INLINE ints to_exponent(ints i) { return i << 23; }

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
