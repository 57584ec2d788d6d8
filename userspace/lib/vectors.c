// SPDX-License-Identifier: MIT
// Reads files of vectors row by row: conversion to the machine's floats, and the checks every row must pass.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"
#include "vectors.h"

struct lineup_vectors {
	struct lineup_source source;
	struct lineup_vectors_layout layout;
	uint64_t row;	  /* the next one */
	size_t row_bytes; /* in the file, prefix and all */
	int err;	  /* of a read that failed; every later one returns it in silence */
};

/* ---- values ----------------------------------------------------------------------------------------------------- */

static void float32_copy(void *out, const uint8_t *in, uint32_t dim)
{
	memcpy(out, in, dim * sizeof(float));
}

static void float32_swap(void *out, const uint8_t *in, uint32_t dim)
{
	for (uint32_t i = 0; i < dim; i++) {
		uint32_t bits;

		memcpy(&bits, in + 4 * i, 4);
		bits = __builtin_bswap32(bits);
		memcpy((uint8_t *)out + 4 * i, &bits, 4);
	}
}

static void float64_copy(void *out, const uint8_t *in, uint32_t dim)
{
	memcpy(out, in, dim * sizeof(double));
}

static void float64_swap(void *out, const uint8_t *in, uint32_t dim)
{
	for (uint32_t i = 0; i < dim; i++) {
		uint64_t bits;

		memcpy(&bits, in + 8 * i, 8);
		bits = __builtin_bswap64(bits);
		memcpy((uint8_t *)out + 8 * i, &bits, 8);
	}
}

static void float16_widen(void *out, const uint8_t *in, uint32_t dim)
{
	float *values = out;

	for (uint32_t i = 0; i < dim; i++)
		values[i] = lineup_half_to_float((uint16_t)(in[2 * i] | in[2 * i + 1] << 8));
}

static void float16_swap(void *out, const uint8_t *in, uint32_t dim)
{
	float *values = out;

	for (uint32_t i = 0; i < dim; i++)
		values[i] = lineup_half_to_float((uint16_t)(in[2 * i] << 8 | in[2 * i + 1]));
}

static void bytes_widen(void *out, const uint8_t *in, uint32_t dim)
{
	float *values = out;

	for (uint32_t i = 0; i < dim; i++)
		values[i] = in[i];
}

static const struct {
	uint32_t bytes;
	enum lineup_dtype dtype;
	void (*convert)(void *out, const uint8_t *in, uint32_t dim);
} values_of[LINEUP_VALUES_COUNT] = {
	[LINEUP_VALUES_FLOAT32] = { 4, LINEUP_FLOAT32, float32_copy },
	[LINEUP_VALUES_FLOAT32_SWAPPED] = { 4, LINEUP_FLOAT32, float32_swap },
	[LINEUP_VALUES_FLOAT64] = { 8, LINEUP_FLOAT64, float64_copy },
	[LINEUP_VALUES_FLOAT64_SWAPPED] = { 8, LINEUP_FLOAT64, float64_swap },
	[LINEUP_VALUES_FLOAT16] = { 2, LINEUP_FLOAT32, float16_widen },
	[LINEUP_VALUES_FLOAT16_SWAPPED] = { 2, LINEUP_FLOAT32, float16_swap },
	[LINEUP_VALUES_BYTES] = { 1, LINEUP_FLOAT32, bytes_widen },
};

/*
 * A magnitude's bits plus one unit of the exponent reach the sign bit exactly when the exponent is all ones. So the
 * common case, a row without fault, is two ORs a value, in any order: what a compiler can vectorise.
 */
static enum lineup_row_fault float32_fault(const float *values, uint32_t dim)
{
	uint32_t any = 0, special = 0;

	for (uint32_t i = 0; i < dim; i++) {
		uint32_t bits;

		memcpy(&bits, values + i, sizeof(bits));
		bits &= 0x7fffffff;
		any |= bits;
		special |= bits + 0x00800000;
	}
	if (!(special >> 31))
		return any ? LINEUP_ROW_OK : LINEUP_ROW_ZERO;
	for (uint32_t i = 0; i < dim; i++)
		if (isnan(values[i]))
			return LINEUP_ROW_NAN;
	return LINEUP_ROW_INF;
}

static enum lineup_row_fault float64_fault(const double *values, uint32_t dim)
{
	uint64_t any = 0, special = 0;

