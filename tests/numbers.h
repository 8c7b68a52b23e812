/* What tests of numbers share: near, good, bad. */
#ifndef CG_TESTS_NUMBERS_H
#define CG_TESTS_NUMBERS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

static inline void near(double have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance))
        fail_msg("%.17g, expected %.17g", have, want);
}

static inline void good(cg_err err)
{
    if (err != CG_OK)
        fail_msg("%s", cg_error());
}

/* The error, and a word of its sentence. */
static inline void bad(cg_err err, const char *word)
{
    assert_int_equal(err, CG_EFORMAT);
    if (!strstr(cg_error(), word))
        fail_msg("'%s' does not say '%s'", cg_error(), word);
}

#endif
