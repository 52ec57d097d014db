/* The interpreter: a program is a list of steps, each a kernel, its layer, its size and arguments.

   Threads are the caller's: each calls `lne_serve` and gets the same steps with another index. They
   spin for a while, then sleep. */

typedef void kernel(const void *, const struct worker *);

#include "table.h"

struct moment {
    long seconds, nanoseconds;
};
typedef int clock_function(int, struct moment *);

/* Memory of a program that all threads see; the caller makes it of zeros, aligned to 64 bytes. */
struct shared {
    const int64_t *words;
    int64_t count, threads, scratch_floats;
    float *scratch;
    volatile int64_t begun SLOT __attribute__((aligned(64)));
    volatile int64_t arrived __attribute__((aligned(64)));
    volatile int64_t phase __attribute__((aligned(64)));
    volatile int64_t leaving __attribute__((aligned(64)));
};

static void take_turn(struct shared *all, int64_t *phase)
{
    if (all->threads == 1) return;
    *phase += 1;
    if (__atomic_add_fetch(&all->arrived, 1, __ATOMIC_ACQ_REL) == all->threads) {
        all->arrived = 0;
        __atomic_store_n(&all->phase, *phase, __ATOMIC_RELEASE);
        return;
    }
    while (__atomic_load_n(&all->phase, __ATOMIC_ACQUIRE) < *phase) RELAX();
}

static void execute(struct shared *all, int64_t index, int64_t *phase)
{
    struct worker me = {index, all->threads, all->scratch + index * all->scratch_floats};
    const int64_t *word = all->words;
    for (int64_t i = 0; i < all->count; i++, word += word[2]) {
        KERNELS[word[0]](word + 3, &me);
        take_turn(all, phase);
    }
}

void lne_run(struct shared *all)
{
    int64_t phase = all->phase;
    if (all->threads > 1) __atomic_add_fetch(&all->begun, 1, __ATOMIC_RELEASE);
    execute(all, 0, &phase);
}

/* One inference by one thread; the time of each step in nanoseconds is added to `times`. */
void lne_profile(struct shared *all, clock_function *clock, int64_t *times)
{
    struct worker me = {0, 1, all->scratch};
    struct moment before, after;
    const int64_t *word = all->words;
    for (int64_t i = 0; i < all->count; i++, word += word[2]) {
        clock(1, &before);
        KERNELS[word[0]](word + 3, &me);
        clock(1, &after);
        times[i] += (after.seconds - before.seconds) * 1000000000 + after.nanoseconds - before.nanoseconds;
    }
}

/* A thread's part of all inferences, until `lne_leave`. */
void lne_serve(struct shared *all, int64_t index)
{
    int64_t begun = 0, phase = 0;
    for (;;) {
        int64_t spins = 0;
        while (__atomic_load_n(&all->begun, __ATOMIC_ACQUIRE) == begun) {
            if (all->leaving) return;
            RELAX();
            if (++spins > 1 << 30) spins = 0;
        }
        begun++;
        execute(all, index, &phase);
    }
}

void lne_leave(struct shared *all) { all->leaving = 1; }

/* The kernel of a step; where a layer has a choice, the algorithm comes first. */
const char *lne_name(const int64_t *step)
{
    if (step[0] == WINOGRAD) {
        const struct transform *f = &TRANSFORMS[((const struct winograd *)(step + 3))->transform];
        return f->m == 2 ? "winograd-2 F(2,3)" : f->m == 6 ? "winograd-6 F(6,3)"
               : f->r == 5 ? "winograd-4 F(4,5)" : "winograd-4 F(4,3)";
    }
    if (step[0] == CONVOLUTION) {
        const struct convolution *a = (const struct convolution *)(step + 3);
        return a->rows * a->columns == 1 ? "gemm tiles" : a->kind == PLANAR ? "direct planar" : "direct blocked";
    }
    return NAMES[step[0]];
}
