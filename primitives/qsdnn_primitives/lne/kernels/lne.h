/* What all kernels share: vectors, the slots of arguments, the division of work between threads. */

#include <stdint.h>

#include "vectors.h"

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
