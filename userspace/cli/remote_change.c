// SPDX-License-Identifier: MIT
// What a gallery of lineupd is, and changes of it: LINEUP.INFO, CREATE, ENROL, DELETE, MAINTAIN.
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "remote_wire.h"

static int ask_info(struct remote *r, redisReply **reply)
{
	struct remote_command c = { 0 };
	int status;

	command_begin(r->cli, &c, "LINEUP.INFO");
	command_text(r->cli, &c, r->name);
	status = remote_ask(r, &c, reply);
	command_fini(&c);
	return status;
}

static void read_info(const redisReply *reply, struct lineup_gallery_info *info)
{
	const redisReply *lists = reply_field(reply, "lists");

	*info = (struct lineup_gallery_info){
		.format = (uint32_t)reply_unsigned(reply, "format"),
		.dim = (uint32_t)reply_unsigned(reply, "dim"),
		.store = strcmp(reply_text(reply, "store"), "float16") ? LINEUP_STORE_FLOAT32 : LINEUP_STORE_FLOAT16,
		.sequence = reply_unsigned(reply, "sequence"),
		.templates = reply_unsigned(reply, "templates"),
		.templates_deleted = reply_unsigned(reply, "templates_deleted"),
		.subjects = reply_unsigned(reply, "subjects"),
		.templates_next = reply_unsigned(reply, "templates_next"),
		.segments = (uint32_t)reply_unsigned(reply, "segments"),
		.journal_bytes = reply_unsigned(reply, "journal_bytes"),
		.journal_templates = reply_unsigned(reply, "journal_templates"),
		.bytes = reply_unsigned(reply, "bytes"),
		.scan_bytes = reply_unsigned(reply, "scan_bytes"),
	};
	snprintf(info->model, sizeof(info->model), "%s", reply_text(reply, "model"));
	for (size_t i = 0; lists && lists->type == REDIS_REPLY_ARRAY && i < lists->elements && i < LINEUP_LISTS_MAX; i++)
		snprintf(info->list[info->lists++], sizeof(info->list[0]), "%s",
			 lists->element[i]->str ? lists->element[i]->str : "");
}

int remote_info(struct remote *r, const char *model, struct lineup_gallery_info *info)
{
	redisReply *reply = NULL;
	int status = ask_info(r, &reply);

	if (status)
		return status;
	read_info(reply, info);
	if (!info->dim || !reply_hex(reply, "digest", info->digest, sizeof(info->digest)) ||
	    !reply_hex(reply, "model_digest", info->model_digest, sizeof(info->model_digest)))
		status = cli_fail(r->cli, "lineupd at %s: a reply that is not understood; is it of another version?", r->address);
	else if (model && strcmp(model, info->model) != 0)
		status = cli_fail(r->cli, "lineup://%s: holds templates of the model \"%s\", not of \"%s\"", r->name, info->model,
				  model);
	freeReplyObject(reply);
	return status;
}

int remote_exists(struct remote *r, bool *exists)
{
	struct remote_command c = { 0 };
	redisReply *reply = NULL;
	int status;

	command_begin(r->cli, &c, "EXISTS");
	command_text(r->cli, &c, r->name);
	status = remote_ask(r, &c, &reply);
	command_fini(&c);
	if (status)
		return status;
	*exists = reply->integer != 0;
	freeReplyObject(reply);
	return 0;
}

int remote_create(struct remote *r, uint32_t dim, enum lineup_store store, const char *model)
{
	struct remote_command c = { 0 };
	redisReply *reply = NULL;
	int status;

	command_begin(r->cli, &c, "LINEUP.CREATE");
	command_text(r->cli, &c, r->name);
	command_text(r->cli, &c, "DIM");
	command_unsigned(r->cli, &c, dim);
	command_text(r->cli, &c, "STORE");
	command_text(r->cli, &c, store == LINEUP_STORE_FLOAT16 ? "F16" : "F32");
	if (model) {
		command_text(r->cli, &c, "MODEL");
		command_text(r->cli, &c, model);
	}
	status = remote_ask(r, &c, &reply);
	command_fini(&c);
	if (reply)
		freeReplyObject(reply);
	return status;
}

