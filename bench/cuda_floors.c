/* What a CUDA device can do at most, for cuda.sh: "GB/s TFLOP/s" of a copy
 * within its memory (bytes read and written) and of a float32 product of
 * 4096^3 by cuBLAS without TF32, the best of 20 each. */
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 4096, TIMES = 20 };
static const size_t bytes = (size_t)N * N * sizeof(float);

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
    work w;
    check(cudaMalloc((void **)&w.a, bytes), "memory");
    check(cudaMalloc((void **)&w.b, bytes), "memory");
    check(cudaMalloc((void **)&w.c, bytes), "memory");
    check(cudaMemset(w.a, 0, bytes), "memory");
    check(cublasCreate(&w.blas), "cuBLAS");
    double copied = 2e-9 * (double)bytes / fastest(copy, &w);
    double flops = 2e-12 * N * N * (double)N;
    printf("%.0f %.1f\n", copied, flops / fastest(multiply, &w));
    return 0;
}
