/* SPDX-License-Identifier: MIT */
/* What the readers of the vector formats tell lineup_vectors_open about a file. */
#ifndef LINEUP_VECTORS_H
#define LINEUP_VECTORS_H

#include "source.h"

enum lineup_vectors_values {
	LINEUP_VALUES_FLOAT32,
	LINEUP_VALUES_FLOAT32_SWAPPED,
	LINEUP_VALUES_FLOAT64,
	LINEUP_VALUES_FLOAT64_SWAPPED,
	LINEUP_VALUES_FLOAT16,
	LINEUP_VALUES_FLOAT16_SWAPPED,
	LINEUP_VALUES_BYTES,
	LINEUP_VALUES_COUNT,
};

struct lineup_vectors_layout {
	uint64_t rows;                      /* UINT64_MAX: only the end will tell */
	uint32_t dim;                       /* 1 to LINEUP_DIM_MAX */
	uint32_t prefix;                    /* bytes before the values of each row: 4 if it begins with its own dimension, or 0 */
	enum lineup_vectors_values values;
};

/* Reads and skips the header of a .npy file. -EINVAL, logged, for every file that is not 2-D, C order, of a float type. */
int lineup_vectors_npy(struct lineup_source *source, struct lineup_vectors_layout *layout);

#endif
