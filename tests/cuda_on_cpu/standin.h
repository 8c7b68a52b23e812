/* What the files of the stand-in share. */
#ifndef CG_TESTS_STANDIN_H
#define CG_TESTS_STANDIN_H

#include <stdbool.h>

#include <cuda_runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The program is wrong: a sentence, and the end. */
void on_cpu_bug(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));

/* -- errors, settings (device.c) ------------------------------------------- */

/* `e` becomes the last error, unless it is none, and is returned. */
cudaError_t on_cpu_error(cudaError_t e);
/* From now on every call fails with `e`, as after a wrong address. */
void on_cpu_break(cudaError_t e);
cudaError_t on_cpu_broken(void);
/* CUDA_ON_CPU_FAIL is `what`, or `what:N`, N to *n. */
bool on_cpu_fails(const char *what, unsigned long *n);
/* A number from the environment. */
unsigned long on_cpu_setting(const char *name, unsigned long otherwise);

/* -- memory (memory.c) ----------------------------------------------------- */

/* Whether all these bytes (of none: the address) are in one block of device
 * memory. */
bool on_cpu_on_device(const void *p, size_t bytes);
/* Stops the program if they are not. */
void on_cpu_need(const char *who, const char *what, const void *p,
                 size_t bytes);
/* Stops the program if a word of these is an address of the host's. */
void on_cpu_need_no_host(const char *who, const void *words, size_t bytes);
/* For the host no device memory is there unless it is open. */
void on_cpu_open_memory(bool open);
/* Whether somebody wrote beside a block; `who` ran last. */
void on_cpu_check_guards(const char *who);

/* -- streams (stream.c) ---------------------------------------------------- */

typedef void on_cpu_fn(const void *args, cudaStream_t s);

/* Runs fn with a copy of the arguments when the host waits. `what` stays. */
cudaError_t on_cpu_queue(cudaStream_t s, const char *what, on_cpu_fn *fn,
                         const void *args, size_t bytes);
/* As on_cpu_broken, for what may not be called while a stream is captured: an
 * error then, and the end of the graph. */
cudaError_t on_cpu_uncaptured(void);
/* Runs all that is queued. */
void on_cpu_run(void);
int on_cpu_order(cudaStream_t s);
/* Counted for CUDA_ON_CPU_REPORT. */
extern struct on_cpu_counts {
    unsigned long kernels, products, copies, graphs, allocations, waits;
} on_cpu_counts;

/* -- a kernel (block.c) ---------------------------------------------------- */

struct on_cpu_size { unsigned x, y, z; };

struct on_cpu_grid {
    struct on_cpu_size grid, block;
    size_t shared;
    const char *name;
    void (*thread)(const void *args); /* one of them */
    const void *args;
};

extern struct on_cpu_size threadIdx, blockIdx, blockDim, gridDim;

/* Whether CUDA would take such a launch. */
cudaError_t on_cpu_launchable(const struct on_cpu_grid *g, const void *f);
void on_cpu_run_grid(const struct on_cpu_grid *g, int order);

/* For a thread of a kernel; `place` names the line. */
void on_cpu_barrier(const char *place);
/* `value` of lane `from` of those that are in the mask and have come here;
 * garbage where there is none. */
uint64_t on_cpu_shuffle(const char *place, unsigned mask, unsigned from,
                        uint64_t value);
unsigned on_cpu_lane(void);
void *on_cpu_shared(void);

#ifdef __cplusplus
}
#endif

#endif
