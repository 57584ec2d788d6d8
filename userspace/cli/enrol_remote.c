// SPDX-License-Identifier: MIT
// lineup enrol by lineupd: the rows in operations of a bounded size, whose ids follow from the first one's.
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "enrol.h"

/*
 * Operation 0 has the id that was given, or a random one; operation i has BLAKE2b-128 of that id and i, 8 bytes,
 * little-endian. Which rows it has depends on the file alone, so that a repetition of the whole, with the first id, is a
 * repetition of each.
 */
enum { OPERATION_BYTES = 4 << 20, OPERATION_ROWS_MAX = 16384 };

struct rows {
	struct remote *remote;
	struct lineup_gallery_info info;
	char (*lists)[LINEUP_LISTS_MAX * (LINEUP_LIST_NAME_BYTES_MAX + 1)]; /* [rows_max] */
	const char **list_pointers;
	bool any_list;
	uint64_t operations;
};

static void operation_id(const struct enrolment *e, uint64_t operation, uint8_t id[LINEUP_OP_ID_BYTES])
{
	uint8_t text[LINEUP_OP_ID_BYTES + 8];

	memcpy(text, e->options.op_id, LINEUP_OP_ID_BYTES);
	for (int i = 0; i < 8; i++)
		text[LINEUP_OP_ID_BYTES + i] = (uint8_t)(operation >> 8 * i);
	if (operation)
		crypto_generichash(id, LINEUP_OP_ID_BYTES, text, sizeof(text), NULL, 0);
	else
		memcpy(id, e->options.op_id, LINEUP_OP_ID_BYTES);
}

static int open_gallery(struct cli *cli, struct enrolment *e, struct rows *rows)
{
	bool exists = false;
	int status = remote_exists(rows->remote, &exists);

	if (!status && !exists)
		status = remote_create(rows->remote, lineup_vectors_dim(e->vectors.file), (enum lineup_store)e->store, e->model);
	status = status ? status : remote_info(rows->remote, e->model, &rows->info);
	if (!status && e->store_text && rows->info.store != e->store)
		status = cli_fail(cli, "--store: gallery %s stores the other type than %s", e->path, e->store_text);
	return status ? status : cli_vectors_check_dim(cli, &e->vectors, e->path, rows->info.dim);
}

static int prepare(struct cli *cli, struct enrolment *e, struct rows *rows)
{
	uint64_t most = OPERATION_BYTES / (lineup_vectors_dim(e->vectors.file) * sizeof(float));
	int status = cli_vectors_prepare(cli, &e->vectors, most < OPERATION_ROWS_MAX ? most : OPERATION_ROWS_MAX);

	status = status ? status : enrol_alloc_rows(cli, e);
	if (!status && e->subjects) {
		rows->lists = calloc(e->vectors.rows_max, sizeof(*rows->lists));
		rows->list_pointers = calloc(e->vectors.rows_max, sizeof(*rows->list_pointers));
		if (!rows->lists || !rows->list_pointers)
			status = cli_fail(cli, "no memory for the lists of %" PRIu64 " rows", e->vectors.rows_max);
	}
	return status;
}

static int read_subjects(struct cli *cli, struct enrolment *e, struct rows *rows)
{
	rows->any_list = false;
	for (uint64_t i = 0; i < e->vectors.chunk.rows; i++) {
		int status = 0;

		e->times[i] = e->expires;
		if (!e->subjects)
			continue;
		status = enrol_read_subject(cli, e, i);
		if (status)
			return status;
		rows->lists[i][0] = 0;
		rows->list_pointers[i] = rows->lists[i];
		for (uint32_t l = 0; l < e->subject.lists; l++) {
			strcat(rows->lists[i], l ? ";" : "");
			strcat(rows->lists[i], e->subject.list[l]);
			rows->any_list = true;
		}
	}
	return 0;
}

/* Sends what the chunk holds as one operation. */
static int send_chunk(struct cli *cli, struct enrolment *e, struct rows *rows, struct lineup_enrol_result *total)
{
	struct lineup_enrol_result result;
	uint8_t id[LINEUP_OP_ID_BYTES];
	struct remote_rows send = {
		.vectors = e->vectors.chunk, .op_id = id, .model_digest = rows->info.model_digest, .lists = &e->lists,
		.subjects = e->subjects ? e->name_pointers : NULL, .expires = e->times,
	};
	int status = read_subjects(cli, e, rows);

	if (status)
		return status;
	send.row_lists = rows->any_list ? rows->list_pointers : NULL;
	operation_id(e, rows->operations, id);
	status = remote_enrol(rows->remote, &send, &result);
	if (status)
		return status;
	if (!rows->operations)
		*total = result;
	else
		total->rows += result.rows;
	total->sequence = result.sequence;
	total->repeated &= result.repeated;
	rows->operations++;
	return 0;
}

static int send_all(struct cli *cli, struct enrolment *e, struct rows *rows, struct lineup_enrol_result *total)
{
	uint64_t all = lineup_vectors_rows(e->vectors.file);
	struct cli_progress progress;
	int status;

	cli_progress_begin(&progress, "enrol", CLI_ROWS);
	for (;;) {
		status = cli_vectors_next(cli, &e->vectors);
		if (status || !e->vectors.chunk.rows)
			break;
		status = send_chunk(cli, e, rows, total);
		if (status)
			break;
		cli_progress_update(&progress, e->vectors.row + e->vectors.chunk.rows, all == UINT64_MAX ? 0 : all);
	}
	cli_progress_clear();
	status = status ? status : enrol_check_end(cli, e);
	if (!status && !rows->operations)
		status = cli_fail(cli, "%s: no rows", e->vectors.path);
	return status;
}

/* What was done, and what makes it safe to do all of it again. */
static void say_rest(struct cli *cli, const struct enrolment *e, const struct rows *rows)
{
	char id[2 * LINEUP_OP_ID_BYTES + 1];

	cli_hex(id, e->options.op_id, LINEUP_OP_ID_BYTES);
	cli_fail(cli, "%" PRIu64 " operations before that are done; with --op-id %s the same command goes on from there",
		 rows->operations, id);
}

int enrol_remote(struct cli *cli, struct enrolment *e, const char *name, double started)
{
	struct lineup_enrol_result total = { 0 };
	struct rows *rows = calloc(1, sizeof(*rows));
	int status = rows ? remote_open(cli, &e->remote, name, &rows->remote) : cli_fail(cli, "no memory");

	if (sodium_is_zero(e->options.op_id, LINEUP_OP_ID_BYTES))
		randombytes_buf(e->options.op_id, LINEUP_OP_ID_BYTES);
	status = status ? status : open_gallery(cli, e, rows);
	status = status ? status : prepare(cli, e, rows);
	if (!status) {
		status = send_all(cli, e, rows, &total);
		if (status)
			say_rest(cli, e, rows);
	}
	status = status ? status : enrol_print(cli, &total, rows->operations, started);
	if (rows) {
		remote_close(rows->remote);
		free(rows->list_pointers);
		free(rows->lists);
	}
	free(rows);
	return status;
}
