// SPDX-License-Identifier: MIT
// The commands of Redis that read a gallery: VCARD, VDIM, VINFO, VEMB, VISMEMBER, VRANDMEMBER; and VLINKS, which there are none of.
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "job.h"

enum {
	RANDOM_COUNT_MAX = 1 << 20,
	RANDOM_TRIES = 32,       /* for each member that is picked, before the gallery is walked instead */
};

struct element_read {
	struct job job;
	char *name;
	bool raw;
	bool found;
	float *vector;
	int err;
	char message[MESSAGE_BYTES];
};

/* Calls @answer with the keeper of the gallery that is the second argument; NULL: there is none. For what needs no other thread. */
static void with_keeper(struct server *server, struct request *request,
			void (*answer)(struct request *request, struct keeper *keeper))
{
	const struct resp_argument *key = &request->argument[1];
	struct gallery *gallery = gallery_get(server->galleries, key->data, key->size);

	answer(request, gallery ? gallery_keeper(gallery) : NULL);
	if (gallery)
		gallery_put(gallery);
	request_end(request);
}

static void card(struct request *request, struct keeper *keeper)
{
	struct lineup_gallery_state state = { 0 };

	if (keeper)
		lineup_gallery_now(keeper_gallery(keeper), &state);
	resp_integer(&request->reply, (long long)state.subjects);
}

void command_vcard(struct server *server, struct request *request)
{
	with_keeper(server, request, card);
}

static void dim(struct request *request, struct keeper *keeper)
{
	if (keeper)
		resp_integer(&request->reply, keeper_info(keeper)->dim);
	else
		request_error(request, METRIC_ERROR_INVALID, "ERR key does not exist");
}

void command_vdim(struct server *server, struct request *request)
{
	with_keeper(server, request, dim);
}

static void info(struct request *request, struct keeper *keeper)
{
	struct buffer *b = &request->reply;
	struct lineup_gallery_state state;

	if (!keeper) {
		resp_null_array(b, request->version);
		return;
	}
	lineup_gallery_now(keeper_gallery(keeper), &state);
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		/* Those of a graph and of a projection are 0: there is neither. */
		{ "hnsw-m", 0 },
		{ "vector-dim", keeper_info(keeper)->dim },
		{ "projection-input-dim", 0 },
		{ "size", state.subjects },
		{ "max-level", 0 },
		{ "attributes-count", keeper_attributes_count(keeper) },
		{ "vset-uid", 0 },
		{ "hnsw-max-node-uid", 0 },
	};

	resp_map(b, request->version, ARRAY_SIZE(numbers) + 1);
	resp_simple(b, "quant-type");
	resp_simple(b, keeper_info(keeper)->store == LINEUP_STORE_FLOAT16 ? "f16" : "f32");
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		resp_simple(b, numbers[i].name);
		resp_integer(b, (long long)numbers[i].value);
	}
}

void command_vinfo(struct server *server, struct request *request)
{
	with_keeper(server, request, info);
}

void command_vlinks(struct server *server, struct request *request)
{
	(void)server;
	request_error(request, METRIC_ERROR_INVALID, "ERR VLINKS is not supported: there is no graph, every search is exact");
	request_end(request);
}

static int take_first(void *arg, const struct lineup_template *t)
{
	struct element_read *e = arg;

	if (e->vector)
		memcpy(e->vector, t->vector, keeper_info(e->job.keeper)->dim * sizeof(float));
	return 1;
}

static void read_run(struct task *task)
{
	struct element_read *e = CONTAINER(task, struct element_read, job.help);
	int err;

	message_catch(e->message);
	err = lineup_gallery_subject(keeper_gallery(e->job.keeper), e->name, take_first, e);
	message_catch(NULL);
	e->found = err == 1;
	e->err = err == 1 || err == -ENOENT ? 0 : err;
	job_back(&e->job);
}

static struct element_read *read_begin(struct server *server, struct request *request, void (*none)(struct request *request))
{
	struct element_read *e = job_begin(server, request, sizeof(*e), none);

	if (!e)
		return NULL;
	e->name = subject_name(&e->job, &request->argument[2]);
	if (e->name)
		return e;
	none(request);
	job_end(&e->job);
	return NULL;
}

static void ismember_done(struct job *job)
{
	struct element_read *e = CONTAINER(job, struct element_read, job);

	if (e->err) {
		job_fail(job, e->err, e->message);
		return;
	}
	resp_boolean(&job->request->reply, job->request->version, e->found);
	job_end(job);
}

static void no(struct request *request)
{
	resp_boolean(&request->reply, request->version, false);
}

void command_vismember(struct server *server, struct request *request)
{
	struct element_read *e = read_begin(server, request, no);

	if (!e)
		return;
	e->job.done = ismember_done;
	job_help(&e->job, read_run);
}

static void nil(struct request *request)
{
	resp_null(&request->reply, request->version);
}

static void emb_done(struct job *job)
{
	struct element_read *e = CONTAINER(job, struct element_read, job);
	uint32_t count = keeper_info(job->keeper)->dim;
	struct request *request = job->request;
	struct buffer *b = &request->reply;

	if (e->err) {
		job_fail(job, e->err, e->message);
		return;
	}
	if (!e->found) {
		nil(request);
	} else if (e->raw) {
		resp_array(b, 3);
		resp_simple(b, "f32");
		resp_bulk(b, e->vector, count * sizeof(float));
		resp_double(b, request->version, 1); /* its norm: templates are normalised when they are enrolled */
	} else {
		resp_array(b, count);
		for (uint32_t i = 0; i < count; i++)
			resp_double(b, request->version, e->vector[i]);
	}
	job_end(job);
}

