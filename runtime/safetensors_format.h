/* What reader and writer of safetensors share (private to both). */
#ifndef CG_RUNTIME_SAFETENSORS_FORMAT_H
#define CG_RUNTIME_SAFETENSORS_FORMAT_H

#include <stddef.h>

#define CG_TENSORS_META "__metadata__"
#define CG_TENSORS_CRC "gennape.crc32c"
/* How a header of ours begins; eight digits follow. */
#define CG_TENSORS_START "{\"" CG_TENSORS_META "\":{\"" CG_TENSORS_CRC "\":\""
#define CG_TENSORS_CRC_AT (8 + sizeof CG_TENSORS_START - 1) /* in the file */
#define CG_TENSORS_CRC_ZERO "00000000"
#define CG_TENSORS_CRC_LEN (sizeof CG_TENSORS_CRC_ZERO - 1)

/* Bytes of a header: tens of thousands of tensors. JSON takes up to a
 * hundred times its text in memory, so a hostile one is stopped here. */
#define CG_TENSORS_HEADER_MAX ((size_t)4 << 20)

#endif
