/* Stands in for NVIDIA's header of this name where backend/cuda is compiled for
 * the CPU (tests alone): what that folder calls, with NVIDIA's names, values
 * and promises ("CUDA Runtime API", "CUDA C++ Programming Guide", 13.0), and
 * no more. What CUDA leaves undefined stops the program with a sentence.
 *
 * The device is a thread of the program's: a block's threads take turns
 * (block.c), its memory is out of the host's reach (memory.c), and what is
 * queued on a stream runs when the host waits for it, not before (stream.c).
 * These variables make it another device:
 *   CUDA_ON_CPU_FAIL     none: there is no device; driver: it is too old;
 *                        image: kernels are for another one; old: it is 7.5,
 *                        not 8.6; pinned: no pinned memory; cublas, cusparse:
 *                        these do not open; launch:N: the Nth kernel reads a
 *                        wrong address; capture: nothing can be captured
 *   CUDA_ON_CPU_MEMORY   bytes of device memory, 2^31 otherwise
 *   CUDA_ON_CPU_ORDER    of blocks and threads: 0 as they are numbered, 1 from
 *                        the last, 2 jumping; otherwise the first stream takes
 *                        0, the second 1...
 *   CUDA_ON_CPU_REPORT   1: counts of calls on stderr when the program ends
 *   CUDA_ON_CPU_IDLE     1: kernels and products do nothing: what a program
 *                        takes then is the host's part
 *   CUDA_LAUNCH_BLOCKING 1: nothing is queued, as with CUDA */
#ifndef CG_TESTS_CUDA_RUNTIME_H
#define CG_TESTS_CUDA_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorInvalidDeviceFunction = 98,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorUnsupportedPtxVersion = 222,
    cudaErrorIllegalAddress = 700,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
} cudaError_t;

typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;
typedef struct CUgraph_st *cudaGraph_t;
typedef struct CUgraphExec_st *cudaGraphExec_t;

enum cudaMemcpyKind {
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3,
};

enum cudaDeviceAttr {
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
};

enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

typedef enum cudaDataType_t { CUDA_R_32F = 0 } cudaDataType_t, cudaDataType;

enum { cudaEventDisableTiming = 2, cudaHostAllocDefault = 0,
       cudaStreamNonBlocking = 1 };

struct cudaFuncAttributes { int maxThreadsPerBlock; };

cudaError_t cudaGetLastError(void);
const char *cudaGetErrorString(cudaError_t e);

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr,
                                   int device);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);

cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes,
                            enum cudaMemcpyKind kind, cudaStream_t s);
cudaError_t cudaMemsetAsync(void *dst, int value, size_t bytes,
                            cudaStream_t s);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventSynchronize(cudaEvent_t e);

/* What is put on a stream between the two becomes a graph, and has not run.
 * Memory and events are out of reach meanwhile. */
cudaError_t cudaStreamBeginCapture(cudaStream_t s,
                                   enum cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g,
                                 unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e);

cudaError_t cudaFuncSetAttribute(const void *f, enum cudaFuncAttribute attr,
                                 int value);
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f);

#ifdef __cplusplus
}
#endif

#endif
