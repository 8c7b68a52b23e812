/* What the programs of the learner share on the command line. */
#ifndef CG_TOOLS_CLI_H
#define CG_TOOLS_CLI_H

#include "base/err.h"

/* A whole number of an option, between least and most. */
cg_err cg_cli_int(const char *text, const char *option, int least, int most,
                  int *out);

/* "cgtrain (gennape) 0.1.0\n", valid until the next call. */
const char *cg_cli_version(const char *program);

/* Whether a file could be written there: better to hear that it cannot be
 * before the work than after. Devices and "-" are not tried. What a program
 * that was killed has left there of such a file is removed. */
cg_err cg_cli_try_output(const char *path);

/* Prints the error, flushes standard output; the exit status: 0, 1, or 2 for
 * a wrong use. */
int cg_cli_end(const char *program, cg_err err);

#endif
