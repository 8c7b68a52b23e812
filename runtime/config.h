/* The learner's configuration: one struct, made from the rows of config.def,
 * and one text format.
 *
 *     # a comment, also behind a value
 *     gnn_layers = 6
 *     label_column = "val #2"     # quotes where a text needs them
 */
#ifndef CG_RUNTIME_CONFIG_H
#define CG_RUNTIME_CONFIG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

typedef enum cg_word {
#define CG_WORD(id, word) CG_WORD_##id,
#define CG_KEY(name, type, init, least, most, line)
#include "runtime/config.def"
#undef CG_WORD
#undef CG_KEY
    CG_WORDS
} cg_word;
const char *cg_word_name(cg_word w); /* "graphconv" */

#define CG_CONFIG_TEXT_MAX 256 /* with the NUL */

typedef int cg_config_int;
typedef double cg_config_float;
typedef bool cg_config_bool;
typedef cg_word cg_config_word;
typedef char cg_config_text[CG_CONFIG_TEXT_MAX];

typedef struct cg_config { /* plain data: copied by assignment */
#define CG_WORD(id, word)
#define CG_KEY(name, type, init, least, most, line) cg_config_##type name;
#include "runtime/config.def"
#undef CG_WORD
#undef CG_KEY
} cg_config;

extern const cg_config cg_config_default; /* the configuration "paper" */

/* The keys that a file sets; the others stay. `name` is the path of a file,
 * or else one of the configurations built in. An unknown key, a key set twice
 * or a bad value is said with file and line; *c is then unchanged. */
cg_err cg_config_load(cg_config *c, const char *name);
/* The same from text; `where` stands for the file's name in messages. */
cg_err cg_config_parse(cg_config *c, const char *text, const char *where);
/* One "key=value", as --set has it. */
cg_err cg_config_set(cg_config *c, const char *assignment);

/* The lines of the keys that differ from the default, in the order of the
 * table; parsed onto the default it gives an equal configuration. The caller
 * frees it with cg_xfree. */
char *cg_config_print(const cg_config *c);
/* The first key in which they differ; NULL: they are equal. */
const char *cg_config_differs(const cg_config *a, const cg_config *b);

/* For people: every key with its value, range and line; then the names. */
void cg_config_help(FILE *f, const cg_config *c);

#endif