	for (uint32_t i = 0; i < dim; i++) {
		uint64_t bits;

		memcpy(&bits, values + i, sizeof(bits));
		bits &= UINT64_MAX >> 1;
		any |= bits;
		special |= bits + (UINT64_C(1) << 52);
	}
	if (!(special >> 63))
		return any ? LINEUP_ROW_OK : LINEUP_ROW_ZERO;
	for (uint32_t i = 0; i < dim; i++)
		if (isnan(values[i]))
			return LINEUP_ROW_NAN;
	return LINEUP_ROW_INF;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static int32_t row_dimension(const uint8_t *prefix)
{
	int32_t dim;

	memcpy(&dim, prefix, sizeof(dim));
	return dim;
}

/* .fvecs and .bvecs: no header; each row begins with its dimension, and the first one's holds for all. */
static int vecs_begin(struct lineup_source *source, enum lineup_vectors_values values,
		      struct lineup_vectors_layout *layout)
{
	uint64_t row_bytes;
	int32_t dim;
	int err;

	err = lineup_source_peek(source, sizeof(dim));
	if (err)
		return err;
	if (!source->size)
		return lineup_fail(source->ctx, -EINVAL, "%s: is empty: it has no row to tell the dimension",
				   source->name);
	if (source->size < sizeof(dim))
		return lineup_fail(source->ctx, -EINVAL,
				   "%s: row 0: is truncated: %zu of the %zu bytes of its dimension", source->name,
				   source->size, sizeof(dim));
	dim = row_dimension(source->data);
	if (dim < 1 || dim > LINEUP_DIM_MAX)
		return lineup_fail(source->ctx, -EINVAL, "%s: row 0: dimension %d is not in 1 to %d", source->name,
				   dim, LINEUP_DIM_MAX);
	layout->dim = (uint32_t)dim;
	layout->prefix = sizeof(dim);
	layout->values = values;
	layout->rows = UINT64_MAX;
	/* An incomplete last row is counted: whether it is truncated or of another dimension shows when it is read.
	 */
	row_bytes = sizeof(dim) + (uint64_t)layout->dim * values_of[values].bytes;
	if (source->bytes != UINT64_MAX)
		layout->rows = source->bytes / row_bytes + (source->bytes % row_bytes ? 1 : 0);
	return 0;
}

static bool ends_with(const char *name, const char *ending)
{
	size_t length = strlen(name), tail = strlen(ending);

	return length > tail && !strcmp(name + length - tail, ending);
}

static int sniff(struct lineup_source *source, struct lineup_vectors_layout *layout)
{
	static const uint8_t magic[] = { 0x93, 'N', 'U', 'M', 'P', 'Y' };
	int err = lineup_source_peek(source, sizeof(magic));

	if (err)
		return err;
	if (source->size >= sizeof(magic) && !memcmp(source->data, magic, sizeof(magic)))
		return lineup_vectors_npy(source, layout);
	return vecs_begin(source, LINEUP_VALUES_FLOAT32, layout);
}

/* Takes over @v, whose source is open: closes it on failure. */
static int begin(struct lineup_vectors *v, const char *path, struct lineup_vectors **vectors)
{
	struct lineup_source *source = &v->source;
	int err;

	if (!strcmp(path, "-"))
		err = sniff(source, &v->layout);
	else if (ends_with(path, ".npy"))
		err = lineup_vectors_npy(source, &v->layout);
	else if (ends_with(path, ".fvecs"))
		err = vecs_begin(source, LINEUP_VALUES_FLOAT32, &v->layout);
	else if (ends_with(path, ".bvecs"))
		err = vecs_begin(source, LINEUP_VALUES_BYTES, &v->layout);
	else
		err = lineup_fail(source->ctx, -EINVAL,
				  "%s: has no known ending; vectors are read from .npy, .fvecs and .bvecs", path);
	if (err) {
		lineup_vectors_close(v);
		return err;
	}
	v->row_bytes = v->layout.prefix + (size_t)v->layout.dim * values_of[v->layout.values].bytes;
	*vectors = v;
	return 0;
}

int lineup_vectors_open(struct lineup_ctx *ctx, const char *path, struct lineup_vectors **vectors)
{
	struct lineup_vectors *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return lineup_fail(ctx, -ENOMEM, "%s: %s", path, strerror(ENOMEM));
	err = lineup_source_open(ctx, path, &v->source);
	if (err) {
		lineup_vectors_close(v);
		return err;
	}
	return begin(v, path, vectors);
}

int lineup_vectors_open_memory(struct lineup_ctx *ctx, const char *name, const void *data, size_t size,
			       struct lineup_vectors **vectors)
{
	struct lineup_vectors *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return lineup_fail(ctx, -ENOMEM, "%s: %s", name, strerror(ENOMEM));
	err = lineup_source_open_memory(ctx, name, data, size, &v->source);
	if (err) {
		lineup_vectors_close(v);
		return err;
	}
	return begin(v, name, vectors);
}

void lineup_vectors_close(struct lineup_vectors *vectors)
{
	if (!vectors)
		return;
	lineup_source_close(&vectors->source);
	free(vectors);
}

uint32_t lineup_vectors_dim(const struct lineup_vectors *vectors)
{
	return vectors->layout.dim;
}

enum lineup_dtype lineup_vectors_dtype(const struct lineup_vectors *vectors)
{
	return values_of[vectors->layout.values].dtype;
}

uint64_t lineup_vectors_rows(const struct lineup_vectors *vectors)
{
	return vectors->layout.rows;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* Refuses the next row if it is not all there or has a dimension of its own. */
static int row_check_extent(struct lineup_vectors *v)
{
	struct lineup_source *source = &v->source;
	int32_t dim;

	if (v->layout.prefix && source->size >= v->layout.prefix) {
		dim = row_dimension(source->data);
		if (dim != (int32_t)v->layout.dim)
			return lineup_fail(source->ctx, -EINVAL,
					   "%s: row %" PRIu64 ": has dimension %d, but row 0 has %u", source->name,
					   v->row, dim, v->layout.dim);
	}
	if (source->size < v->row_bytes)
		return lineup_fail(source->ctx, -EINVAL, "%s: row %" PRIu64 ": is truncated: %zu of %zu bytes",
				   source->name, v->row, source->size, v->row_bytes);
	return 0;
}

/* 1: a row; 0: the end where only the end tells. */
static int row_read(struct lineup_vectors *v, void *out)
{
	struct lineup_source *source = &v->source;
	enum lineup_row_fault fault;
	int err;

	err = lineup_source_peek(source, v->row_bytes);
	if (err)
		return err;
	if (!source->size && v->layout.rows == UINT64_MAX)
		return 0;
	err = row_check_extent(v);
	if (err)
		return err;
	values_of[v->layout.values].convert(out, source->data + v->layout.prefix, v->layout.dim);
	if (values_of[v->layout.values].dtype == LINEUP_FLOAT64)
		fault = float64_fault(out, v->layout.dim);
	else
		fault = float32_fault(out, v->layout.dim);
	if (fault)
		return lineup_fail(source->ctx, -EINVAL, "%s: row %" PRIu64 ": %s", source->name, v->row,
				   lineup_row_fault_text(fault));
	lineup_source_skip(source, v->row_bytes);
	v->row++;
	return 1;
}

/* Nothing may follow the last of a known number of rows. Checked with their batch, so that none of it is used. */
static int end_check(struct lineup_vectors *v)
{
	int err = lineup_source_peek(&v->source, 1);

	if (!err && v->source.size)
		err = lineup_fail(v->source.ctx, -EINVAL,
				  "%s: row %" PRIu64 ": is too much: the file should end before it", v->source.name,
				  v->row);
	return err;
}

int lineup_vectors_read(struct lineup_vectors *vectors, void *data, uint64_t rows_max, uint64_t *rows)
{
	size_t out_bytes = (size_t)vectors->layout.dim * (lineup_vectors_dtype(vectors) == LINEUP_FLOAT64 ? 8 : 4);
	uint64_t count = 0;
	int err = vectors->err;

	if (err)
		return err;
	while (count < rows_max && vectors->row < vectors->layout.rows) {
		err = row_read(vectors, (uint8_t *)data + count * out_bytes);
		if (err <= 0)
			break;
		count++;
	}
	if (err >= 0 && vectors->row == vectors->layout.rows)
		err = end_check(vectors);
	if (err < 0) {
		vectors->err = err;
		return err;
	}
	*rows = count;
	return 0;
}
