#include "tools/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/model.h"
#include "tools/cli.h"

cg_err device_take(device_options *o, int opt, const char *arg)
{
    switch (opt) {
    case OPT_DEVICE: o->device = arg; break;
    case OPT_PRECISION: o->precision = arg; break;
    case OPT_VERBOSE: o->verbose = true; break;
    case OPT_THREADS: return cg_cli_int(arg, "--threads", 0, 1024,
                                        &o->threads);
    case OPT_VERSION:
    case OPT_HELP:
        fputs(opt == OPT_HELP ? o->usage : cg_cli_version(o->program), stdout);
        exit(cg_cli_end(o->program, CG_OK));
    default: return cg_fail(CG_EUSAGE, "see %s --help", o->program);
    }
    return CG_OK;
}

/* What auto comes to: a GPU is not even looked for where it does not pay. */
static cg_err choose(cg_dev **d, const device_options *o, const char *precision,
                     double networks)
{
    bool pays = networks >= DEVICE_PAYS || strcmp(precision, "float32") != 0;
    char why[200];
    snprintf(why, sizeof why, "a GPU pays from %d networks on, these are %.0f",
             DEVICE_PAYS, networks);
    if (pays && cg_dev_open(d, "cuda", o->threads) != CG_OK)
        snprintf(why, sizeof why, "%s", cg_error());
    if (!*d)
        CG_TRY(cg_dev_open(d, "cpu", o->threads));
    if (o->verbose)
        fprintf(stderr, "%s: works on %s (%s)\n", o->program, (*d)->name, why);
    return CG_OK;
}

cg_err device_open(cg_dev **d, const device_options *o, double networks)
{
    const char *precision = o->precision ? o->precision : "float32";
    *d = NULL;
    if (strcmp(o->device, "auto") == 0) {
        CG_TRY(choose(d, o, precision, networks));
    } else {
        CG_TRY(cg_dev_open(d, o->device, o->threads));
        if (o->verbose)
            fprintf(stderr, "%s: works on %s (as --device says)\n", o->program,
                    (*d)->name);
    }
    cg_err err = cg_dev_precision(*d, precision);
    if (err != CG_OK) {
        cg_dev_close(*d);
        *d = NULL;
    }
    return err;
}

void device_tell_shortage(const device_options *o, const cg_dev *d,
                          int at_once)
{
    if (at_once < CG_PREDICT_BATCH)
        fprintf(stderr, "%s: %s has no memory for %d networks at a time: "
                "predictions are made of %d\n", o->program, d->name,
                CG_PREDICT_BATCH, at_once);
}

cg_err device_find_model(const char **path)
{
    static const char *const places[] = {
        GENNAPE_DATA "/models/gennape.safetensors",
        GENNAPE_SOURCE "/models/gennape.safetensors"};
    for (size_t i = 0; i < sizeof places / sizeof *places && !*path; i++)
        if (access(places[i], F_OK) == 0)
            *path = places[i];
    return *path ? CG_OK
                 : cg_fail(CG_EIO, "no model is installed (%s): train one with "
                           "cgtrain and give --model FILE", places[0]);
}
