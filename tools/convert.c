#include "tools/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "frontend/onnx/export.h"
#include "ir/gaps.h"
#include "ir/text.h"
#include "tools/table.h"

static const char *const suffix[] = {".txt", ".json", ".json",
                                     ".cg",  ".json", ".dot", ".onnx"};

typedef struct trace {
    const options *o;
    const char *file;
    FILE *err;
} trace;

static void after_pass(void *user, cg_graph *g, cg_pass_id pass, double ms)
{
    trace *t = user;
    if (t->o->time)
        fprintf(t->err, "onnx2cg: %s: %-14s %9.3f ms\n", t->file,
                cg_pass_table[pass].name, ms);
    if (t->o->print_after == (int)pass)
        cg_print_text(t->err, g);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static bool is_text(const char *path)
{
    size_t n = strlen(path);
    return n > 3 && strcmp(path + n - 3, ".cg") == 0;
}

cg_err convert_load(const options *o, const char *path, cg_graph **g)
{
    if (!is_text(path))
        return cg_import_onnx(path, &o->onnx, g);
    cg_file_map m;
    CG_TRY(cg_file_open(&m, path, (size_t)1 << 30));
    cg_err err = cg_parse_text((const char *)m.data, m.size, g);
    cg_file_close(&m);
    return err;
}

static void print_warnings(const trace *t, const cg_graph *g)
{
    for (size_t i = 0; i < g->warnings.len && !t->o->quiet; i++) {
        const cg_warning *w = &g->warnings.data[i];
        /* through the error path, which escapes what files put into names */
        if (w->node)
            cg_fail(CG_OK, "%s: warning: node '%s': %s", t->file, w->node,
                    w->text);
        else
            cg_fail(CG_OK, "%s: warning: %s", t->file, w->text);
        fprintf(t->err, "onnx2cg: %s\n", cg_error());
    }
}

cg_err convert_check(const options *o, cg_graph *g)
{
    size_t n;
    if (!o->onnx.strict || o->format == SHAPES)
        return CG_OK;
    const cg_gap *gap = cg_graph_gaps(g, &n);
    if (n == 0)
        return CG_OK;
    return cg_fail(CG_EUNSUPPORTED, "node '%s': %s not known: %s", gap->node,
                   gap->what, gap->why);
}

cg_err convert_check_flops(cg_graph *g)
{
    size_t n;
    CG_TRY(cg_run_passes(g, CG_HAS(flops), NULL));
    if (cg_dim_known(g->flops))
        return CG_OK;
    const cg_gap *gap = cg_graph_gaps(g, &n);
    return cg_fail(CG_EUNSUPPORTED, "its FLOPs are not known: %s",
                   n ? gap->why : "they are symbolic");
}

static void print_graph(const options *o, FILE *f, cg_graph *g,
                        const char *file)
{
    switch (o->format) {
    case TABLE: cg_print_table(f, g, file); break;
    case STATS: cg_print_stats(f, g, file); break;
    case SHAPES: cg_print_shapes(f, g); break;
    case CG: cg_print_text(f, g); break;
    case JSON: cg_print_json(f, g); break;
    case DOT: cg_print_dot(f, g); break;
    case MODEL: break; /* export_model */
    }
}

char *convert_output_path(const options *o, const char *file)
{
    const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    const char *dot = strrchr(base, '.');
    int stem = dot && dot != base ? (int)(dot - base) : (int)strlen(base);
    char *path;
    if (asprintf(&path, "%s/%.*s%s", o->output, stem, base,
                 suffix[o->format]) < 0)
        return NULL;
    return path;
}

/* Straight to where it goes, since a model may be larger than memory. */
static cg_err export_model(const options *o, const char *file, cg_graph *g)
{
    cg_export_opts e = {.no_weights = o->no_weights, .merged = true};
    char *path = !o->output    ? strdup("-")
                 : o->several ? convert_output_path(o, file)
                              : strdup(o->output);
    if (!path)
        return cg_fail(CG_EIO, "out of memory");
    cg_out out;
    cg_err err = cg_out_open(&out, path);
    free(path);
    if (err != CG_OK)
        return err;
    err = cg_export_onnx(out.f, g, &e);
    if (err == CG_OK)
        return cg_out_commit(&out);
    cg_out_abandon(&out);
    return err;
}

static cg_err convert(const options *o, trace *t, FILE *f)
{
    cg_graph *g = NULL;
    double start = now_ms();
    CG_TRY(convert_load(o, t->file, &g));
    if (o->time)
        fprintf(t->err, "onnx2cg: %s: %-14s %9.3f ms\n", t->file, "import",
                now_ms() - start);
    if (o->print_after == CG_PASS_COUNT)
        cg_print_text(t->err, g);
    cg_pass_hook hook = {after_pass, t};
    cg_err err = cg_run_passes(g, o->wanted, &hook);
    if (err == CG_OK)
        err = convert_check(o, g);
    if (err == CG_OK && o->format == MODEL)
        err = export_model(o, t->file, g);
    if (err == CG_OK) {
        print_warnings(t, g);
        print_graph(o, f, g, t->file);
    }
    cg_graph_free(g);
    return err;
}

static cg_err write_result(const options *o, const char *file, const char *s,
                           size_t n)
{
    char *path = o->several ? convert_output_path(o, file) : strdup(o->output);
    if (!path)
        return cg_fail(CG_EIO, "out of memory");
    cg_out out;
    cg_err err = cg_out_open(&out, path);
    if (err == CG_OK) {
        fwrite(s, 1, n, out.f);
        err = cg_out_commit(&out);
    }
    free(path);
    return err;
}

void convert_model(const options *o, const char *file, result *r)
{
    FILE *out = open_memstream(&r->out, &r->out_len);
    FILE *err = open_memstream(&r->err, &r->err_len);
    if (!out || !err)
        abort();
    trace t = {o, file, err};
    cg_err e = convert(o, &t, out);
    fclose(out);
    if (e == CG_OK && o->output && o->format != MODEL) {
        e = write_result(o, file, r->out, r->out_len);
        r->out_len = 0;
    }
    if (e != CG_OK) {
        cg_fail_in(e, "onnx2cg: %s", strcmp(file, "-") ? file : "(stdin)");
        fprintf(err, "%s\n", cg_error());
        r->failed = true;
        r->out_len = 0;
    }
    fclose(err);
}
