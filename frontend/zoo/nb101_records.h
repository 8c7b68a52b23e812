/* NAS-Bench-101's published results: nasbench_only108.tfrecord and
 * nasbench_full.tfrecord (https://github.com/google-research/nasbench).
 *
 * A TFRecord file is a run of records: length (8 bytes), its checksum (4),
 * the data, its checksum (4); a checksum is the CRC-32C, rotated right by 15
 * bits, plus 0xa282ead8. Here the data are a JSON array [module hash, epochs,
 * adjacency, operations, metrics], the metrics a base64 of the protobuf
 * message ModelMetrics of nasbench/lib/model_metrics.proto. */
#ifndef CG_FRONTEND_ZOO_NB101_RECORDS_H
#define CG_FRONTEND_ZOO_NB101_RECORDS_H

#include "frontend/zoo/nb101.h"

#define CG_NB101_METRICS 4
/* "test_accuracy", "validation_accuracy", "train_accuracy" (fractions),
 * "training_time" (seconds). */
extern const char *const cg_nb101_metric_names[CG_NB101_METRICS];

/* One training run. */
typedef struct cg_nb101_record {
    char key[CG_NB101_KEY]; /* module hash */
    int epochs;             /* trained for: 4, 12, 36 or 108 */
    cg_nb101_cell cell;
    double metric[CG_NB101_METRICS]; /* at the end of it */
} cg_nb101_record;

/* Calls `each` for every record, in order, until it returns an error. What is
 * wrong with one record alone is given to it as `why` (r is NULL then); a file
 * that is cut short or damaged is an error with the record's number. */
cg_err cg_nb101_read_records(const char *path,
                             cg_err (*each)(void *user, uint64_t number,
                                            const cg_nb101_record *r,
                                            const char *why),
                             void *user);

#endif
