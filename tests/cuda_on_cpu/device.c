/* The device, its errors, and how it is made to fail. */
#include "tests/cuda_on_cpu/standin.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cudaError_t last, broken;

void on_cpu_bug(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fflush(stdout);
    fputs("cuda on cpu: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

cudaError_t on_cpu_error(cudaError_t e)
{
    if (e != cudaSuccess)
        last = e;
    return e;
}

void on_cpu_break(cudaError_t e)
{
    broken = broken ? broken : e;
}

cudaError_t on_cpu_broken(void)
{
    return on_cpu_error(broken);
}

bool on_cpu_fails(const char *what, unsigned long *n)
{
    const char *fail = getenv("CUDA_ON_CPU_FAIL");
    size_t len = strlen(what);
    if (!fail || strncmp(fail, what, len))
        return false;
    if (n && fail[len] == ':')
        *n = strtoul(fail + len + 1, NULL, 10);
    return fail[len] == (n ? ':' : '\0');
}

unsigned long on_cpu_setting(const char *name, unsigned long otherwise)
{
    const char *s = getenv(name);
    return s && *s ? strtoul(s, NULL, 10) : otherwise;
}

/* -- errors ---------------------------------------------------------------- */

cudaError_t cudaGetLastError(void)
{
    cudaError_t e = broken ? broken : last;
    last = cudaSuccess;
    return e;
}

static const struct {
    cudaError_t e;
    const char *text;
} errors[] = {
    {cudaSuccess, "no error"},
    {cudaErrorInvalidValue, "invalid argument"},
    {cudaErrorMemoryAllocation, "out of memory"},
    {cudaErrorInvalidConfiguration, "invalid configuration argument"},
    {cudaErrorInsufficientDriver,
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "invalid device function"},
    {cudaErrorNoDevice, "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice,
     "no kernel image is available for execution on the device"},
    {cudaErrorUnsupportedPtxVersion,
     "the provided PTX was compiled with an unsupported toolchain."},
    {cudaErrorIllegalAddress, "an illegal memory access was encountered"},
    {cudaErrorStreamCaptureUnsupported,
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated,
     "operation failed due to a previous error during capture"},
};

const char *cudaGetErrorString(cudaError_t e)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].e == e)
            return errors[i].text;
    return "unrecognized error code";
}

/* -- the device ------------------------------------------------------------ */

static cudaError_t usable(void)
{
    if (on_cpu_fails("driver", NULL))
        return on_cpu_error(cudaErrorInsufficientDriver);
    if (on_cpu_fails("none", NULL))
        return on_cpu_error(cudaErrorNoDevice);
    return on_cpu_broken();
}

cudaError_t cudaGetDeviceCount(int *count)
{
    cudaError_t e = usable();
    *count = e == cudaSuccess;
    return e;
}

cudaError_t cudaSetDevice(int device)
{
    cudaError_t e = usable();
    if (e == cudaSuccess && device != 0)
        e = on_cpu_error(cudaErrorInvalidDevice);
    return e;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr,
                                   int device)
{
    int capability = on_cpu_fails("old", NULL) ? 75 : 86;
    *value = attr == cudaDevAttrComputeCapabilityMajor ? capability / 10
                                                       : capability % 10;
    return cudaSetDevice(device);
}

/* Both succeed without a device; the driver's version is 0 without a driver. */
cudaError_t cudaDriverGetVersion(int *version)
{
    *version = on_cpu_fails("driver", NULL) ? 11000
        : on_cpu_fails("none", NULL) ? 0 : 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}
