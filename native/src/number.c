/* number.c - see number.h. */
#include "number.h"

#include <math.h>

#define LARGEST 9007199254740992.0 /* 2**53 */

/* x rounded to a whole number, half to even, for |x| <= 2**53: the addition of 2**52 leaves no bits for a fraction. */
static double round_half_even(double x) {
    const double shift = 4503599627370496.0; /* 2**52 */
    if (x >= shift || x <= -shift)
        return x;
    return x >= 0 ? (x + shift) - shift : (x - shift) + shift;
}

bool taba_number_is_whole(double value, int64_t *m) {
    if (!(value >= -LARGEST && value <= LARGEST))
        return false;
    *m = (int64_t)value;
    return (double)*m == value;
}

bool taba_number_is_thousandths(double value, int64_t *m) {
    double scaled = value * 1000.0;
    if (!(scaled >= -LARGEST && scaled <= LARGEST))
        return false;
    double whole = round_half_even(scaled);
    if (fabs(whole - scaled) > fabs(scaled) * 0x1p-50)
        return false; /* the division and the multiplication err by 2**-53 each at most; this spares the division */
    *m = (int64_t)whole;
    return whole / 1000.0 == value;
}

int taba_number_kind(double value, int64_t *m) {
    if (taba_number_is_whole(value, m))
        return TABA_KIND_WHOLE;
    return taba_number_is_thousandths(value, m) ? TABA_KIND_THOUSANDTHS : TABA_KIND_DOUBLE;
}

uint8_t *taba_store_number(uint8_t *at, double value, int kind, int64_t m) {
    return kind == TABA_KIND_DOUBLE ? taba_store_f64(at, value) : taba_store_svarint(at, m);
}
