/* SPDX-License-Identifier: MIT */
/* Reads a file of vectors from memory and checks what must hold for any bytes: shared by the targets of each format. */
#ifndef FUZZ_VECTORS_H
#define FUZZ_VECTORS_H

#include "fuzz.h"

enum { FUZZ_BATCH = 3 };

/* Every value is finite and some value of each row is not zero. */
static inline void fuzz_rows_check(const void *data, uint64_t rows, uint32_t dim, enum lineup_dtype dtype)
{
	const double *wide = data;
	const float *narrow = data;

	for (uint64_t r = 0; r < rows; r++) {
		bool any = false;

		for (uint32_t i = 0; i < dim; i++) {
			double value = dtype == LINEUP_FLOAT64 ? wide[r * dim + i] : (double)narrow[r * dim + i];

			CHECK(isfinite(value));
			any |= value != 0;
		}
		CHECK(any);
	}
}

static inline void fuzz_vectors(const char *name, const char *shown, const uint8_t *data, size_t size)
{
	struct lineup_ctx *ctx = fuzz_begin(shown);
	struct lineup_vectors *v = NULL;
	uint64_t rows = 0, count, known;
	uint32_t dim;
	void *out;
	int err;

	err = lineup_vectors_open_memory(ctx, name, data, size, &v);
	if (err) {
		CHECK(err == -EINVAL && !v && fuzz_errors == 1);
		return;
	}
	dim = lineup_vectors_dim(v);
	known = lineup_vectors_rows(v);
	CHECK(dim >= 1 && dim <= LINEUP_DIM_MAX && known <= size);
	/* Not a row more than asked for: the address sanitizer watches the end of @out. */
	out = malloc((size_t)FUZZ_BATCH * dim * (lineup_vectors_dtype(v) == LINEUP_FLOAT64 ? 8 : 4));
	CHECK(out);
	do {
		count = FUZZ_BATCH + 1;
		err = lineup_vectors_read(v, out, FUZZ_BATCH, &count);
		if (err) {
			CHECK(err == -EINVAL && fuzz_errors == 1 && count == FUZZ_BATCH + 1);
			CHECK(lineup_vectors_read(v, out, FUZZ_BATCH, &count) == -EINVAL && fuzz_errors == 1);
			break;
		}
		CHECK(count <= FUZZ_BATCH && !fuzz_errors);
		fuzz_rows_check(out, count, dim, lineup_vectors_dtype(v));
		rows += count;
		CHECK(rows <= known);
	} while (count);
	CHECK(err || rows == known);
	free(out);
	lineup_vectors_close(v);
}

#endif
