/* Errors that are the user's (file, model, flag): functions return cg_err and
 * leave one sentence per thread. Pass them up with CG_TRY; only main prints.
 *
 *     return cg_fail(CG_EFORMAT, "node '%s': group %d does not divide", ...);
 *     CG_TRY(cg_import_onnx(path, &opts, &g));
 *
 * Errors that are ours: assert. */
#ifndef CG_BASE_ERR_H
#define CG_BASE_ERR_H

typedef enum cg_err {
    CG_OK = 0,
    CG_EFORMAT,      /* not what the format allows */
    CG_EUNSUPPORTED, /* valid, but not something we can read */
    CG_ELIMIT,       /* over a limit that protects memory or time */
    CG_EIO,          /* the system said no */
    CG_EUSAGE,       /* a wrong call or command line */
} cg_err;

/* Sets this thread's sentence and returns `code`. Control characters and
 * invalid UTF-8 in the formatted text are shown escaped. */
cg_err cg_fail(cg_err code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts "prefix: " before this thread's sentence; returns `code`. */
cg_err cg_fail_in(cg_err code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

const char *cg_error(void); /* this thread's sentence; valid until next fail */

#define CG_TRY(call)                                                          \
    do {                                                                      \
        cg_err cg_try_ = (call);                                              \
        if (cg_try_ != CG_OK)                                                 \
            return cg_try_;                                                   \
    } while (0)

#endif
