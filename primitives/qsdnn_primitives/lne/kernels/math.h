/* Elementary functions on vectors, and the activations made of them. */

/* x within limits; what is no number stays so. */
INLINE vec held(vec x, float low, float high)
{
    const vec y = choose(splat(high) < x, splat(high), x);
    return choose(splat(low) > y, splat(low), y);
}

/* e^x to 2e-7 where it is a normal number, elsewhere the nearest such: range reduction by ln 2 in
   two parts, a polynomial fitted to the least relative error. Added to 3 · 2^22, a number is rounded
   to a whole one, which its last bits then hold. */
INLINE vec exponential_within(vec x)
{
    vec at = held(x, -87.33654f, 88.72283f);
    vec b = at * 1.44269504f + 12582912.0f;
    vec n = b - 12582912.0f;
    vec f = at - n * 0.693359375f - n * -2.12194440e-4f;
    vec p = splat(8.2902710012e-3f);
    p = p * f + 4.1898160173e-2f;
    p = p * f + 1.6667638145e-1f;
    p = p * f + 4.9999147835e-1f;
    p = p * f + 9.9999970631e-1f;
    p = p * f + 1.0f;
    return of_bits(bits_of(p) + to_exponent(bits_of(b)));
}

/* e^x, with zero and infinity at the ends. */
INLINE vec exponential(vec x)
{
    vec e = exponential_within(x);
    e = choose(x > splat(88.72284f), splat(INFINITE), e);
    return choose(x < splat(-103.9721f), splat(0), e);
}

/* ln x, to 1 ulp or so, for x > 0; −∞ at 0, NaN below. */
INLINE vec logarithm(vec x)
{
    ints bits = bits_of(larger(x, splat(1.17549435e-38f)));
    ints exponent = ((bits >> 23) & 255) - 126;
    vec m = of_bits((bits & 0x007fffff) | 0x3f000000);
    ints low = m < splat(0.707106781f);
    vec e = real(exponent) - choose(low, splat(1), splat(0));
    vec f = m + choose(low, m, splat(0)) - 1.0f;
    vec z = f * f;
    vec p = splat(7.0376836292e-2f);
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    p = p * f * z + e * -2.12194440e-4f - 0.5f * z;
    vec y = f + p + e * 0.693359375f;
    y = choose(x == splat(INFINITE), x, y);
    y = choose(x == splat(0), splat(-INFINITE), y);
    return choose((x < splat(0)) | (x != x), splat(NO_NUMBER), y);
}

/* x^z; of a negative x where z is whole. */
INLINE vec power(vec x, vec z)
{
    const vec y = exponential(z * logarithm(of_bits(bits_of(x) & 0x7fffffff)));
    const ints even = below(z * 0.5f) == z * 0.5f;
    const vec negative = choose(below(z) == z, choose(even, y, -y), splat(NO_NUMBER));
    return choose(z == splat(0), splat(1), choose(x < splat(0), negative, y));
}

INLINE vec logistic(vec x) { return 1.0f / (1.0f + exponential_within(-x)); }
INLINE vec magnitude(vec x) { return of_bits(bits_of(x) & 0x7fffffff); }
INLINE vec with_sign(vec x, vec of)
{
    return of_bits((bits_of(x) & 0x7fffffff) | (bits_of(of) & (int32_t)0x80000000));
}

INLINE vec tangent(vec x)
{
    vec a = magnitude(x);
    vec big = 1.0f - 2.0f / (exponential_within(2.0f * a) + 1.0f);
    vec z = x * x;
    vec p = splat(-5.70498872745e-3f);
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    return choose(a < 0.625f, p * z * x + x, with_sign(big, x));
}

/* The error function, to 5e-7: a quotient of polynomials in x², fitted to the least relative error
   up to 4, beyond which it is 1. */
INLINE vec error_function(vec x)
{
    vec at = held(x, -4.0f, 4.0f);
    vec z = at * at;
    vec p = splat(1.986834628e-6f);
    p = p * z + 2.845613174e-4f;
    p = p * z + 3.883102511e-3f;
    p = p * z + 5.310098985e-2f;
    p = p * z + 1.935393064e-1f;
    p = p * z + 1.128379139f;
    vec q = splat(3.742048440e-5f);
    q = q * z + 1.185514493e-3f;
    q = q * z + 1.520676193e-2f;
    q = q * z + 1.153476263e-1f;
    q = q * z + 5.048523012e-1f;
    q = q * z + 1.0f;
    return held(at * p / q, -1.0f, 1.0f);
}

/* An activation of one vector; a and b are its parameters. */
INLINE vec activated(int64_t kind, vec x, float a, float b)
{
    switch (kind) {
    case CLIP: return smaller(larger(x, splat(a)), splat(b));
    case LEAKY: return choose(x < splat(0), x * a, x);
    case SIGMOID: return logistic(x);
    case TANH: return tangent(x);
    case SILU: return x / (1.0f + exponential_within(-x));
    case HARD_SIGMOID: return smaller(larger(x * a + b, splat(0)), splat(1));
    case HARD_SWISH: return x * smaller(larger(x * (1.0f / 6.0f) + 0.5f, splat(0)), splat(1));
    case ELU: return choose(x < splat(0), a * (exponential_within(x) - 1.0f), x);
    case SELU: return b * choose(x < splat(0), a * (exponential_within(x) - 1.0f), x);
    case GELU: return 0.5f * x * (1.0f + error_function(x * 0.70710678f));
    case GELU_TANH: return 0.5f * x * (1.0f + tangent(0.79788456f * (x + 0.044715f * x * x * x)));
    case MISH: {
        vec e = exponential_within(smaller(x, splat(20.0f))), n = e * (e + 2.0f);
        return x * choose(x > 20.0f, splat(1), n / (n + 2.0f));
    }
    case SOFTPLUS: return larger(x, splat(0)) + logarithm(1.0f + exponential_within(-magnitude(x)));
    case SOFTSIGN: return x / (1.0f + magnitude(x));
    case ABS: return magnitude(x);
    case NEG: return -x;
    case SQRT: return root(x);
    case EXP: return exponential(x);
    case LOG: return logarithm(x);
    case RECIPROCAL: return 1.0f / x;
    case ERF: return error_function(x);
    case FLOOR: return below(x);
    case CEIL: return -below(-x);
    case SCALE: return x * a + b;
    case SQUARE: return x * x;
    case RAISED: return power(x, splat(a));
    default: return x;
    }
}
