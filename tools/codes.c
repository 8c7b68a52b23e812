#include "tools/codes.h"

#include <string.h>

#include "frontend/zoo/zoo.h"

cg_err code_columns_find(code_columns *c, const cg_csv *t, const char *names,
                         const char *path)
{
    c->n = 0;
    if (!names)
        names = cg_csv_column(t, "code") < 0 && cg_csv_column(t, "arch") >= 0
                    ? "arch" : "code";
    for (const char *s = names; *s; s += *s == ',') {
        char name[64];
        size_t len = strcspn(s, ",");
        if (c->n == CODE_COLUMNS_MAX || len >= sizeof name)
            return cg_fail(CG_EUSAGE, "--code-columns '%s' is too long",
                           names);
        snprintf(name, sizeof name, "%.*s", (int)len, s);
        c->column[c->n] = cg_csv_column(t, name);
        if (c->column[c->n++] < 0)
            return cg_fail(CG_EUSAGE, "%s has no column '%s'", path, name);
        s += len;
    }
    return CG_OK;
}

cg_err code_join(const code_columns *c, const cg_csv *t, size_t row,
                 char *code, size_t size)
{
    size_t len = 0;
    *code = '\0';
    for (size_t k = 0; k < c->n && len < size; k++)
        len += (size_t)snprintf(code + len, size - len, "%s%s", k ? ";" : "",
                                cg_csv_at(t, row, c->column[k]));
    return len < size ? CG_OK
                      : cg_fail(CG_EFORMAT, "row %zu: a code of %zu characters",
                                row + 1, len);
}

cg_err codes_check(const char *family, const char *const *code, size_t n,
                   const char *path)
{
    _Alignas(16) char arch[CG_ZOO_ARCH_MAX];
    const cg_zoo_family *f;
    cg_zoo_opts o;
    CG_TRY(cg_zoo_find(family, &f, &o));
    if (n == 0)
        return cg_fail(CG_EFORMAT, "%s has no rows", path);
    for (size_t i = n; i-- > 0;) { /* what is left to say is of the first */
        memset(arch, 0, sizeof arch);
        if (f->parse(code[i], arch) == CG_OK)
            return CG_OK;
    }
    return cg_fail_in(CG_EFORMAT, "%s: none of its %zu rows has a code of %s; "
                      "the first, '%.80s'", path, n, f->name, code[0]);
}

void print_field(FILE *f, const char *s)
{
    if (!strpbrk(s, ",\"\n\r")) {
        fputs(s, f);
        return;
    }
    fputc('"', f);
    for (; *s; s++)
        fprintf(f, *s == '"' ? "\"\"" : "%c", *s);
    fputc('"', f);
}
