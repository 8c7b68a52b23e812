/* Processors without an instruction for it. */
#include "base/crc32c.h"

bool cg_crc32c_has_instruction(void) { return false; }

uint32_t cg_crc32c_instruction(uint32_t crc, const void *p, size_t n)
{
    return cg_crc32c_tables(crc, p, n);
}
