#include "frontend/zoo/zoo.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CG_FAMILY(name) extern const cg_zoo_family cg_zoo_##name;
#include "frontend/zoo/families.def"
#undef CG_FAMILY

const cg_zoo_family *const cg_zoo_families[] = {
#define CG_FAMILY(name) &cg_zoo_##name,
#include "frontend/zoo/families.def"
#undef CG_FAMILY
};
const size_t cg_zoo_n_families =
    sizeof cg_zoo_families / sizeof cg_zoo_families[0];

/* -- options: "key=value,key=value" ---------------------------------------- */

/* The value of a key, up to a comma or the end; NULL: not there. */
static const char *find_value(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *s = text; s && *s;) {
        if (strncmp(s, key, n) == 0 && s[n] == '=')
            return s + n + 1;
        s = strchr(s, ',');
        s = s ? s + 1 : NULL;
    }
    return NULL;
}

double cg_zoo_number(const cg_zoo_opts *o, const char *key, double otherwise)
{
    const char *s = o ? find_value(o->text, key) : NULL;
    return s ? strtod(s, NULL) : otherwise;
}

bool cg_zoo_word(const cg_zoo_opts *o, const char *key, const char *value)
{
    const char *s = o ? find_value(o->text, key) : NULL;
    size_t n = strlen(value);
    return s && strncmp(s, value, n) == 0 && (s[n] == ',' || !s[n]);
}

/* -- finding a family --------------------------------------------------------- */

static cg_err unknown_family(const char *name, int len)
{
    char all[256] = "";
    for (size_t i = 0; i < cg_zoo_n_families; i++) {
        strcat(all, i ? ", " : "");
        strcat(all, cg_zoo_families[i]->name);
    }
    return cg_fail(CG_EUSAGE, "no family '%.*s'; there are: %s", len, name,
                   all);
}

/* What starts like a number is one. */
static bool well_formed(const char *value, size_t len)
{
    char *end;
    if (!strchr("0123456789.+-", *value))
        return true;
    strtod(value, &end);
    return (size_t)(end - value) == len;
}

/* Whether `key` (of len characters) is among a comma-separated list. */
static bool listed(const char *list, const char *key, size_t len)
{
    for (const char *s = list; *s;) {
        size_t n = strcspn(s, ",");
        if (n == len && strncmp(s, key, len) == 0)
            return true;
        s += n + (s[n] == ',');
    }
    return false;
}

static cg_err check_options(const cg_zoo_family *f, const char *text)
{
    for (const char *s = text; *s;) {
        size_t pair = strcspn(s, ","), key = strcspn(s, "=,");
        if (key == pair || key + 1 == pair ||
            !well_formed(s + key + 1, pair - key - 1))
            return cg_fail(CG_EUSAGE, "'%.*s' is not an option key=value",
                           (int)pair, s);
        if (!listed(f->options, s, key))
            return cg_fail(CG_EUSAGE, "%s has no option '%.*s'%s%s", f->name,
                           (int)key, s, *f->options ? "; it has: " : "",
                           f->options);
        s += pair + (s[pair] == ',');
    }
    return CG_OK;
}

/* Whether the family takes the values: it builds its example with them. */
static cg_err try_options(const cg_zoo_family *f, const cg_zoo_opts *o)
{
    _Alignas(16) char arch[CG_ZOO_ARCH_MAX] = {0};
    cg_net net;
    CG_TRY(f->parse(f->example, arch));
    cg_net_begin(&net, f->name);
    cg_err err = f->build(&net, arch, o);
    cg_graph_free(net.graph);
    return err == CG_OK ? CG_OK : cg_fail_in(err, "%s", f->name);
}

cg_err cg_zoo_find(const char *name, const cg_zoo_family **out, cg_zoo_opts *o)
{
    size_t len = strcspn(name, ":");
    *o = (cg_zoo_opts){0};
    for (size_t i = 0; i < cg_zoo_n_families; i++) {
        const cg_zoo_family *f = cg_zoo_families[i];
        if (strlen(f->name) != len || strncmp(f->name, name, len) != 0)
            continue;
        *out = f;
        if (name[len] && name[len + 1])
            o->text = name + len + 1;
        if (!o->text)
            return CG_OK;
        CG_TRY(check_options(f, o->text));
        return try_options(f, o);
    }
    return unknown_family(name, (int)len);
}

/* -- building --------------------------------------------------------------------- */

cg_err cg_zoo_bad(const char *code, const char *at, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return cg_fail(CG_EFORMAT, "position %td: %s", at - code + 1, text);
}

cg_err cg_zoo_build(const cg_zoo_family *f, const cg_zoo_opts *o,
                    const char *code, cg_net *net)
{
    _Alignas(16) char arch[CG_ZOO_ARCH_MAX] = {0};
    cg_err err = f->parse(code, arch);
    if (err == CG_OK) {
        cg_net_begin(net, f->name);
        err = f->build(net, arch, o);
        if (err != CG_OK) {
            cg_graph_free(net->graph);
            net->graph = NULL;
        }
    }
    return err == CG_OK ? CG_OK
                        : cg_fail_in(err, "%s code '%.80s'", f->name, code);
}
