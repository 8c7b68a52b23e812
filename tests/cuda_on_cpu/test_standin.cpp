/* What the stand-in sees: a program that does what a device would not forgive
 * is stopped, and threads that meet get what CUDA says they get. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
#include <cmocka.h>
}

#include "backend/cuda/launch.h"

enum { N = 96 };

static cudaStream_t stream;

/* -- kernels --------------------------------------------------------------- */

static __global__ void beside(float *x) { x[N + threadIdx.x] = 1; }

static __global__ void torn(int *x)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    x[threadIdx.x] = 1;
}

static __global__ void apart(int *x)
{
    if (threadIdx.x % 2)
        x[threadIdx.x] = __shfl_sync(~0u, 1, 0);
    else
        __syncthreads();
}

static __global__ void meet(int *x)
{
    __shared__ int sum[N];
    int i = (int)threadIdx.x;
    if (i == N - 1) /* nobody waits for who has ended */
        return;
    sum[i] = i;
    __syncthreads();
    int other = sum[N - 2 - i];
    int up = __shfl_down_sync(~0u, i, 3);
    int mate = __shfl_xor_sync(~0u, i, 5, 8);
    int first = __shfl_sync(~0u, i, 9, 8);
    __syncwarp();
    x[i] = other + 1000 * up + 100000 * mate + 10000000 * first;
}

static __global__ void shared_garbage(int *x)
{
    SHARED(int, s);
    __shared__ int t[4];
    x[threadIdx.x] = s[threadIdx.x] == -1 && t[threadIdx.x % 4] == -1;
    __syncthreads();
    s[threadIdx.x] = t[threadIdx.x % 4] = 7;
}

/* -- what is launched ------------------------------------------------------ */

template <class... P, class... A>
static void launch(void (*kernel)(P...), unsigned blocks, unsigned threads,
                   size_t shared, A... a)
{
    on_cpu_launch(stream, "a kernel", kernel, blocks, threads, shared, a...);
}

template <class T> static T *block(size_t n)
{
    void *p;
    assert_int_equal(cudaMalloc(&p, n * sizeof(T)), cudaSuccess);
    return static_cast<T *>(p);
}

static void wait_for_all(void) { cudaStreamSynchronize(stream); }

/* Whether a process that does this ends by a signal. */
static void assert_stopped(void (*fn)(void))
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL); /* cmocka has its own */
        signal(SIGSEGV, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(0);
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

static void read_on_host(void)
{
    volatile float *x = block<float>(N);
    _exit(0 * (x[3] == 0));
}

static void write_beside(void)
{
    launch(beside, 1, 8, 0, block<float>(N));
    wait_for_all();
}

static void tear(void)
{
    launch(torn, 1, 64, 0, block<int>(N));
    wait_for_all();
}

static void wait_apart(void)
{
    launch(apart, 1, 64, 0, block<int>(N));
    wait_for_all();
}

static void hand_over_host_memory(void)
{
    static int x[N];
    launch(meet, 1, N, 0, x);
}

static void copy_backwards(void)
{
    static float x[N];
    cudaMemcpyAsync(block<float>(N), x, sizeof x, cudaMemcpyDeviceToHost,
                    stream);
}

static void test_stopped(void **)
{
    assert_stopped(read_on_host);
    assert_stopped(write_beside);
    assert_stopped(tear);
    assert_stopped(wait_apart);
    assert_stopped(hand_over_host_memory);
    assert_stopped(copy_backwards);
}

/* -- what is right --------------------------------------------------------- */

static void fetch(int *to, const int *from, size_t n)
{
    cudaMemcpyAsync(to, from, n * sizeof *to, cudaMemcpyDeviceToHost, stream);
    wait_for_all();
}

static void test_meet(void **)
{
    int *x = block<int>(N), got[N];
    launch(meet, 1, N, 0, x);
    fetch(got, x, N);
    for (int i = 0; i < N - 1; i++) {
        int lane = i % 32, up = lane + 3 < 32 ? i + 3 : i;
        int mate = i ^ 5, first = i / 8 * 8 + 1;
        /* of lane 95, which has ended, nothing is known */
        if (up == N - 1 || mate == N - 1)
            continue;
        assert_int_equal(got[i], N - 2 - i + 1000 * up + 100000 * mate
                         + 10000000 * first);
    }
    cudaFree(x);
}

static void test_garbage(void **)
{
    int *x = block<int>(32), got[32];
    launch(shared_garbage, 3, 32, 32 * sizeof(int), x);
    fetch(got, x, 32);
    for (int i = 0; i < 32; i++)
        assert_int_equal(got[i], 1);
    cudaFree(x);
}

/* Copies are made when the host waits, from what is there then. */
static void test_late(void **)
{
    int *x = block<int>(1), *from, got = 0;
    assert_int_equal(cudaHostAlloc((void **)&from, sizeof *from, 0),
                     cudaSuccess);
    *from = 1;
    cudaMemcpyAsync(x, from, sizeof *from, cudaMemcpyHostToDevice, stream);
    *from = 2;
    fetch(&got, x, 1);
    assert_int_equal(got, 2);
    cudaFreeHost(from);
    cudaFree(x);
}

static void test_refused(void **)
{
    static const struct {
        unsigned blocks, high, threads;
        size_t shared;
        cudaError_t e;
    } how[] = { { 1, 1, 1025, 0, cudaErrorInvalidConfiguration },
                { 0, 1, 32, 0, cudaErrorInvalidConfiguration },
                { 1, 65536, 32, 0, cudaErrorInvalidConfiguration },
                { 1, 1, 32, 49153, cudaErrorInvalidValue },
                { 1, 65535, 1, 0, cudaSuccess } };
    int *x = block<int>(N);
    for (auto h : how) {
        on_cpu_launch(stream, "a kernel", meet, dim3(h.blocks, h.high),
                      h.threads, h.shared, x);
        assert_int_equal(cudaGetLastError(), h.e);
    }
    wait_for_all();
    cudaFree(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meet),    cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_late),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_stopped),
    };
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cudaStreamDestroy(stream);
    return failed;
}
