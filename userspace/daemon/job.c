// SPDX-License-Identifier: MIT
// Jobs: their memory, their ways to other threads and back, and the errors they end with.
#include "job.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job_chunk {
	struct job_chunk *next;
	size_t bytes;
	max_align_t data[];
};

static void op_done(struct task *task)
{
	struct job *job = CONTAINER(task, struct job, op.task);

	job->done(job);
}

void *job_begin_with(struct server *server, struct request *request, size_t bytes, struct gallery *gallery)
{
	struct job *job = calloc(1, bytes);

	if (!job) {
		if (gallery)
			gallery_put(gallery);
		request_fail(request, -ENOMEM, NULL);
		request_end(request);
		return NULL;
	}
	job->server = server;
	job->request = request;
	job->gallery = gallery;
	job->keeper = gallery ? gallery_keeper(gallery) : NULL;
	job->op.task.run = op_done;
	request->work = job;
	return job;
}

void *job_begin(struct server *server, struct request *request, size_t bytes, void (*none)(struct request *request))
{
	const struct command *command = request->command;
	const struct resp_argument *key = &request->argument[command->key];
	struct gallery *gallery = NULL;

	if (command->key) {
		gallery = gallery_get(server->galleries, key->data, key->size);
		if (!gallery) {
			if (none)
				none(request);
			else
				request_error(request, METRIC_ERROR_INVALID, "ERR there is no such gallery");
			request_end(request);
			return NULL;
		}
	}
	return job_begin_with(server, request, bytes, gallery);
}

void job_free(struct job *job)
{
	struct job_chunk *chunk, *next;

	for (chunk = job->chunks; chunk; chunk = next) {
		next = chunk->next;
		explicit_bzero(chunk->data, chunk->bytes);
		free(chunk);
	}
	if (job->gallery)
		gallery_put(job->gallery);
	job->request->work = NULL;
	free(job);
}

void job_end(struct job *job)
{
	struct request *request = job->request;

	if (!job->timed)
		metrics_latency(METRIC_OTHER_NS, now_ns() - request->begun_ns);
	job_free(job);
	request_end(request);
}

void job_fail(struct job *job, int err, const char *message)
{
	request_fail(job->request, err, message);
	job_end(job);
}

void *job_alloc(struct job *job, size_t bytes)
{
	struct job_chunk *chunk = bytes < SIZE_MAX / 2 ? calloc(1, sizeof(*chunk) + bytes) : NULL;

	if (!chunk)
		return NULL;
	chunk->bytes = bytes;
	chunk->next = job->chunks;
	job->chunks = chunk;
	return chunk->data;
}

char *job_text(struct job *job, const char *data, size_t size)
{
	char *text = job_alloc(job, size + 1);

	if (text)
		memcpy(text, data, size);
	return text;
}

void job_keep(struct job *job)
{
	int err;

	if (job->op.kind == KEEPER_READ)
		request_pending(job->request, REQUEST_QUEUED);
	err = keeper_submit(job->keeper, &job->op); /* the keeper's from here on, if it is 0 */
	if (err)
		job_fail(job, err, "too many operations of this gallery wait");
}

void job_help(struct job *job, void (*run)(struct task *task))
{
	int err;

	request_pending(job->request, REQUEST_ALONE);
	job->help.run = run;
	err = helper_submit(job->server->helper, &job->help);
	if (err)
		job_fail(job, err, "too many requests wait");
}

void job_back(struct job *job)
{
	loop_post(job->server->loop, &job->op.task);
}

void request_error(struct request *request, enum metric cause, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	metrics_count(cause, 1);
	buffer_fini(&request->reply); /* what was begun of an answer */
	resp_error(&request->reply, "%s", text);
}

void request_fail(struct request *request, int err, const char *message)
{
	static const struct {
		int err;
		enum metric cause;
		const char *code, *message;
	} known[] = {
		{ -EBUSY, METRIC_ERROR_BUSY, "BUSY", "too much waits" },
		{ -ETIMEDOUT, METRIC_ERROR_DEADLINE, "BUSY", "there was no room in a scan within search.deadline_ms" },
		{ -EROFS, METRIC_ERROR_STORAGE, "READONLY", "the gallery takes no changes" },
		{ -EMEDIUMTYPE, METRIC_ERROR_INVALID, "MODEL", "the gallery is of another model" },
		{ -EIO, METRIC_ERROR_STORAGE, "STORAGE", "input/output error" },
		{ -ENOSPC, METRIC_ERROR_STORAGE, "STORAGE", "no space left" },
		{ -EDQUOT, METRIC_ERROR_STORAGE, "STORAGE", "no space left" },
		{ -EBADMSG, METRIC_ERROR_STORAGE, "STORAGE", "damaged data" },
		{ -ENOMEM, METRIC_ERROR_MEMORY, "ERR", "out of memory" },
		{ -ECANCELED, METRIC_ERROR_INTERNAL, "ERR", "cancelled: the gallery is being closed, or lineupd ends" },
		{ -EINVAL, METRIC_ERROR_INVALID, "ERR", "invalid" },
		{ -ENOENT, METRIC_ERROR_INVALID, "ERR", "there is no such thing" },
		{ -EEXIST, METRIC_ERROR_INVALID, "ERR", "it exists" },
		{ -E2BIG, METRIC_ERROR_LIMIT, "ERR", "over a limit" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].err == err) {
			request_error(request, known[i].cause, "%s %s", known[i].code, message && message[0] ? message : known[i].message);
			return;
		}
	request_error(request, METRIC_ERROR_INTERNAL, "ERR %s", message && message[0] ? message : strerror(-err));
}
