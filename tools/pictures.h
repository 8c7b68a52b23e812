/* The pictures of cgeval --plot: what was predicted against what is true, how
 * accuracies and FLOPs are spread, and where the encoder puts the networks, of
 * all families together. */
#ifndef CG_TOOLS_PICTURES_H
#define CG_TOOLS_PICTURES_H

#include "runtime/model.h"

typedef struct pictures pictures;

/* The folder is made if it is not there. What is drawn is drawn by `seed`. */
cg_err pictures_new(pictures **p, const char *folder, uint64_t seed);
void pictures_free(pictures *p); /* NULL is fine */

/* A family's networks; d NULL: they are not embedded. Copies what it keeps. */
void pictures_family(pictures *p, const char *name, const cg_examples *e,
                     const cg_embedded *d);
/* What a member says of the family that was added last: percent, or a score,
 * (n) as its examples. Members come in the same order for each family. */
void pictures_member(pictures *p, const char *name, const char *line,
                     bool percent, const double *said);

/* Writes NAME.svg of each picture; *embedded: whether there were embeddings to
 * show. */
cg_err pictures_write(const pictures *p, bool *embedded);

#endif