void command_vemb(struct server *server, struct request *request)
{
	bool raw = request->arguments == 4 && argument_is(&request->argument[3], "RAW");
	struct element_read *e;

	if (request->arguments > 3 && !raw) {
		request_error(request, METRIC_ERROR_INVALID, "ERR invalid option");
		request_end(request);
		return;
	}
	e = read_begin(server, request, nil);
	if (!e)
		return;
	e->raw = raw;
	e->job.done = emb_done;
	e->vector = job_alloc(&e->job, keeper_info(e->job.keeper)->dim * sizeof(float));
	if (e->vector)
		job_help(&e->job, read_run);
	else
		job_fail(&e->job, -ENOMEM, NULL);
}

/* ---- VRANDMEMBER ---- */

struct random_members {
	struct job job;
	bool single;             /* no count was given: one name, and no array */
	bool repeats;            /* the count was negative: names may come twice */
	uint64_t count;
	struct lineup_gallery_state state;
	uint8_t *seen;           /* bits of subject numbers */
	uint64_t members;
	struct buffer names;     /* members bulk strings */
	int err;
	char message[MESSAGE_BYTES];
};

static int take_member(void *arg, const struct lineup_template *t)
{
	struct random_members *r = arg;
	uint32_t n = t->subject_number;

	if (!r->repeats) {
		if (n >= r->state.subject_numbers || r->seen[n / 8] >> n % 8 & 1)
			return 1;
		r->seen[n / 8] |= (uint8_t)(1u << n % 8);
	}
	resp_text(&r->names, t->subject);
	r->members++;
	return 1;
}

static uint64_t random_row(uint64_t rows)
{
	uint64_t value;

	randombytes_buf(&value, sizeof(value));
	return value % rows;
}

/* The template that is row @row, if it is there. */
static int try_row(struct random_members *r, uint64_t row)
{
	int err = lineup_gallery_row(keeper_gallery(r->job.keeper), row, take_member, r);

	return err == 1 || err == -ENOENT ? 0 : err;
}

static void pick(struct random_members *r)
{
	uint64_t want = r->repeats || r->count < r->state.subjects ? r->count : r->state.subjects, rows = r->state.rows, start;

	if (!rows || !r->state.subjects)
		return;
	/* A few are drawn; of most of them, all are gone through from a place that is drawn, as Redis does. */
	if (r->repeats || want <= r->state.subjects / 5)
		for (uint64_t tries = want * RANDOM_TRIES + RANDOM_TRIES; !r->err && r->members < want && tries; tries--)
			r->err = try_row(r, random_row(rows));
	while (!r->err && r->members < want) {
		uint64_t before = r->members;

		start = random_row(rows);
		for (uint64_t i = 0; !r->err && r->members < want && i < rows; i++)
			r->err = try_row(r, (start + i) % rows);
		if (r->members == before || !r->repeats)
			break;
	}
	if (r->names.failed)
		r->err = -ENOMEM;
}

static void random_run(struct task *task)
{
	struct random_members *r = CONTAINER(task, struct random_members, job.help);

	lineup_gallery_now(keeper_gallery(r->job.keeper), &r->state);
	r->seen = job_alloc(&r->job, r->state.subject_numbers / 8 + 1);
	if (!r->seen)
		r->err = -ENOMEM;
	message_catch(r->message);
	if (!r->err)
		pick(r);
	message_catch(NULL);
	job_back(&r->job);
}

static void random_done(struct job *job)
{
	struct random_members *r = CONTAINER(job, struct random_members, job);
	struct request *request = job->request;

	if (r->err) {
		buffer_fini(&r->names);
		job_fail(job, r->err, r->message);
		return;
	}
	if (!r->single)
		resp_array(&request->reply, r->members);
	else if (!r->members)
		nil(request);
	buffer_append(&request->reply, r->names.data, r->names.size);
	buffer_fini(&r->names);
	job_end(job);
}

void command_vrandmember(struct server *server, struct request *request)
{
	struct args args = { .request = request, .at = 2, .count = request->arguments };
	struct random_members *r;
	int64_t count = 1;

	if (request->arguments > 3)
		request_error(request, METRIC_ERROR_INVALID, "ERR wrong number of arguments for 'vrandmember' command");
	else if (args_left(&args) && !args_i64(&args, -RANDOM_COUNT_MAX, INT64_MAX, &count))
		request_error(request, METRIC_ERROR_INVALID, "ERR COUNT value is not an integer, or less than %d", -RANDOM_COUNT_MAX);
	else if (!count)
		resp_array(&request->reply, 0);
	if (request->reply.size) {
		request_end(request);
		return;
	}
	r = job_begin_with(server, request, sizeof(*r),
			   gallery_get(server->galleries, request->argument[1].data, request->argument[1].size));
	if (!r)
		return;
	r->single = request->arguments == 2;
	r->repeats = count < 0;
	r->count = (uint64_t)(count < 0 ? -count : count);
	r->job.done = random_done;
	if (r->job.gallery)
		job_help(&r->job, random_run);
	else
		random_done(&r->job);
}
