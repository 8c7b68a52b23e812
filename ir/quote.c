#include "ir/quote.h"

#include <string.h>

size_t cg_utf8_len(const char *s)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t n = u[0] < 0x80   ? 1
               : u[0] < 0xc2 ? 0
               : u[0] < 0xe0 ? 2
               : u[0] < 0xf0 ? 3
               : u[0] < 0xf5 ? 4
                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((u[i] & 0xc0) != 0x80)
            return 0;
    /* overlong forms, surrogates, beyond U+10FFFF */
    if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ||
        (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
        return 0;
    return n;
}

size_t cg_quote_next(const char **s, char quote, char out[8])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char c = (unsigned char)**s;
    size_t n = cg_utf8_len(*s);
    if (n > 1) {
        memcpy(out, *s, n);
        *s += n;
        return n;
    }
    (*s)++;
    out[0] = '\\';
    if (c == (unsigned char)quote || c == '\\') {
        out[1] = (char)c;
        return 2;
    }
    if (c == '\n' || c == '\t') {
        out[1] = c == '\n' ? 'n' : 't';
        return 2;
    }
    if (n == 0 || c < 0x20 || c == 0x7f) {
        out[1] = 'x';
        out[2] = hex[c >> 4];
        out[3] = hex[c & 15];
        return 4;
    }
    out[0] = (char)c;
    return 1;
}

void cg_quote(FILE *f, const char *s, char quote)
{
    char out[8];
    fputc(quote, f);
    while (*s)
        fwrite(out, 1, cg_quote_next(&s, quote, out), f);
    fputc(quote, f);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* One escape behind its backslash; 0 is no escape, since NUL cannot be one. */
static char unescape(const char **p, char quote)
{
    char c = *(*p)++;
    if (c == quote || c == '\\')
        return c;
    if (c == 'n' || c == 't')
        return c == 'n' ? '\n' : '\t';
    if (c != 'x')
        return 0;
    int high = hex_digit((*p)[0]);
    int low = high < 0 ? -1 : hex_digit((*p)[1]);
    if (low < 0)
        return 0;
    *p += 2;
    return (char)(high << 4 | low);
}

char *cg_unquote(cg_arena *a, const char **p)
{
    char quote = *(*p)++;
    const char *end = *p;
    while (*end && *end != '\n' && *end != quote)
        end += *end == '\\' && end[1] ? 2 : 1;
    if (*end != quote)
        return NULL;
    char *out = cg_arena_alloc(a, (size_t)(end - *p) + 1), *w = out;
    while (*p < end) {
        char c = *(*p)++;
        if (c == '\\' && !(c = unescape(p, quote)))
            return NULL;
        *w++ = c;
    }
    ++*p;
    return out;
}
