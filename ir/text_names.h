/* Words of the .cg text that its printer and its parser share (private to
 * ir/). */
#ifndef CG_IR_TEXT_NAMES_H
#define CG_IR_TEXT_NAMES_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define CG_ALNUM                                                              \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
#define CG_BARE_NAME CG_ALNUM "./-~" /* values without quotes */
#define CG_BARE_ATTR CG_ALNUM "."    /* attributes without quotes */

/* Kinds of types, by cg_kind: "seq(f32[2])"; tensors have no word. */
static const char *const cg_kind_names[] = {"", "sparse", "seq", "optional",
                                            "map"};

/* What stands among a node's attributes but is not one. An attribute of such
 * a name is printed in quotes. */
static inline bool cg_is_fact_name(const char *s)
{
    static const char *const facts[] = {"name", "source", "macs", "flops",
                                        "params"};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
        if (strcmp(s, facts[i]) == 0)
            return true;
    return false;
}

/* Shortest decimal that reads back as x; always looks like a float. */
void cg_print_double(FILE *f, double x);

#endif
