/* The interpreter: a program is a list of steps, each a kernel, its layer, its size and arguments.

   Threads are the caller's: each calls `lne_serve` and does its part of every step. They look for
   the next one a while, then sleep. */

typedef void kernel(const void *, const struct worker *);

#include "table.h"

struct moment {
    long seconds, nanoseconds;
};
typedef int clock_function(int, struct moment *);

/* Linux's own calls, where the caller has them: `syscall` of its C library. */
typedef long system_function(long, ...);
#if defined(__x86_64__)
enum { FUTEX = 202 };
#elif defined(__arm__)
enum { FUTEX = 240 };
#else
enum { FUTEX = 98 };
#endif
enum { WAIT = 128, WAKE = 129, SPINS = 4000, EVERYONE = 0x7fffffff };

/* A number that threads wait for to change; alone in its cache line. */
struct event {
    volatile int32_t value, sleepers;
    int32_t unused[14];
};

/* Memory of a program that all threads see; the caller makes it of zeros. */
struct shared {
    const int64_t *words SLOT;
    int64_t count, threads, scratch_floats;
    float *scratch SLOT;
    system_function *system SLOT;
    struct event begun, phase;
    volatile int64_t arrived, leaving;
};

static int32_t value_of(struct event *e) { return __atomic_load_n(&e->value, __ATOMIC_ACQUIRE); }

/* Waits until an event's number is no longer `seen`: some thousand looks, then asleep. */
static void await(struct shared *all, struct event *e, int32_t seen)
{
    for (int64_t i = 0; i < SPINS || !all->system; i++) {
        if (value_of(e) != seen) return;
        RELAX();
    }
    __atomic_add_fetch(&e->sleepers, 1, __ATOMIC_SEQ_CST);
    while (value_of(e) == seen) all->system(FUTEX, &e->value, WAIT, seen, 0, 0, 0);
    __atomic_sub_fetch(&e->sleepers, 1, __ATOMIC_SEQ_CST);
}

static void happen(struct shared *all, struct event *e)
{
    __atomic_add_fetch(&e->value, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&e->sleepers, __ATOMIC_SEQ_CST) && all->system)
        all->system(FUTEX, &e->value, WAKE, EVERYONE, 0, 0, 0);
}

/* Waits for all threads at the end of a step. */
static void meet(struct shared *all)
{
    if (all->threads == 1) return;
    const int32_t phase = value_of(&all->phase);
    if (__atomic_add_fetch(&all->arrived, 1, __ATOMIC_ACQ_REL) == all->threads) {
        all->arrived = 0;
        happen(all, &all->phase);
    } else
        await(all, &all->phase, phase);
}

static void execute(struct shared *all, int64_t index)
{
    struct worker me = {index, all->threads, all->scratch + index * all->scratch_floats};
    const int64_t *word = all->words;
    for (int64_t i = 0, n = all->count; i < n; i++, word += word[2]) {
        KERNELS[word[0]](word + 3, &me);
        meet(all);
    }
}

void lne_run(struct shared *all)
{
    if (all->threads > 1) happen(all, &all->begun);
    execute(all, 0);
}

/* A thread's part of all inferences, until `lne_leave`. */
void lne_serve(struct shared *all, int64_t index)
{
    for (int32_t begun = 0;; begun++) {
        await(all, &all->begun, begun);
        if (all->leaving) return;
        execute(all, index);
    }
}

void lne_leave(struct shared *all)
{
    all->leaving = 1;
    happen(all, &all->begun);
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

/* The kernel of a step. Of several words the first is the algorithm, where layers have a choice. */
const char *lne_name(const int64_t *step)
{
    if (step[0] == WINOGRAD) {
        const struct transform *f = &TRANSFORMS[((const struct winograd *)(step + 3))->transform];
        return f->m == 2 ? "winograd-2 F(2,3)" : f->m == 6 ? "winograd-6 F(6,3)"
               : f->r == 5 ? "winograd-4 F(4,5)" : "winograd-4 F(4,3)";
    }
    if (step[0] == CONVOLUTION) {
        const struct convolution *a = (const struct convolution *)(step + 3);
        const int one = a->rows * a->columns == 1;
        if (a->kind == INT8) return one ? "gemm int8 tiles" : "direct int8 tiles";
        if (a->kind == BF16) return one ? "gemm bf16 tiles" : "direct bf16 tiles";
        /* The channels of a pixel side by side: a row of the window may be one run of them. */
        const int beside = a->tap_column > 0 && a->tap_column < LANES;
        const int run = beside && a->blocks * LANES + a->rest > a->tap_column;
        return one && !run ? "gemm tiles" : beside ? "direct rows" : "direct tiles";
    }
    return NAMES[step[0]];
}
