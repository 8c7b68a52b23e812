/* MD5 (RFC 1321), for keys that other people's tables are indexed by; not for
 * security. */
#ifndef CG_BASE_MD5_H
#define CG_BASE_MD5_H

#include <stddef.h>
#include <stdint.h>

#define CG_MD5_LANES 8

typedef struct cg_md5_text {
    const void *p; /* borrowed; NULL is fine with n = 0 */
    size_t n;      /* bytes */
} cg_md5_text;

/* out[i] = MD5 of text[i], for n <= CG_MD5_LANES texts at once: one digest is
 * a long chain of dependent steps, eight side by side cost about as much. */
void cg_md5(const cg_md5_text *text, size_t n, uint8_t (*out)[16]);

/* 32 lower-case hexadecimal digits, without a NUL. */
void cg_md5_hex(const uint8_t digest[16], char hex[32]);

#endif
