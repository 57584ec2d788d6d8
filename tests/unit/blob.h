/* SPDX-License-Identifier: MIT */
/* Files of vectors made in memory, and what the tests of their readers share. Include after cmocka.h. */
#ifndef BLOB_H
#define BLOB_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "internal.h"
#include "said.h"

enum { BLOB_MAX = 200 << 10, VALUES_MAX = 8192 };

struct blob {
	uint8_t data[BLOB_MAX];
	size_t size;
};

static struct said said;
static struct blob blob;

/* ---- making files ----------------------------------------------------------------------------------------------- */

static inline void put(const void *data, size_t size)
{
	assert_true(blob.size + size <= sizeof(blob.data));
	memcpy(blob.data + blob.size, data, size);
	blob.size += size;
}

static inline void put_int(int32_t value)
{
	put(&value, sizeof(value));
}

static inline void put_float(float value)
{
	put(&value, sizeof(value));
}

static inline void put_reversed(const void *value, size_t size)
{
	for (size_t i = size; i; i--)
		put((const uint8_t *)value + i - 1, 1);
}

/* A .npy file of version @major up to its rows; @length replaces the header's length unless 0. */
static inline void npy_begin_with(int major, const char *dict, uint32_t length)
{
	uint8_t version[] = { (uint8_t)major, 0 };

	if (!length)
		length = (uint32_t)strlen(dict);
	blob.size = 0;
	put("\x93NUMPY", 6);
	put(version, 2);
	put(&length, major == 1 ? 2 : 4);
	put(dict, strlen(dict));
}

static inline void npy_begin(const char *descr, const char *shape)
{
	char dict[512];

	snprintf(dict, sizeof(dict), "{'descr': '%s', 'fortran_order': False, 'shape': %s, }    \n", descr, shape);
	npy_begin_with(1, dict, 0);
}

static inline void vecs_row(int32_t dim, float value)
{
	put_int(dim);
	for (int32_t i = 0; i < dim; i++)
		put_float(value + (float)i);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static inline struct lineup_vectors *open_blob(const char *name)
{
	struct lineup_vectors *v = NULL;

	assert_int_equal(lineup_vectors_open_memory(said.ctx, name, blob.data, blob.size, &v), 0);
	return v;
}

/* Reads to the end or the first error, @batch rows at a time; how many rows in @rows. */
static inline int read_all(struct lineup_vectors *v, uint64_t batch, uint64_t *rows)
{
	static double data[VALUES_MAX];
	uint64_t count;
	int err;

	assert_true(batch * lineup_vectors_dim(v) <= VALUES_MAX);
	for (*rows = 0;; *rows += count) {
		err = lineup_vectors_read(v, data, batch, &count);
		if (err || !count)
			return err;
		assert_true(count <= batch);
	}
}

/* Opens the blob and reads it all: somewhere on the way it must fail with -EINVAL and one message that names the file. */
static inline void blob_refused(const char *name, const char *const *texts)
{
	const char *shown = strcmp(name, "-") ? name : "standard input";
	struct lineup_vectors *v = NULL;
	uint64_t rows;
	int err;

	err = lineup_vectors_open_memory(said.ctx, name, blob.data, blob.size, &v);
	if (err) {
		assert_null(v);
	} else {
		err = read_all(v, 1, &rows);
		lineup_vectors_close(v);
	}
	assert_int_equal(err, -EINVAL);
	assert_true(!strncmp(said.message, shown, strlen(shown)) && !strncmp(said.message + strlen(shown), ": ", 2));
	said_once(&said, texts);
}

#define BLOB_REFUSED(name, ...) blob_refused(name, (const char *const[]){ __VA_ARGS__, NULL })

static inline void opens_and_ends(const char *name, uint64_t rows)
{
	struct lineup_vectors *v = open_blob(name);
	uint64_t count;

	assert_int_equal(lineup_vectors_rows(v), rows);
	assert_int_equal(read_all(v, 1, &count), 0);
	assert_int_equal(count, rows);
	assert_int_equal(said.errors, 0);
	lineup_vectors_close(v);
}

#endif
