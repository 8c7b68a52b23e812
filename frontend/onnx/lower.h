/* What converters are written with (private to frontend/onnx).
 *
 * A converter turns one ONNX node, with inputs and attributes as its opset has
 * them, into operators of ir/ops.def with the newest meaning. It edits n->in
 * and n->attr and ends with cg_onnx_emit, or builds several nodes with
 * cg_onnx_step and cg_onnx_finish. */
#ifndef CG_FRONTEND_ONNX_LOWER_H
#define CG_FRONTEND_ONNX_LOWER_H

#include "frontend/onnx/import.h"

typedef struct cg_onnx_row {
    const char *key; /* "domain:Type" */
    cg_op op;
    uint8_t min_in, max_in; /* over all opsets; CG_VARIADIC: any */
    cg_err (*convert)(cg_onnx_node *n, const struct cg_onnx_row *row);
} cg_onnx_row;

typedef cg_err cg_onnx_convert(cg_onnx_node *n, const cg_onnx_row *row);

/* NULL: the operator is not in onnx.def. */
const cg_onnx_row *cg_onnx_find_row(cg_importer *imp, const char *key);

/* -- reading ------------------------------------------------------------- */

cg_value *cg_onnx_in(const cg_onnx_node *n, size_t k); /* NULL: left out */
const cg_onnx_attr *cg_onnx_find(const cg_onnx_node *n, const char *name);
int64_t cg_onnx_int(const cg_onnx_node *n, const char *name, int64_t other);
double cg_onnx_float(const cg_onnx_node *n, const char *name, double other);
/* Borrowed from the import's memory. */
const char *cg_onnx_string(const cg_onnx_node *n, const char *name,
                           const char *other);

/* -- editing ------------------------------------------------------------- */

void cg_onnx_drop(cg_onnx_node *n, const char *attr);
void cg_onnx_drop_all(cg_onnx_node *n);
/* k < p->n_input + CG_ONNX_ROOM */
void cg_onnx_set_in(cg_onnx_node *n, size_t k, cg_value *v);
/* Keeps the inputs `from` names, in that order, and ends the list there. */
void cg_onnx_pick(cg_onnx_node *n, const size_t *from, size_t len);
/* An INTS, INT or FLOATS attribute becomes input k, unless that is there. */
void cg_onnx_attr_to_input(cg_onnx_node *n, const char *attr, size_t k);

cg_value *cg_onnx_ints(cg_onnx_node *n, const int64_t *v, size_t len);
cg_value *cg_onnx_int_scalar(cg_onnx_node *n, int64_t v);
cg_value *cg_onnx_floats(cg_onnx_node *n, const double *v, size_t len);
cg_value *cg_onnx_float_scalar(cg_onnx_node *n, double v);

/* -- building ------------------------------------------------------------ */

/* One node with n's inputs, attributes and outputs. `made` may be NULL. */
cg_err cg_onnx_emit(cg_onnx_node *n, cg_op op, cg_node **made);
/* A node of the given inputs without attributes. step: its one output is new;
 * finish: its output is n's output k (new if that is left out). */
cg_node *cg_onnx_step(cg_onnx_node *n, cg_op op, size_t n_in, ...);
cg_node *cg_onnx_finish(cg_onnx_node *n, size_t k, cg_op op, size_t n_in, ...);
/* A step with n's attributes. */
cg_err cg_onnx_step_attrs(cg_onnx_node *n, cg_op op, cg_value *const *in,
                          size_t n_in, cg_node **made);
/* n's output k is v, a value that is there already. */
void cg_onnx_alias(cg_onnx_node *n, size_t k, cg_value *v);

/* The activation that storing an output with this scale and zero point (n's
 * inputs) stands for; CG_OP_IDENTITY: none. */
cg_op cg_onnx_implied(const cg_onnx_node *n, size_t scale, size_t zero);

cg_err cg_onnx_custom(cg_onnx_node *n, const char *why);

/* Converters, in lower.c, lower_old.c, lower_misc.c and lower_ms*.c. */
#define ONNX_OP(domain, type, op, convert, min, max)                          \
    cg_onnx_convert cg_onnx_to_##convert;
#include "frontend/onnx/onnx.def"
#undef ONNX_OP

#endif
