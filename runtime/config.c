/* Reading and printing configurations. A type of key is a row of functions,
 * and a key is a row of config.def: nothing here knows one by name. */
#include "runtime/config.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/io.h"
#include "ir/quote.h"

#define FILE_MAX ((size_t)1 << 20)
#define SHOWN 80 /* bytes of a key or value that a message repeats */

typedef struct key key;

typedef struct type {
    cg_err (*read)(const key *k, void *field, const char *value);
    void (*print)(FILE *f, const void *field);
    bool (*equal)(const void *a, const void *b);
    void (*range)(FILE *f, const key *k);
} type;

struct key {
    const char *name, *line;
    const type *type;
    size_t offset; /* in cg_config */
    double least, most;
};

static const char *const words[CG_WORDS] = {
#define CG_WORD(id, word) [CG_WORD_##id] = word,
#define CG_KEY(name, type, init, least, most, line)
#include "runtime/config.def"
#undef CG_WORD
#undef CG_KEY
};

const char *cg_word_name(cg_word w) { return words[w]; }

/* -- types ----------------------------------------------------------------- */

static cg_err check_range(const key *k, double x)
{
    return x >= k->least && x <= k->most
               ? CG_OK
               : cg_fail(CG_EFORMAT, "%s = %.9g is out of range, which is "
                         "%.10g to %.10g", k->name, x, k->least, k->most);
}

static cg_err read_int(const key *k, void *field, const char *value)
{
    char *end;
    errno = 0;
    long x = strtol(value, &end, 10);
    if (end == value || *end)
        return cg_fail(CG_EFORMAT, "%s is a whole number, not '%.*s'",
                       k->name, SHOWN, value);
    if (errno == ERANGE || x < INT_MIN || x > INT_MAX)
        return cg_fail(CG_EFORMAT, "%s = %.*s is out of range, which is "
                       "%.10g to %.10g", k->name, SHOWN, value, k->least,
                       k->most);
    CG_TRY(check_range(k, (double)x));
    *(int *)field = (int)x;
    return CG_OK;
}

static cg_err read_float(const key *k, void *field, const char *value)
{
    char *end;
    double x = strtod(value, &end);
    if (end == value || *end)
        return cg_fail(CG_EFORMAT, "%s is a number, not '%.*s'", k->name,
                       SHOWN, value);
    CG_TRY(check_range(k, x));
    *(double *)field = x;
    return CG_OK;
}

static cg_err read_bool(const key *k, void *field, const char *value)
{
    bool yes = strcmp(value, "true") == 0;
    if (!yes && strcmp(value, "false") != 0)
        return cg_fail(CG_EFORMAT, "%s is true or false, not '%.*s'", k->name,
                       SHOWN, value);
    *(bool *)field = yes;
    return CG_OK;
}

static void range_word(FILE *f, const key *k)
{
    for (int w = (int)k->least; w <= (int)k->most; w++)
        fprintf(f, "%s%s", w == (int)k->least ? "" : ", ", words[w]);
}

static cg_err read_word(const key *k, void *field, const char *value)
{
    for (int w = (int)k->least; w <= (int)k->most; w++)
        if (strcmp(words[w], value) == 0) {
            *(cg_word *)field = (cg_word)w;
            return CG_OK;
        }
    char list[256] = "";
    FILE *f = fmemopen(list, sizeof list, "w");
    if (f) {
        range_word(f, k);
        fclose(f);
    }
    return cg_fail(CG_EFORMAT, "%s is one of %s, not '%.*s'", k->name, list,
                   SHOWN, value);
}

static cg_err read_text(const key *k, void *field, const char *value)
{
    size_t n = strlen(value);
    assert(k->most < CG_CONFIG_TEXT_MAX);
    if ((double)n < k->least || (double)n > k->most)
        return cg_fail(CG_EFORMAT, "%s has %zu bytes; it can have %g to %g",
                       k->name, n, k->least, k->most);
    /* all of it: configurations are compared and copied as a whole */
    memset(field, 0, CG_CONFIG_TEXT_MAX);
    memcpy(field, value, n);
    return CG_OK;
}

static void print_int(FILE *f, const void *x)
{
    fprintf(f, "%d", *(const int *)x);
}

/* As short as reads back the same. */
static void print_float(FILE *f, const void *x)
{
    char s[40];
    int digits = 6;
    do
        snprintf(s, sizeof s, "%.*g", digits, *(const double *)x);
    while (strtod(s, NULL) != *(const double *)x && ++digits <= 17);
    fputs(s, f);
}

static void print_bool(FILE *f, const void *x)
{
    fputs(*(const bool *)x ? "true" : "false", f);
}

static void print_word(FILE *f, const void *x)
{
    fputs(words[*(const cg_word *)x], f);
}

