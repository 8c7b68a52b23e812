/* Quoted names and strings of the .cg text: backslash escapes for the quote,
 * the backslash, control characters and bytes that are not UTF-8. Any C string
 * comes back as it was. */
#ifndef CG_IR_QUOTE_H
#define CG_IR_QUOTE_H

#include <stddef.h>
#include <stdio.h>

#include "base/arena.h"

/* Bytes of the UTF-8 character at s (NUL-terminated), 0 if it is not one. */
size_t cg_utf8_len(const char *s);

/* Writes the escaped form of the character at *s to out, moves *s behind it
 * and returns the number of bytes written. */
size_t cg_quote_next(const char **s, char quote, char out[8]);
void cg_quote(FILE *f, const char *s, char quote); /* with both quotes */

/* Reads a quoted string: *p is at the quote and ends behind the closing one.
 * NULL if it does not end on its line or has an escape that is none of ours. */
char *cg_unquote(cg_arena *a, const char **p);

#endif
