/* From a token to the numbers a network reads: blocks of runtime/inputs.def
 * side by side. Sizes that are not known are 0. */
#ifndef CG_RUNTIME_INPUTS_H
#define CG_RUNTIME_INPUTS_H

#include "runtime/features.h"

#define CG_INPUT_KERNELS 12 /* sizes 1 .. 11, and all above */

typedef enum cg_input {
#define CG_INPUT(name, width, line) CG_INPUT_##name,
#include "runtime/inputs.def"
#undef CG_INPUT
    CG_INPUT_COUNT
} cg_input;

/* Which blocks, in the order of the table. */
typedef struct cg_inputs {
    bool has[CG_INPUT_COUNT];
    int width; /* of all of them */
} cg_inputs;

/* From a list "op,size,kernel", or several, "op,size|op,kernel", that are one;
 * an unknown name is an error that lists all. */
cg_err cg_inputs_parse(cg_inputs *in, const char *list);

/* Fills x (in->width), all of it: blocks that `only` lacks are 0. */
void cg_inputs_fill(const cg_inputs *in, const cg_inputs *only,
                    const cg_token *t, float *x);

/* What column k of the vector is: "op:Conv", "size:2"; at most `size` bytes. */
void cg_inputs_name(const cg_inputs *in, int k, char *name, size_t size);

#endif
