/* What the checks of kernels share. check_x holds kernel x against plain loops
 * in double; a row of the table without one does not link.
 *
 * Data is made in the host's memory and handed to kernels through AT, which is
 * the same address on the CPU, and on a device with memory of its own that of
 * a copy made when it is first asked for: what a check still wants to write
 * has to be there by then. */
#ifndef CG_TESTS_KERNELS_H
#define CG_TESTS_KERNELS_H

#include <stdbool.h>

#include "backend/backend.h"
#include "base/arena.h"
#include "base/rng.h"

enum { DEVICES = 3 }; /* with 1, 2, 3 threads; or CUDA, opened so often */

extern cg_dev *dev[DEVICES];
extern cg_arena arena; /* of one check */
extern cg_rng rng;

#define CG_KERNEL(name, params, args) void check_##name(void);
#include "backend/kernels.def"
#undef CG_KERNEL

/* Memory of the check, zeroed. */
void *room(size_t bytes);
#define ROOM(type, n) ((type *)room(sizeof(type) * (size_t)(n)))
/* Zeroed; not aligned to more than a float, as a column of a matrix may be, and
 * in a second round of each check aligned to 64 bytes. */
float *floats(size_t n);
float *randoms(size_t n, float low, float high);
float *inputs(size_t n); /* -1 .. 1 */

/* What a kernel writes: one copy for each device, and what it should be,
 * which begins as what is there. Elements nobody writes are checked too. */
typedef struct output {
    size_t n;
    float *on[DEVICES]; /* brought back by compare */
    double *want;
} output;

output output_of(size_t n, const float *initial);
output outputs(size_t n); /* of any content */

/* Where device d has what is at p in memory of the check; NULL: NULL. */
void *at(int d, const void *p);
#define AT(p) at(d, p)
const cg_csr *csr_at(int d, const cg_csr *s);

/* 1e-5 of the largest element, so that sums that cancel are held to what
 * their terms allow; and the devices agree in every bit. */
void compare(const output *o, const char *what);

/* What dropout multiplies element i with. */
double factor(uint64_t key, size_t i, float p);

static inline double relu(double x) { return x < 0 ? 0 : x; }

#define EACH_DEVICE for (int d = 0; d < DEVICES; d++)

#endif
