// SPDX-License-Identifier: MIT
// What is done with whole galleries: LINEUP.LISTS, LINEUP.INFO, LINEUP.CREATE, LINEUP.ATTACH, LINEUP.DETACH, LINEUP.MAINTAIN.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "job.h"

struct look {
	struct job job;
	struct lineup_gallery_info info;
};

static void look(struct keeper_op *op, struct keeper *keeper)
{
	struct look *l = CONTAINER(op, struct look, job.op);

	lineup_gallery_info(keeper_gallery(keeper), &l->info);
}

static void begin_look(struct server *server, struct request *request, void (*done)(struct job *job))
{
	struct look *l = job_begin(server, request, sizeof(*l), NULL);

	if (!l)
		return;
	l->job.done = done;
	l->job.op.kind = KEEPER_READ;
	l->job.op.read = look;
	job_keep(&l->job);
}

static void write_lists(struct buffer *b, const struct lineup_gallery_info *info)
{
	resp_array(b, info->lists);
	for (uint32_t i = 0; i < info->lists; i++)
		resp_text(b, info->list[i]);
}

static void lists_done(struct job *job)
{
	struct look *l = CONTAINER(job, struct look, job);

	write_lists(&job->request->reply, &l->info);
	job_end(job);
}

void command_lineup_lists(struct server *server, struct request *request)
{
	begin_look(server, request, lists_done);
}

static void write_texts(struct buffer *b, struct keeper *keeper, const struct lineup_gallery_info *info)
{
	const char *refuses = lineup_gallery_refuses(keeper_gallery(keeper));
	char model_digest[2 * LINEUP_DIGEST_BYTES + 1], digest[2 * LINEUP_DIGEST_BYTES + 1];
	const char *const texts[][2] = {
		{ "name", keeper_name(keeper) },
		{ "path", keeper_path(keeper) },
		{ "store", info->store == LINEUP_STORE_FLOAT16 ? "float16" : "float32" },
		{ "model", info->model },
		{ "model_digest", model_digest },
		{ "digest", digest },
		{ "refuses", refuses ? refuses : "" },
	};

	hex_text(model_digest, info->model_digest, sizeof(info->model_digest));
	hex_text(digest, info->digest, sizeof(info->digest));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		resp_text(b, texts[i][0]);
		resp_text(b, texts[i][1]);
	}
}

static void info_done(struct job *job)
{
	const struct lineup_gallery_info *info = &CONTAINER(job, struct look, job)->info;
	struct buffer *b = &job->request->reply;
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "format", info->format },
		{ "dim", info->dim },
		{ "sequence", info->sequence },
		{ "templates", info->templates },
		{ "templates_deleted", info->templates_deleted },
		{ "subjects", info->subjects },
		{ "templates_next", info->templates_next },
		{ "segments", info->segments },
		{ "journal_bytes", info->journal_bytes },
		{ "journal_templates", info->journal_templates },
		{ "bytes", info->bytes },
		{ "scan_bytes", info->scan_bytes },
		{ "attributes", keeper_attributes_count(job->keeper) },
	};

	resp_map(b, job->request->version, ARRAY_SIZE(numbers) + 7 + 1);
	write_texts(b, job->keeper, info);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		resp_text(b, numbers[i].name);
		resp_integer(b, (long long)numbers[i].value);
	}
	resp_text(b, "lists");
	write_lists(b, info);
	job_end(job);
}

void command_lineup_info(struct server *server, struct request *request)
{
	begin_look(server, request, info_done);
}

/* ---- create, attach, detach ---- */

static void changed(void *arg, int err, const char *message)
{
	struct request *request = arg;

	if (err)
		request_fail(request, err, message);
	else
		resp_simple(&request->reply, "OK");
	request_end(request);
}

struct create {
	uint64_t dim;
	enum lineup_store store;
	char model[LINEUP_MODEL_BYTES_MAX + 1];
};

