#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SENTENCE_MAX 1024

static _Thread_local char sentence[SENTENCE_MAX];

const char *cg_error(void) { return sentence; }

/* Length of the UTF-8 sequence at s (left bytes), 0 if it is not one. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
    size_t n = s[0] < 0x80   ? 1
               : s[0] < 0xc2 ? 0
               : s[0] < 0xe0 ? 2
               : s[0] < 0xf0 ? 3
               : s[0] < 0xf5 ? 4
                             : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* Names come from files: a newline or an escape sequence in one must not
 * break the one-line promise or a terminal. */
static void set_sentence(const char *raw)
{
    size_t left = strlen(raw), w = 0;
    const unsigned char *s = (const unsigned char *)raw;
    while (left && w + 8 < SENTENCE_MAX) {
        size_t n = utf8_len(s, left);
        if (n == 0 || *s < 0x20 || *s == 0x7f) {
            w += (size_t)snprintf(sentence + w, 5, "\\x%02x", *s);
            n = 1;
        } else {
            memcpy(sentence + w, s, n);
            w += n;
        }
        s += n;
        left -= n;
    }
    sentence[w] = '\0';
}

cg_err cg_fail(cg_err code, const char *fmt, ...)
{
    char raw[SENTENCE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    set_sentence(raw);
    return code;
}

cg_err cg_fail_in(cg_err code, const char *fmt, ...)
{
    char raw[2 * SENTENCE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(raw, SENTENCE_MAX, fmt, ap);
    va_end(ap);
    if (n < 0 || n >= SENTENCE_MAX)
        n = SENTENCE_MAX - 1;
    snprintf(raw + n, sizeof raw - (size_t)n, ": %s", sentence);
    set_sentence(raw);
    return code;
}
