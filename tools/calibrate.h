/* cgpredict --calibrate: a model learns what a user has measured. */
#ifndef CG_TOOLS_CALIBRATE_H
#define CG_TOOLS_CALIBRATE_H

#include "runtime/model.h"

enum { CALIBRATE_LEAST = 5, CALIBRATE_MOST = 200 }; /* networks */

typedef struct calibration {
    const char *tool;   /* for messages */
    const char *labels; /* CSV (plain or gzip): column accuracy, percent or all
                           of them fractions; column file: MODEL.onnx, GRAPH.cg
                           (also looked for beside the table) or FAMILY:CODE;
                           or else columns family and code */
    const char *output; /* where the model is saved; NULL: nowhere */
    int jobs;           /* 0: as many as there are processors */
    size_t left_out;    /* rows that were named on stderr and left out */
} calibration;          /* the last one zero to start */

/* Tunes the model to the networks of the table, the first CALIBRATE_MOST in an
 * order of chance where there are more, and saves it. `others` have no labels
 * (none: n is 0): they tell what the family is like. CG_EFORMAT: fewer than
 * CALIBRATE_LEAST networks are left. */
cg_err calibrate(calibration *c, cg_model *m, const cg_examples *others);

#endif