static bool create_option(struct create *c, struct args *args)
{
	const struct resp_argument *a;

	if (args_option(args, "DIM"))
		return args_u64(args, 1, LINEUP_DIM_MAX, &c->dim);
	if (args_option(args, "STORE")) {
		c->store = LINEUP_STORE_FLOAT16;
		if (args_word(args, "F16"))
			return true;
		c->store = LINEUP_STORE_FLOAT32;
		return args_word(args, "F32");
	}
	if (!args_option(args, "MODEL"))
		return false;
	a = args_next(args);
	if (!a->size || a->size >= sizeof(c->model) || memchr(a->data, '\0', a->size))
		return false;
	memcpy(c->model, a->data, a->size);
	c->model[a->size] = '\0';
	return true;
}

void command_lineup_create(struct server *server, struct request *request)
{
	struct args args = { .request = request, .at = 2, .count = request->arguments };
	const struct resp_argument *name = &request->argument[1];
	struct create c = { 0 };
	bool ok = true;

	snprintf(c.model, sizeof(c.model), "%s", server->config->create_model);
	while (ok && args_left(&args))
		ok = create_option(&c, &args);
	if (!ok || !c.dim) {
		request_error(request, METRIC_ERROR_INVALID, "ERR syntax error in LINEUP.CREATE: name DIM 1 to %d [STORE F32|F16] [MODEL id]",
			      LINEUP_DIM_MAX);
		request_end(request);
		return;
	}
	gallery_create(server->galleries, name->data, name->size, (uint32_t)c.dim, c.store, c.model, changed, request);
}

void command_lineup_attach(struct server *server, struct request *request)
{
	const struct resp_argument *name = &request->argument[1], *path = &request->argument[2];
	char text[4096];

	if (!path->size || path->size >= sizeof(text) || path->data[0] != '/' || memchr(path->data, '\0', path->size)) {
		request_error(request, METRIC_ERROR_INVALID, "ERR LINEUP.ATTACH: the path is not an absolute one of at most 4095 bytes");
		request_end(request);
		return;
	}
	memcpy(text, path->data, path->size);
	text[path->size] = '\0';
	gallery_attach(server->galleries, name->data, name->size, text, changed, request);
}

void command_lineup_detach(struct server *server, struct request *request)
{
	const struct resp_argument *name = &request->argument[1];

	gallery_detach(server->galleries, name->data, name->size, changed, request);
}

static void maintain_done(struct job *job)
{
	const struct lineup_maintain_result *r = &job->op.maintained;
	struct buffer *b = &job->request->reply;
	int version = job->request->version;
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "sealed", r->sealed },
		{ "compacted", r->compacted },
		{ "rows_dropped", r->rows_dropped },
		{ "bytes_written", r->bytes_written },
		{ "files_held", r->files_held },
	};

	if (job->op.err) {
		job_fail(job, job->op.err, job->op.message);
		return;
	}
	resp_map(b, version, ARRAY_SIZE(numbers) + 2);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		resp_text(b, numbers[i].name);
		resp_integer(b, (long long)numbers[i].value);
	}
	resp_text(b, "seconds");
	resp_double(b, version, r->seconds);
	resp_text(b, "seconds_held");
	resp_double(b, version, r->seconds_held);
	job_end(job);
}

void command_lineup_maintain(struct server *server, struct request *request)
{
	bool compact = request->arguments == 3 && argument_is(&request->argument[2], "COMPACT");
	struct job *job;

	if (request->arguments > 2 && !compact) {
		request_error(request, METRIC_ERROR_INVALID, "ERR syntax error in LINEUP.MAINTAIN: only COMPACT may follow");
		request_end(request);
		return;
	}
	job = job_begin(server, request, sizeof(*job), NULL);
	if (!job)
		return; /* the request is gone */
	job->done = maintain_done;
	job->op.kind = KEEPER_MAINTAIN;
	job->op.compact = compact ? 2 : 0;
	job_keep(job);
}
