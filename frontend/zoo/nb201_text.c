#include "frontend/zoo/nb201_text.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/io.h"

#define TEXT_MAX ((size_t)1 << 30)

/* Where each figure stands: the line's data set, the word before it. */
static const struct {
    const char *data, *set;
} place[CG_NB201_METRICS] = {
    {"cifar10", "test"},        {"cifar10-valid", "valid"},
    {"cifar10-valid", "test"},  {"cifar100", "test"},
    {"cifar100", "valid"},      {"ImageNet16-120", "test"},
    {"ImageNet16-120", "valid"}};

const char *const cg_nb201_metric_names[CG_NB201_METRICS] = {
    "cifar10_test",   "cifar10_valid",   "cifar10_valid_test",
    "cifar100_test",  "cifar100_valid",  "imagenet16_test",
    "imagenet16_valid"};

typedef struct reader {
    cg_nb201_result r;
    bool open; /* r has a code */
    int epochs;
    cg_err (*each)(void *user, const cg_nb201_result *r);
    void *user;
} reader;

static cg_err finish(reader *t)
{
    if (!t->open)
        return CG_OK;
    t->open = false;
    return t->each(t->user, &t->r);
}

/* ">>>> 200 epochs >>>>" */
static bool epochs_line(reader *t, const char *line)
{
    char *end;
    const char *s = line + strspn(line, ">");
    long n = strtol(s, &end, 10);
    if (s == line || end == s || strncmp(end, " epochs", 7) != 0 || n <= 0 ||
        n > 100000)
        return false;
    t->epochs = (int)n;
    return true;
}

static cg_err begin(reader *t, const char *line)
{
    CG_TRY(finish(t));
    size_t n = strcspn(line, " \t\r");
    if (n >= sizeof t->r.code)
        return cg_fail(CG_EFORMAT, "a code of %zu characters", n);
    t->open = true;
    t->r = (cg_nb201_result){.epochs = t->epochs};
    memcpy(t->r.code, line, n);
    for (int i = 0; i < CG_NB201_METRICS; i++)
        t->r.metric[i] = NAN;
    return CG_OK;
}

/* "test : [loss = 0.278, top1 = 94.36%]" among the line's figures; in later
 * versions '&' stands for ','. */
static cg_err read_figure(const char *line, const char *set, double *out)
{
    char *end;
    const char *s = line;
    size_t n = strlen(set);
    while ((s = strstr(s, set)) &&
           (s[-1] != ' ' || s[n + strspn(s + n, " ")] != ':'))
        s += n;
    if (!s)
        return CG_OK; /* has none */
    const char *close = strchr(s, ']');
    s = strstr(s, "top1 = ");
    if (!s || !close || s > close)
        return cg_fail(CG_EFORMAT, "no 'top1 = ...' behind '%s'", set);
    s += strlen("top1 = ");
    double percent = strtod(s, &end);
    if (end == s || *end != '%' || !(percent >= 0 && percent <= 100))
        return cg_fail(CG_EFORMAT, "'%.12s' is no percentage", s);
    *out = percent / 100;
    return CG_OK;
}

/* "cifar10        train : [...], test  : [...]"; others are skipped. */
static cg_err read_figures(reader *t, const char *line)
{
    size_t n = strcspn(line, " ");
    const char *rest = line + n + strspn(line + n, " ");
    if (strncmp(rest, "train", 5) != 0)
        return CG_OK;
    for (int i = 0; i < CG_NB201_METRICS; i++) {
        if (strlen(place[i].data) != n ||
            strncmp(place[i].data, line, n) != 0)
            continue;
        if (!t->open)
            return cg_fail(CG_EFORMAT, "figures before any code");
        CG_TRY(read_figure(rest, place[i].set, &t->r.metric[i]));
    }
    return CG_OK;
}

static cg_err read_line(reader *t, const char *line)
{
    if (line[0] == '|')
        return begin(t, line);
    if (epochs_line(t, line))
        return finish(t);
    return read_figures(t, line);
}

static cg_err read_lines(reader *t, char *text)
{
    size_t number = 0;
    cg_err err = CG_OK;
    for (char *line = text, *next; line && err == CG_OK; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        number++;
        err = read_line(t, line);
        if (err != CG_OK)
            return cg_fail_in(err, "line %zu", number);
    }
    return finish(t);
}

cg_err cg_nb201_read_text(const char *path,
                          cg_err (*each)(void *user,
                                         const cg_nb201_result *r),
                          void *user)
{
    reader t = {.each = each, .user = user};
    char *text;
    size_t size;
    cg_err err = cg_read_text(path, TEXT_MAX, &text, &size);
    if (err == CG_OK) {
        err = read_lines(&t, text);
        cg_xfree(text);
    }
    return err == CG_OK ? CG_OK : cg_fail_in(err, "%s", path);
}
