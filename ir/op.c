#include "ir/op.h"

#include <string.h>

const cg_op_info cg_op_table[CG_OP_COUNT] = {
#define CG_OP(id, name, min, max, shape, fold, flops, class)                  \
    [CG_OP_##id] = {name, min, max, CG_CLASS_##class},
#include "ir/ops.def"
#undef CG_OP
};

const char *cg_op_name(cg_op op) { return cg_op_table[op].name; }

int cg_op_find(const char *name)
{
    for (int i = 0; i < CG_OP_COUNT; i++)
        if (strcmp(cg_op_table[i].name, name) == 0)
            return i;
    return -1;
}
