/* Numbers of few bits: bytes, four in a word, and bfloat16, two in a word. A word holds channels that
   follow one another; their products with a word of weights are added to one sum. */

enum {WORDS_INT8 = LANES / 4, WORDS_BF16 = LANES / 2};

typedef int32_t loose_ints __attribute__((vector_size(4 * LANES), may_alias, aligned(4)));
typedef int32_t word __attribute__((may_alias));

INLINE ints load_ints(const float *p) { return *(const loose_ints *)p; }
INLINE ints repeated(const float *p) { return (ints){0} + *(const word *)p; }

/* What makes bytes of the processor's kind of unsigned ones. */
#if defined(__aarch64__)
enum {BYTE_SIGN = 0x80};
#else
enum {BYTE_SIGN = 0};
#endif

#if defined(__clang__)
#define ONE_BY_ONE _Pragma("clang loop unroll(disable)")
#else
#define ONE_BY_ONE
#endif

/* s += the sum of a word's products: of bytes, unsigned or as the processor multiplies them, with
   signed ones; or of bfloat16s. */
#if defined(__x86_64__)
#define FEW_BITS __attribute__((target("avx512vnni,avx512bf16")))
#define DOT_INT8(s, x, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(x), "v"(w))
#define DOT_BF16(s, x, w) __asm__("vdpbf16ps %2, %1, %0" : "+v"(s) : "v"(x), "v"(w))
#else
#if defined(__clang__)
#define FEW_BITS __attribute__((target("dotprod,bf16")))
#else
#define FEW_BITS __attribute__((target("arch=armv8.2-a+dotprod+bf16")))
#endif
#define DOT_INT8(s, x, w) __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(s) : "w"(x), "w"(w))
#define DOT_BF16(s, x, w) __asm__("bfdot %0.4s, %1.8h, %2.8h" : "+w"(s) : "w"(x), "w"(w))
#endif