static void print_text(FILE *f, const void *x) { cg_quote(f, x, '"'); }

static bool equal_int(const void *a, const void *b)
{
    return *(const int *)a == *(const int *)b;
}

static bool equal_float(const void *a, const void *b)
{
    return *(const double *)a == *(const double *)b;
}

static bool equal_bool(const void *a, const void *b)
{
    return *(const bool *)a == *(const bool *)b;
}

static bool equal_word(const void *a, const void *b)
{
    return *(const cg_word *)a == *(const cg_word *)b;
}

static bool equal_text(const void *a, const void *b)
{
    return strcmp(a, b) == 0;
}

static void range_number(FILE *f, const key *k)
{
    fprintf(f, "%.10g .. %.10g", k->least, k->most);
}

static void range_bool(FILE *f, const key *k)
{
    (void)k;
    fputs("true, false", f);
}

static void range_text(FILE *f, const key *k)
{
    fprintf(f, "text of %g to %g bytes", k->least, k->most);
}

static const type
    type_int = {read_int, print_int, equal_int, range_number},
    type_float = {read_float, print_float, equal_float, range_number},
    type_bool = {read_bool, print_bool, equal_bool, range_bool},
    type_word = {read_word, print_word, equal_word, range_word},
    type_text = {read_text, print_text, equal_text, range_text};

/* -- keys ------------------------------------------------------------------ */

static const key keys[] = {
#define CG_WORD(id, word)
#define CG_KEY(name, type, init, least, most, line) \
    {#name, line, &type_##type, offsetof(cg_config, name), least, most},
#include "runtime/config.def"
#undef CG_WORD
#undef CG_KEY
};
#define N_KEYS (sizeof keys / sizeof *keys)

const cg_config cg_config_default = {
#define CG_WORD(id, word)
#define CG_KEY(name, type, init, least, most, line) .name = init,
#include "runtime/config.def"
#undef CG_WORD
#undef CG_KEY
};

static const void *value_of(const cg_config *c, const key *k)
{
    return (const char *)c + k->offset;
}

/* Insertions, deletions and replacements that make b of a (Levenshtein). */
static size_t distance(const char *a, const char *b)
{
    size_t row[65], n = strnlen(b, 64);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i] && i < 64; i++) {
        size_t corner = row[0]++;
        for (size_t j = 0; j < n; j++) {
            size_t best = corner + (a[i] != b[j]);
            corner = row[j + 1];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (corner + 1 < best)
                best = corner + 1;
            row[j + 1] = best;
        }
    }
    return row[n];
}

static cg_err find_key(const char *name, const key **out)
{
    const key *near = keys;
    size_t least = SIZE_MAX;
    for (const key *k = keys; k < keys + N_KEYS; k++) {
        size_t d = distance(name, k->name);
        if (d < least) {
            least = d;
            near = k;
        }
    }
    *out = near;
    return strcmp(name, near->name) == 0
               ? CG_OK
               : cg_fail(CG_EFORMAT, "there is no key '%.*s'; the nearest is "
                         "'%s'", SHOWN, name, near->name);
}

/* -- text ------------------------------------------------------------------ */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static char *skip(char *s)
{
    while (is_blank(*s))
        s++;
    return s;
}

/* Cuts the blanks at the end of what lies between s and end. */
static void trim(char *s, char *end)
{
    while (end > s && is_blank(end[-1]))
        end--;
    *end = '\0';
}

/* A comment begins the line or stands behind a blank. */
static char *comment(char *s)
{
    for (char *p = s; *p; p++)
        if (*p == '#' && (p == s || is_blank(p[-1])))
            return p;
    return s + strlen(s);
}

static cg_err read_value(cg_config *c, const key *k, char *s, cg_arena *a)
{
    char *to = (char *)c + k->offset;
    if (*s != '"') {
        trim(s, comment(s));
        return k->type->read(k, to, s);
    }
    const char *end = s;
    const char *value = cg_unquote(a, &end);
    if (!value)
        return cg_fail(CG_EFORMAT, "the value of %s is no quoted text",
                       k->name);
    end = skip((char *)end);
    if (*end && *end != '#')
        return cg_fail(CG_EFORMAT, "'%.*s' is behind the value of %s", SHOWN,
                       end, k->name);
    return k->type->read(k, to, value);
}

/* Sets what a line says; *which stays where it says nothing. */
static cg_err read_line(cg_config *c, char *line, cg_arena *a,
                        const key **which)
{
    char *name = skip(line);
    if (*name == '\0' || *name == '#')
        return CG_OK;
    char *equals = strchr(name, '=');
    if (!equals || comment(name) < equals || equals == name)
        return cg_fail(CG_EFORMAT, "'%.*s' is not 'key = value'", SHOWN, name);
    trim(name, equals);
    CG_TRY(find_key(name, which));
    return read_value(c, *which, skip(equals + 1), a);
}

