// SPDX-License-Identifier: MIT
// The commands of Redis that change elements, and those that need the keeper to read: VADD, VREM, VSETATTR, VGETATTR.
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "job.h"

struct element {
	struct job job;
	struct lineup_matrix vector;
	const char *name[1];
	char *text;             /* VGETATTR: the answer; NULL: none */
};

static void no_element(struct request *request)
{
	resp_boolean(&request->reply, request->version, false);
}

static void bad_name(struct request *request)
{
	request_error(request, METRIC_ERROR_INVALID, "ERR an element's name is 1 to %d bytes of UTF-8 without control characters",
		      LINEUP_SUBJECT_BYTES_MAX);
}

bool attributes_argument(struct job *job, const struct resp_argument *a)
{
	json_error_t error;
	json_t *json;

	if (a->size > DAEMON_ATTRIBUTE_BYTES_MAX) {
		request_error(job->request, METRIC_ERROR_LIMIT, "ERR attributes have %d bytes at most", DAEMON_ATTRIBUTE_BYTES_MAX);
		return false;
	}
	if (a->size) {
		json = json_loadb(a->data, a->size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
		if (!json || memchr(a->data, '\0', a->size)) {
			json_decref(json);
			request_error(job->request, METRIC_ERROR_INVALID,
				      "ERR attributes are no JSON, or name a member twice: at byte %d", error.position);
			return false;
		}
		json_decref(json);
	}
	job->op.attributes = a->data;
	job->op.attributes_size = a->size;
	return true;
}

static void vadd_done(struct job *job)
{
	struct request *request = job->request;

	if (job->op.err) {
		job_fail(job, job->op.err, job->op.message);
		return;
	}
	job->timed = true;
	metrics_latency(METRIC_ENROL_NS, now_ns() - request->begun_ns);
	resp_boolean(&request->reply, request->version, !job->op.enrolled.existed);
	job_end(job);
}

static bool vadd_option(struct element *e, struct args *args)
{
	struct request *request = e->job.request;
	uint64_t ignored;

	if (args_option(args, "SETATTR"))
		return attributes_argument(&e->job, args_next(args));
	if (args_word(args, "BIN")) {
		request_error(request, METRIC_ERROR_INVALID, "ERR BIN is not supported: vectors are kept as they are, and answers are exact");
		return false;
	}
	/* How a graph is built and vectors are quantised, which is not done here: checked, and without effect. */
	if (args_word(args, "CAS") || args_word(args, "NOQUANT") || args_word(args, "Q8"))
		return true;
	if (args_option(args, "EF") && args_u64(args, 1, 1000000, &ignored))
		return true;
	if (args_option(args, "M") && args_u64(args, 4, 4096, &ignored))
		return true;
	request_error(request, METRIC_ERROR_INVALID, "ERR invalid option after element");
	return false;
}

static void vadd_created(void *arg, int err, const char *message)
{
	struct request *request = arg;
	struct server *server = request->work;
	const struct resp_argument *key = &request->argument[1];
	struct gallery *gallery;

	request->work = NULL;
	gallery = gallery_get(server->galleries, key->data, key->size);
	if (gallery) {
		gallery_put(gallery);
		command_vadd(server, request);
		return;
	}
	request_fail(request, err ? err : -ENOENT, message);
	request_end(request);
}

/* The first VADD to a key creates the gallery. */
static void vadd_create(struct server *server, struct request *request, uint32_t dim)
{
	const struct resp_argument *key = &request->argument[1];
	const struct config *config = server->config;

	if (!config->create || server->draining) {
		request_error(request, METRIC_ERROR_INVALID, "ERR there is no such gallery, and server.create is off");
		request_end(request);
		return;
	}
	request->work = server;
	gallery_create(server->galleries, key->data, key->size, dim, LINEUP_STORE_FLOAT32, config->create_model, vadd_created, request);
}

/* Whether the library will take it: asked before a gallery comes into being for it. */
static bool vector_ok(const struct lineup_matrix *m)
{
	const float *v = m->data;
	double sum = 0;

	for (uint32_t i = 0; i < m->dim; i++)
		sum += (double)v[i] * v[i];
	return isfinite(sum) && sum > 0;
}

/* Reads what follows the key. Written errors: false. */
static bool vadd_parse(struct element *e, struct args *args)
{
	struct request *request = e->job.request;
	const struct resp_argument *a;
	bool ok = true;
	int err;

	if (args_word(args, "REDUCE")) {
		request_error(request, METRIC_ERROR_INVALID, "ERR REDUCE is not supported: scores are those of the whole vectors");
		return false;
	}
	err = args_vector(args, &e->job, &e->vector);
	a = err ? NULL : args_next(args);
	if (err == -ENOMEM) {
		request_fail(request, err, NULL);
		return false;
	}
	if (err || !a) {
		request_error(request, METRIC_ERROR_INVALID,
			      err ? "ERR invalid vector specification" : "ERR wrong number of arguments for 'vadd' command");
		return false;
	}
	if (!vector_ok(&e->vector)) {
		request_error(request, METRIC_ERROR_INVALID, "ERR the vector has a NaN, an infinity, or only zeros");
		return false;
	}
	e->name[0] = subject_name(&e->job, a);
	if (!e->name[0]) {
		bad_name(request);
		return false;
	}
	while (ok && args_left(args))
		ok = vadd_option(e, args);
	return ok;
}

void command_vadd(struct server *server, struct request *request)
{
	const struct resp_argument *key = &request->argument[1];
	struct gallery *gallery = gallery_get(server->galleries, key->data, key->size);
	struct args args = { .request = request, .at = 2, .count = request->arguments };
	struct element *e = job_begin_with(server, request, sizeof(*e), gallery);
	struct job *job;

	if (!e)
		return;
	job = &e->job;
	job->done = vadd_done;
	/* All is checked before a gallery is created for it. */
	if (!vadd_parse(e, &args) || (gallery && !dim_fits(job, &e->vector))) {
		job_end(job);
		return;
	}
	if (!gallery) {
		uint32_t dim = e->vector.dim;

		job_free(job);
		vadd_create(server, request, dim);
		return;
	}
	job->op.kind = KEEPER_ENROL;
	job->op.vectors = e->vector;
	job->op.subjects = e->name;
	job->op.replace = true;
	job_keep(job);
}

static void vrem_done(struct job *job)
{
	struct request *request = job->request;

	if (job->op.err && job->op.err != -ENOENT) {
		job_fail(job, job->op.err, job->op.message);
		return;
	}
	resp_boolean(&request->reply, request->version, !job->op.err);
	job_end(job);
}

/* A job for the element that is the second argument; NULL: answered. */
static struct element *element_begin(struct server *server, struct request *request, void (*none)(struct request *request))
{
	struct element *e = job_begin(server, request, sizeof(*e), none);

	if (!e)
		return NULL;
	e->name[0] = subject_name(&e->job, &request->argument[2]);
	e->job.op.subjects = e->name;
	if (e->name[0])
		return e;
	none(request);
	job_end(&e->job);
	return NULL;
}

void command_vrem(struct server *server, struct request *request)
{
	struct element *e = element_begin(server, request, no_element);

	if (!e)
		return;
	e->job.done = vrem_done;
	e->job.op.kind = KEEPER_DELETE;
	job_keep(&e->job);
}

void command_vsetattr(struct server *server, struct request *request)
{
	struct element *e = element_begin(server, request, no_element);

	if (!e)
		return;
	e->job.done = vrem_done; /* answers the same */
	e->job.op.kind = KEEPER_SETATTR;
	if (attributes_argument(&e->job, &request->argument[3]))
		job_keep(&e->job);
	else
		job_end(&e->job);
}

static void read_attributes(struct keeper_op *op, struct keeper *keeper)
{
	struct element *e = CONTAINER(op, struct element, job.op);
	const char *text;

	if (!keeper_attributes(keeper)) {
		keeper_refuse(op, -EIO, "the gallery's attributes cannot be opened");
		return;
	}
	text = attributes_get(keeper_attributes(keeper), e->name[0]);
	if (!text)
		return;
	e->text = job_text(&e->job, text, strlen(text));
	if (!e->text)
		op->err = -ENOMEM;
}

static void vgetattr_done(struct job *job)
{
	struct element *e = CONTAINER(job, struct element, job);
	struct request *request = job->request;

	if (job->op.err) {
		job_fail(job, job->op.err, job->op.message);
		return;
	}
	if (e->text)
		resp_text(&request->reply, e->text);
	else
		resp_null(&request->reply, request->version);
	job_end(job);
}

static void null(struct request *request)
{
	resp_null(&request->reply, request->version);
}

void command_vgetattr(struct server *server, struct request *request)
{
	struct element *e = element_begin(server, request, null);

	if (!e)
		return;
	e->job.done = vgetattr_done;
	e->job.op.kind = KEEPER_READ;
	e->job.op.read = read_attributes;
	job_keep(&e->job);
}
