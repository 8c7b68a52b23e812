/* The operator table, expanded from ir/ops.def. */
#ifndef CG_IR_OP_H
#define CG_IR_OP_H

#include <stdint.h>

/* What an operator is; passes and features ask for this, not for names. */
typedef enum cg_class {
    CG_CLASS_IO,          /* Input, Output */
    CG_CLASS_COMPUTE,     /* multiply-adds with weights or between tensors */
    CG_CLASS_NORM,        /* normalisation over channels or features */
    CG_CLASS_ACTIVATION,  /* element-wise nonlinearity, one input */
    CG_CLASS_UNARY,       /* other element-wise maths of one input */
    CG_CLASS_ELEMENTWISE, /* element-wise with broadcasting, n inputs */
    CG_CLASS_POOL,        /* windowed or global pooling */
    CG_CLASS_REDUCE,      /* reductions, arg-reductions, scans, sorts */
    CG_CLASS_MOVE,        /* data movement without arithmetic */
    CG_CLASS_JOIN,        /* Concat */
    CG_CLASS_INDEX,       /* gather and scatter by data */
    CG_CLASS_SAMPLE,      /* resize, grid sample, region pooling */
    CG_CLASS_SHAPE,       /* results are shapes or constants */
    CG_CLASS_RECURRENT,   /* RNN cells over time */
    CG_CLASS_CONTROL,     /* If, Loop, Scan */
    CG_CLASS_SEQUENCE,    /* sequences, optionals, maps */
    CG_CLASS_RANDOM,      /* random generators */
    CG_CLASS_OTHER,       /* signal, text, trees, unknown domains */
} cg_class;

typedef enum cg_op {
#define CG_OP(id, name, min, max, shape, fold, flops, class) CG_OP_##id,
#include "ir/ops.def"
#undef CG_OP
    CG_OP_COUNT
} cg_op;

#define CG_VARIADIC 255

typedef struct cg_op_info {
    const char *name;
    uint8_t min_in, max_in; /* CG_VARIADIC: any number */
    uint8_t class;          /* cg_class */
} cg_op_info;

extern const cg_op_info cg_op_table[CG_OP_COUNT];

const char *cg_op_name(cg_op op);
int cg_op_find(const char *name); /* -1: no such operator */

#endif
