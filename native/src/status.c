/* status.c - codes in words, and the version. */
#include "internal.h"

#ifndef TABA_VERSION
#define TABA_VERSION "0.0.0" /* a build outside the package, as the C tests make */
#endif

const char *taba_strerror(int code) {
    switch (code) {
    case TABA_OK: return "success";
    case TABA_ENOMEM: return "out of memory";
    case TABA_ECORRUPT: return "the bytes break the rules of their encoding";
    case TABA_ETYPE: return "the bytes are of another Type, or a Partial where a State is due, or the reverse";
    case TABA_EVERSION: return "the bytes are of a version that this build does not know";
    case TABA_EDOMAIN: return "an argument is not a finite number or out of its range";
    case TABA_ESYNTAX: return "the structure of a request's body is wrong";
    case TABA_ELIMIT: return "a limit given by the caller is reached";
    default: return "unknown error";
    }
}

const char *taba_version(void) { return TABA_VERSION; }
