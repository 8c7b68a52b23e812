/* Files: read-only maps, and writes that appear whole or not at all. */
#ifndef CG_BASE_IO_H
#define CG_BASE_IO_H

#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

typedef struct cg_file_map {
    const unsigned char *data; /* NULL when size is 0 */
    size_t size;               /* bytes */
    int heap;                  /* read from a pipe rather than mapped */
} cg_file_map;

/* Maps a regular file; "-" and other pipes are read to the end (at most
 * `max_pipe` bytes). A directory is an error. */
cg_err cg_file_open(cg_file_map *m, const char *path, size_t max_pipe);
void cg_file_close(cg_file_map *m);

/* The whole of a text file, plain or gzip, on the heap with a NUL behind it;
 * at most `max` bytes. The caller frees it with cg_xfree. */
cg_err cg_read_text(const char *path, size_t max, char **text, size_t *size);

/* A file being written under a temporary name beside `path`, PATH.XXXXXX.part,
 * which is locked. "-" is stdout. */
typedef struct cg_out {
    FILE *f;
    char *path, *temp;
} cg_out;

cg_err cg_out_open(cg_out *o, const char *path);
cg_err cg_out_commit(cg_out *o);   /* flush, fsync, rename; checks errors */
void cg_out_abandon(cg_out *o);    /* removes the temporary file */
/* Removes the temporary files that programs which were killed have left beside
 * `path`; those that are being written stay. */
void cg_out_sweep(const char *path);

#endif