static cg_err read_lines(cg_config *c, char *text, const char *where,
                         cg_arena *a)
{
    int set_in[N_KEYS] = {0}, number = 0;
    for (char *next; text; text = next) {
        const key *k = NULL;
        next = strchr(text, '\n');
        if (next)
            *next++ = '\0';
        number++;
        cg_err err = read_line(c, text, a, &k);
        if (err == CG_OK && k && set_in[k - keys])
            err = cg_fail(CG_EFORMAT, "%s is set in line %d already", k->name,
                          set_in[k - keys]);
        if (err != CG_OK)
            return cg_fail_in(err, "%s, line %d", where, number);
        if (k)
            set_in[k - keys] = number;
    }
    return CG_OK;
}

cg_err cg_config_parse(cg_config *c, const char *text, const char *where)
{
    cg_arena a;
    cg_config copy = *c;
    cg_arena_init(&a);
    cg_err err = read_lines(&copy, cg_arena_strdup(&a, text), where, &a);
    cg_arena_free(&a);
    if (err == CG_OK)
        *c = copy;
    return err;
}

cg_err cg_config_set(cg_config *c, const char *assignment)
{
    cg_arena a;
    const key *k = NULL;
    cg_config copy = *c;
    cg_arena_init(&a);
    cg_err err = read_line(&copy, cg_arena_strdup(&a, assignment), &a, &k);
    if (err == CG_OK && !k)
        err = cg_fail(CG_EUSAGE, "there is no 'key=value'");
    cg_arena_free(&a);
    if (err != CG_OK)
        return cg_fail_in(CG_EUSAGE, "--set %.*s", SHOWN, assignment);
    *c = copy;
    return CG_OK;
}

/* -- files and names ------------------------------------------------------- */

static const struct {
    const char *name, *line, *text;
} named[] = {
#define CG_NAMED(name, line, text) {#name, line, text},
#include "runtime/config_named.def"
#undef CG_NAMED
};
#define N_NAMED (sizeof named / sizeof *named)

static cg_err load_file(cg_config *c, const char *path)
{
    char *text;
    size_t size;
    cg_err err = cg_read_text(path, FILE_MAX, &text, &size);
    if (err != CG_OK)
        return cg_fail_in(err, "%s", path);
    err = strlen(text) == size
              ? cg_config_parse(c, text, path)
              : cg_fail(CG_EFORMAT, "%s: has a NUL byte: no text", path);
    cg_xfree(text);
    return err;
}

cg_err cg_config_load(cg_config *c, const char *name)
{
    struct stat st;
    /* a folder named best does not hide the configuration */
    if (strcmp(name, "-") == 0 ||
        (stat(name, &st) == 0 && !S_ISDIR(st.st_mode)))
        return load_file(c, name);
    for (size_t i = 0; i < N_NAMED; i++)
        if (strcmp(named[i].name, name) == 0)
            return cg_config_parse(c, named[i].text, name);
    char list[256] = "";
    FILE *f = fmemopen(list, sizeof list, "w");
    for (size_t i = 0; f && i < N_NAMED; i++)
        fprintf(f, "%s%s", i ? ", " : "", named[i].name);
    if (f)
        fclose(f);
    return cg_fail(CG_EUSAGE, "%s: neither a file nor one of the "
                   "configurations built in (%s)", name, list);
}

/* -- printing -------------------------------------------------------------- */

char *cg_config_print(const cg_config *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    assert(f);
    for (const key *k = keys; k < keys + N_KEYS; k++)
        if (!k->type->equal(value_of(c, k),
                            value_of(&cg_config_default, k))) {
            fprintf(f, "%s = ", k->name);
            k->type->print(f, value_of(c, k));
            fputc('\n', f);
        }
    fclose(f);
    return text;
}

const char *cg_config_differs(const cg_config *a, const cg_config *b)
{
    for (const key *k = keys; k < keys + N_KEYS; k++)
        if (!k->type->equal(value_of(a, k), value_of(b, k)))
            return k->name;
    return NULL;
}

void cg_config_help(FILE *f, const cg_config *c)
{
    for (const key *k = keys; k < keys + N_KEYS; k++) {
        fprintf(f, "%s = ", k->name);
        k->type->print(f, value_of(c, k));
        fprintf(f, "\n    %s (", k->line);
        k->type->range(f, k);
        fputs(")\n", f);
    }
    fputs("\nconfigurations built in:\n", f);
    for (size_t i = 0; i < N_NAMED; i++)
        fprintf(f, "    %-8s %s\n", named[i].name, named[i].line);
}