static void add_rows(struct cli *cli, struct remote_command *c, const struct remote_rows *rows)
{
	const struct lineup_matrix *m = &rows->vectors;
	bool wide = m->dtype == LINEUP_FLOAT64, expire = false;

	command_text(cli, c, "ROWS");
	command_unsigned(cli, c, m->rows);
	command_text(cli, c, wide ? "F64" : "FP32");
	command_data(cli, c, m->data, m->rows * m->dim * (wide ? sizeof(double) : sizeof(float)));
	if (rows->subjects) {
		command_text(cli, c, "SUBJECTS");
		for (uint64_t i = 0; i < m->rows; i++)
			command_text(cli, c, rows->subjects[i]);
	}
	if (rows->row_lists) {
		command_text(cli, c, "ROWLISTS");
		for (uint64_t i = 0; i < m->rows; i++)
			command_text(cli, c, rows->row_lists[i]);
	}
	for (uint64_t i = 0; i < m->rows; i++)
		expire |= rows->expires[i] != 0;
	if (!expire)
		return;
	command_text(cli, c, "ROWEXPIRES");
	for (uint64_t i = 0; i < m->rows; i++)
		if (rows->expires[i])
			command_number(cli, c, rows->expires[i]);
		else
			command_text(cli, c, "never");
}

int remote_enrol(struct remote *r, const struct remote_rows *rows, struct lineup_enrol_result *result)
{
	struct remote_command c = { 0 };
	redisReply *reply = NULL;
	int status;

	command_begin(r->cli, &c, "LINEUP.ENROL");
	command_text(r->cli, &c, r->name);
	command_text(r->cli, &c, "OPID");
	command_hex(r->cli, &c, rows->op_id, LINEUP_OP_ID_BYTES);
	for (uint32_t i = 0; i < rows->lists->count; i++) {
		command_text(r->cli, &c, "LIST");
		command_text(r->cli, &c, rows->lists->name[i]);
	}
	command_text(r->cli, &c, "MODEL");
	command_hex(r->cli, &c, rows->model_digest, LINEUP_DIGEST_BYTES);
	add_rows(r->cli, &c, rows);
	status = remote_insist(r, &c, &reply);
	command_fini(&c);
	if (status)
		return status;
	*result = (struct lineup_enrol_result){
		.sequence = reply_unsigned(reply, "sequence"), .template_first = reply_unsigned(reply, "template_first"),
		.rows = reply_unsigned(reply, "rows"), .repeated = reply_unsigned(reply, "repeated") != 0,
	};
	memcpy(result->op_id, rows->op_id, sizeof(result->op_id));
	freeReplyObject(reply);
	return 0;
}

int remote_delete(struct remote *r, const struct lineup_delete_options *options, struct lineup_delete_result *result)
{
	struct remote_command c = { 0 };
	redisReply *reply = NULL;
	uint8_t op_id[LINEUP_OP_ID_BYTES];
	int status;

	memcpy(op_id, options->op_id, sizeof(op_id));
	if (sodium_is_zero(op_id, sizeof(op_id)))
		randombytes_buf(op_id, sizeof(op_id));
	command_begin(r->cli, &c, "LINEUP.DELETE");
	command_text(r->cli, &c, r->name);
	command_text(r->cli, &c, options->what == LINEUP_DELETE_SUBJECT ? "SUBJECT" : "TEMPLATE");
	if (options->what == LINEUP_DELETE_SUBJECT)
		command_text(r->cli, &c, options->subject);
	else
		command_unsigned(r->cli, &c, options->template_id);
	command_text(r->cli, &c, "OPID");
	command_hex(r->cli, &c, op_id, sizeof(op_id));
	status = remote_insist(r, &c, &reply);
	command_fini(&c);
	if (status)
		return status;
	*result = (struct lineup_delete_result){
		.sequence = reply_unsigned(reply, "sequence"), .rows = reply_unsigned(reply, "rows"),
		.repeated = reply_unsigned(reply, "repeated") != 0,
	};
	memcpy(result->op_id, op_id, sizeof(op_id));
	freeReplyObject(reply);
	return 0;
}

int remote_compact(struct remote *r, struct lineup_compact_result *result)
{
	struct lineup_gallery_info info;
	struct remote_command c = { 0 };
	redisReply *reply = NULL;
	int status = remote_info(r, NULL, &info);

	if (status)
		return status;
	*result = (struct lineup_compact_result){ .bytes_before = info.bytes };
	command_begin(r->cli, &c, "LINEUP.MAINTAIN");
	command_text(r->cli, &c, r->name);
	command_text(r->cli, &c, "COMPACT");
	status = remote_ask(r, &c, &reply);
	command_fini(&c);
	if (status)
		return status;
	result->rows_dropped = reply_unsigned(reply, "rows_dropped");
	result->files_held = (uint32_t)reply_unsigned(reply, "files_held");
	freeReplyObject(reply);
	status = remote_info(r, NULL, &info);
	result->bytes_after = info.bytes;
	return status;
}
