/* CRC-32C (Castagnoli; RFC 3720 appendix B.4): the checksum of our containers
 * and of TFRecord files. */
#ifndef CG_BASE_CRC32C_H
#define CG_BASE_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of n bytes behind those whose checksum is `crc`; 0 to start. */
uint32_t cg_crc32c(uint32_t crc, const void *p, size_t n);

/* The same by tables, on any machine (the one above uses the processor's
 * instruction where there is one). */
uint32_t cg_crc32c_tables(uint32_t crc, const void *p, size_t n);

/* -- crc32c_x86.c, or crc32c_stub.c elsewhere -- */
bool cg_crc32c_has_instruction(void);
uint32_t cg_crc32c_instruction(uint32_t crc, const void *p, size_t n);

#endif
