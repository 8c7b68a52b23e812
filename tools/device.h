/* On what a model works: the options of the programs that have one. */
#ifndef CG_TOOLS_DEVICE_H
#define CG_TOOLS_DEVICE_H

#include <getopt.h>
#include <stdbool.h>

#include "backend/backend.h"

/* Networks to be seen, each as often as a training sees it, from which on
 * --device auto asks for a GPU. One takes about a second to start, in which a
 * few cores predict as many small networks; not yet measured on a device. */
#define DEVICE_PAYS 20000

/* Set `program`, `usage` and `device`, the others zero, to start. */
typedef struct device_options {
    const char *program, *usage; /* usage: what --help prints */
    const char *device;          /* cpu, cuda, auto */
    const char *precision;       /* NULL: float32 */
    int threads;                 /* 0: as many as there are */
    bool verbose;
} device_options;

/* Options that all of them have; device_take knows their values. */
enum { OPT_DEVICE = 512, OPT_PRECISION, OPT_THREADS, OPT_VERBOSE, OPT_VERSION,
       OPT_HELP };
#define DEVICE_OPTIONS                                                        \
    {"device", required_argument, NULL, OPT_DEVICE},                          \
    {"precision", required_argument, NULL, OPT_PRECISION},                    \
    {"threads", required_argument, NULL, OPT_THREADS},                        \
    {"verbose", no_argument, NULL, OPT_VERBOSE},                              \
    {"version", no_argument, NULL, OPT_VERSION},                              \
    {"help", no_argument, NULL, OPT_HELP}
#define DEVICE_USAGE(device)                                                   \
    "  --device D (" device "), --threads N (all)\n"                           \
    "                         cpu, cuda, or auto: a GPU where there is one\n" \
    "                         and enough to do; --verbose says which, and why\n" \
    "  --precision P          float32 (the default); on a GPU tf32 or bf16,\n" \
    "                         which are faster and less exact\n"              \
    "  --version, --help\n"

/* Takes one of these; --version and --help end the program. CG_EUSAGE: it is
 * none of them. */
cg_err device_take(device_options *o, int opt, const char *arg);

/* `networks` as of DEVICE_PAYS, 0: a GPU does not pay. With a precision that
 * the CPU does not have, auto asks for a GPU in any case. */
cg_err device_open(cg_dev **d, const device_options *o, double networks);

/* Says it where predictions had to take fewer networks at a time than they
 * would (cg_model.at_once). */
void device_tell_shortage(const device_options *o, const cg_dev *d,
                          int at_once);

/* The model that comes with the programs, where *path is NULL: installed, or in
 * their source. */
cg_err device_find_model(const char **path);

#endif
