/* What a CUDA device can do at most, for cuda.sh: "GB/s TFLOP/s" of a copy
 * within its memory (bytes read and written) and of a float32 product of
 * 4096^3 by cuBLAS without TF32, the best of 20 each. Of numbers drawn at
 * random: with zeros a device has less to switch, and is faster than with any
 * data. The copy is of 1 GiB, of which no cache holds much. */
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 4096, TIMES = 20, SQUARES = 16 };
static const size_t square = (size_t)N * N * sizeof(float);
static const size_t bytes = SQUARES * square;

static void check(int failed, const char *what)
{
    if (failed) {
        fprintf(stderr, "cuda_floors: %s fails with %d\n", what, failed);
        exit(1);
    }
}

typedef void step(void *user);

typedef struct work {
    cublasHandle_t blas;
    float *a, *b, *c;
} work;

static void copy(void *user)
{
    work *w = user;
    check(cudaMemcpyAsync(w->b, w->a, bytes, cudaMemcpyDeviceToDevice, 0),
          "a copy");
}

static void multiply(void *user)
{
    work *w = user;
    float one = 1, zero = 0;
    check(cublasSgemm(w->blas, CUBLAS_OP_N, CUBLAS_OP_N, N, N, N, &one, w->a,
                      N, w->b, N, &zero, w->c, N), "a product");
}

/* `n` bytes on the device, random ones from -1 to 1. */
static float *numbers(size_t n)
{
    static float host[(size_t)N * N];
    static unsigned state = 1;
    float *x;
    for (size_t i = 0; i < (size_t)N * N; i++) {
        state = state * 1664525u + 1013904223u;
        host[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    check(cudaMalloc((void **)&x, n), "memory");
    for (size_t at = 0; at < n; at += square)
        check(cudaMemcpy((char *)x + at, host, square,
                         cudaMemcpyHostToDevice), "an upload");
    return x;
}

/* Seconds of the fastest. */
static double fastest(step *fn, work *w)
{
    cudaEvent_t start, end;
    float best = 1e30f, ms;
    check(cudaEventCreate(&start), "an event");
    check(cudaEventCreate(&end), "an event");
    for (int i = 0; i < TIMES; i++) {
        check(cudaEventRecord(start, 0), "an event");
        fn(w);
        check(cudaEventRecord(end, 0), "an event");
        check(cudaEventSynchronize(end), "the device");
        check(cudaEventElapsedTime(&ms, start, end), "an event");
        best = ms < best ? ms : best;
    }
    return best * 1e-3;
}

int main(void)
{
    work w = {.a = numbers(bytes), .b = numbers(bytes), .c = numbers(square)};
    check(cublasCreate(&w.blas), "cuBLAS");
    double copied = 2e-9 * (double)bytes / fastest(copy, &w);
    double flops = 2e-12 * N * N * (double)N;
    printf("%.0f %.1f\n", copied, flops / fastest(multiply, &w));
    return 0;
}
