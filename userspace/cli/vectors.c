// SPDX-License-Identifier: MIT
// Vectors from files, a chunk at a time, in memory that stays out of core dumps and is erased.
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "cli.h"

void *cli_secret_alloc(struct cli *cli, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		cli_fail(cli, "no memory for %zu bytes", size);
		return NULL;
	}
	/* Refused where the kernel was built without core dumps: then there is nothing to keep them out of. */
	madvise(p, size, MADV_DONTDUMP);
	return p;
}

void cli_secret_free(void *p, size_t size)
{
	if (!p)
		return;
	explicit_bzero(p, size);
	munmap(p, size);
}

int cli_vectors_open(struct cli *cli, struct cli_vectors *v, const char *path)
{
	v->path = path;
	return cli_status(cli, lineup_vectors_open(cli->ctx, path, &v->file));
}

int cli_vectors_prepare(struct cli *cli, struct cli_vectors *v, uint64_t rows_max)
{
	uint64_t rows = lineup_vectors_rows(v->file);

	v->chunk.dim = lineup_vectors_dim(v->file);
	v->chunk.dtype = lineup_vectors_dtype(v->file);
	v->rows_max = rows < rows_max ? rows + !rows : rows_max;
	v->data_bytes = v->rows_max * v->chunk.dim * (v->chunk.dtype == LINEUP_FLOAT64 ? sizeof(double) : sizeof(float));
	v->data = cli_secret_alloc(cli, v->data_bytes);
	v->chunk.data = v->data;
	return v->data ? 0 : CLI_FAILED;
}

int cli_vectors_next(struct cli *cli, struct cli_vectors *v)
{
	uint64_t rows = 0;
	int err = 0;

	v->row += v->chunk.rows;
	v->chunk.rows = 0;
	/* A pipe may deliver a chunk in pieces; full chunks share passes better. */
	while (v->chunk.rows < v->rows_max) {
		size_t row_bytes = v->data_bytes / v->rows_max;

		if (cli_interrupted())
			return cli_status(cli, -ECANCELED);
		err = lineup_vectors_read(v->file, (char *)v->data + v->chunk.rows * row_bytes, v->rows_max - v->chunk.rows, &rows);
		if (err || !rows)
			break;
		v->chunk.rows += rows;
	}
	return cli_status(cli, err);
}

void cli_vectors_close(struct cli_vectors *v)
{
	cli_secret_free(v->data, v->data_bytes);
	lineup_vectors_close(v->file);
	*v = (struct cli_vectors){ 0 };
}

int cli_vectors_check_dim(struct cli *cli, const struct cli_vectors *v, const char *gallery, uint32_t dim)
{
	uint32_t has = lineup_vectors_dim(v->file);

	if (has != dim)
		return cli_fail(cli, "%s: row 0: vectors of %u components, but those of gallery %s have %u", v->path, has, gallery, dim);
	return 0;
}
