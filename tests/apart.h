/* A device whose memory is not the host's: the CPU's kernels, on memory that
 * the host can touch only while a kernel or a copy runs, and that starts as
 * NaN; what is downloaded arrives when the device is waited for. It counts what
 * takes time on such devices. One at a time. */
#ifndef CG_TESTS_APART_H
#define CG_TESTS_APART_H

#include "backend/backend.h"
#include "base/array.h"

typedef struct apart_copy { /* that was not waited for yet */
    void *dst, *data;
    size_t bytes;
} apart_copy;

typedef struct apart {
    cg_dev dev;
    cg_dev *cpu;
    unsigned char *memory; /* blocks from its start, the step's from its half */
    size_t blocks, work;   /* bytes in use */
    size_t limit;          /* of the step's; set it to see it run out */
    int64_t fail[2];       /* steps that have none; 0: no step */
    int64_t allocs, syncs, uploads, downloads, steps; /* steps: resets */
    bool told;
    CG_ARRAY(apart_copy) coming;
} apart;

cg_err apart_open(apart **a);
void apart_close(apart *a);

#endif
