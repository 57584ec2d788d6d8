// SPDX-License-Identifier: MIT
// LINEUP.ENROL and LINEUP.DELETE.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commands.h"
#include "job.h"

struct enrol {
	struct job job;
	struct lineup_matrix vectors;
	char **subjects;
	char **lists;
	uint32_t list_count;
	char **row_lists;
	int64_t *expires;
	const char *subject[1];
};

static bool refuse(struct enrol *e, const char *what)
{
	request_error(e->job.request, METRIC_ERROR_INVALID, "ERR %s", what);
	return false;
}

/* The next @count arguments as text. NULL: the error is written. */
static char **take_texts(struct enrol *e, struct args *args, uint64_t count, const char *what, int (*check)(const char *text))
{
	char **texts = count <= args->count - args->at ? job_alloc(&e->job, count * sizeof(*texts)) : NULL;

	if (!texts) {
		request_error(e->job.request, METRIC_ERROR_INVALID, "ERR %s: not as many as there are rows, or no memory", what);
		return NULL;
	}
	for (uint64_t i = 0; i < count; i++) {
		const struct resp_argument *a = args_next(args);

		texts[i] = a->size <= 4096 && !memchr(a->data, '\0', a->size) ? job_text(&e->job, a->data, a->size) : NULL;
		if (!texts[i] || check(texts[i])) {
			request_error(e->job.request, METRIC_ERROR_INVALID, "ERR %s: row %llu's cannot be one", what, (unsigned long long)i);
			return NULL;
		}
	}
	return texts;
}

/* Names of lists, separated by ';'; "": none. */
static int check_lists(const char *text)
{
	while (*text) {
		char name[LINEUP_LIST_NAME_BYTES_MAX + 1];
		size_t size = strcspn(text, ";");

		if (size >= sizeof(name))
			return -EINVAL;
		memcpy(name, text, size);
		name[size] = '\0';
		if (lineup_list_check(name))
			return -EINVAL;
		text += size + (text[size] == ';');
	}
	return 0;
}

static int any_text(const char *text)
{
	(void)text;
	return 0;
}

static bool take_expiry(struct enrol *e, struct args *args, uint64_t count, bool each)
{
	char **texts = take_texts(e, args, each ? count : 1, "a time of expiry", any_text);

	if (!texts)
		return false;
	e->expires = job_alloc(&e->job, count * sizeof(*e->expires));
	if (!e->expires)
		return refuse(e, "out of memory");
	for (uint64_t i = 0; i < count; i++)
		if (lineup_time_parse(texts[each ? i : 0], time(NULL), &e->expires[i]))
			return refuse(e, "a time of expiry is a date, a number of seconds since 1970, +Nd, +Nh, +Nm, +Ns, or never");
	return true;
}

static bool take_list(struct enrol *e, const struct resp_argument *a)
{
	char *name = a->size <= LINEUP_LIST_NAME_BYTES_MAX && !memchr(a->data, '\0', a->size) ? job_text(&e->job, a->data, a->size) : NULL;

	if (!name || lineup_list_check(name))
		return refuse(e, "a list's name is 1 to 32 of A-Z a-z 0-9 _ . -");
	if (e->list_count == LINEUP_LISTS_MAX)
		return refuse(e, "more than 64 lists");
	if (!e->lists)
		e->lists = job_alloc(&e->job, LINEUP_LISTS_MAX * sizeof(*e->lists));
	if (!e->lists)
		return refuse(e, "out of memory");
	e->lists[e->list_count++] = name;
	return true;
}

/* What stands before the rows. */
static bool take_option(struct enrol *e, struct args *args, const struct resp_argument **expires)
{
	struct keeper_op *op = &e->job.op;

	if (args_option(args, "OPID"))
		return args_hex(args, op->op_id, sizeof(op->op_id)) || refuse(e, "OPID is not 32 hexadecimal digits");
	if (args_word(args, "REPLACE"))
		return op->replace = true;
	if (args_option(args, "LIST"))
		return take_list(e, args_next(args));
	if (args_option(args, "EXPIRES")) {
		*expires = args_next(args);
		return true;
	}
	if (args_option(args, "MODEL"))
		return model_fits(&e->job, args);
	if (args_option(args, "SETATTR"))
		return attributes_argument(&e->job, args_next(args));
	return refuse(e, "syntax error in LINEUP.ENROL: ROWS n FP32|F64 vectors, SUBJECTS and the rest stand behind the options");
}

static bool take_rows(struct enrol *e, struct args *args)
{
	uint64_t rows;

	if (!args_word(args, "ROWS"))
		return refuse(e, "syntax error in LINEUP.ENROL: no ROWS");
	if (args_matrix(args, &e->job, keeper_info(e->job.keeper)->dim, RESP_ARGUMENTS_MAX, &e->vectors))
		return false;
	rows = e->vectors.rows;
	while (args_left(args)) {
		if (args_word(args, "SUBJECTS")) {
			e->subjects = take_texts(e, args, rows, "SUBJECTS", lineup_subject_check);
			if (!e->subjects)
				return false;
		} else if (args_word(args, "ROWLISTS")) {
			e->row_lists = take_texts(e, args, rows, "ROWLISTS", check_lists);
			if (!e->row_lists)
				return false;
		} else if (args_word(args, "ROWEXPIRES")) {
			if (!take_expiry(e, args, rows, true))
				return false;
		} else {
			return refuse(e, "syntax error in LINEUP.ENROL: behind the rows come SUBJECTS, ROWLISTS, ROWEXPIRES");
		}
	}
	return true;
}

/* What needs names, and one name. */
static bool names_fit(struct enrol *e)
{
	const struct keeper_op *op = &e->job.op;

	if ((op->replace || op->attributes) && !e->subjects)
		return refuse(e, "REPLACE and SETATTR need SUBJECTS");
	for (uint64_t i = 1; op->attributes && i < e->vectors.rows; i++)
		if (strcmp(e->subjects[0], e->subjects[i]))
			return refuse(e, "SETATTR needs all rows to be of one subject");
	return true;
}

static void enrol_done(struct job *job)
{
	const struct lineup_enrol_result *r = &job->op.enrolled;
	struct buffer *b = &job->request->reply;
	char op_id[2 * LINEUP_OP_ID_BYTES + 1];
	int version = job->request->version;

	if (job->op.err) {
		job_fail(job, job->op.err, job->op.message);
		return;
	}
	job->timed = true;
	metrics_latency(METRIC_ENROL_NS, now_ns() - job->request->begun_ns);
	hex_text(op_id, r->op_id, sizeof(r->op_id));
	resp_map(b, version, 5);
	resp_text(b, "sequence");
	resp_integer(b, (long long)r->sequence);
	resp_text(b, "template_first");
	resp_integer(b, (long long)r->template_first);
	resp_text(b, "rows");
	resp_integer(b, (long long)r->rows);
	resp_text(b, "repeated");
	resp_integer(b, r->repeated);
	resp_text(b, "opid");
	resp_text(b, op_id);
	job_end(job);
}

void command_lineup_enrol(struct server *server, struct request *request)
{
	struct args args = { .request = request, .at = 2, .count = request->arguments };
	struct enrol *e = job_begin(server, request, sizeof(*e), NULL);
	const struct resp_argument *expires = NULL;
	struct keeper_op *op;
	bool ok = true;

	if (!e)
		return;
	op = &e->job.op;
	e->job.done = enrol_done;
	while (ok && args_left(&args) && !argument_is(&request->argument[args.at], "ROWS"))
		ok = take_option(e, &args, &expires);
	ok = ok && take_rows(e, &args) && names_fit(e);
	if (ok && expires && !e->expires) {
		struct args one = { .request = request, .at = (uint64_t)(expires - request->argument), .count = request->arguments };

		ok = take_expiry(e, &one, e->vectors.rows, false);
	}
	if (!ok) {
		job_end(&e->job);
		return;
	}
	op->kind = KEEPER_ENROL;
	op->vectors = e->vectors;
	op->subjects = (const char *const *)e->subjects;
	op->lists = (const char *const *)e->lists;
	op->list_count = e->list_count;
	op->row_lists = (const char *const *)e->row_lists;
	op->expires = e->expires;
	job_keep(&e->job);
}

static void delete_done(struct job *job)
{
	const struct lineup_delete_result *r = &job->op.deleted;
	struct buffer *b = &job->request->reply;
	char op_id[2 * LINEUP_OP_ID_BYTES + 1];
	int version = job->request->version;

	if (job->op.err) {
		job_fail(job, job->op.err, job->op.message);
		return;
	}
	hex_text(op_id, r->op_id, sizeof(r->op_id));
	resp_map(b, version, 4);
	resp_text(b, "sequence");
	resp_integer(b, (long long)r->sequence);
	resp_text(b, "rows");
	resp_integer(b, (long long)r->rows);
	resp_text(b, "repeated");
	resp_integer(b, r->repeated);
	resp_text(b, "opid");
	resp_text(b, op_id);
	job_end(job);
}

void command_lineup_delete(struct server *server, struct request *request)
{
	struct args args = { .request = request, .at = 2, .count = request->arguments };
	struct enrol *e = job_begin(server, request, sizeof(*e), NULL);
	struct keeper_op *op;
	bool ok;

	if (!e)
		return;
	op = &e->job.op;
	e->job.done = delete_done;
	if (args_option(&args, "SUBJECT")) {
		e->subject[0] = subject_name(&e->job, args_next(&args));
		ok = e->subject[0] || refuse(e, "a subject's name is 1 to 64 bytes of UTF-8 without control characters");
	} else {
		op->by_template = true;
		ok = (args_option(&args, "TEMPLATE") && args_u64(&args, 0, UINT64_MAX, &op->template_id)) ||
		     refuse(e, "syntax error in LINEUP.DELETE: SUBJECT name or TEMPLATE id");
	}
	if (ok && args_left(&args))
		ok = (args_option(&args, "OPID") && args_hex(&args, op->op_id, sizeof(op->op_id)) && !args_left(&args)) ||
		     refuse(e, "syntax error in LINEUP.DELETE: only OPID and 32 hexadecimal digits may follow");
	if (!ok) {
		job_end(&e->job);
		return;
	}
	op->kind = KEEPER_DELETE;
	op->subjects = e->subject;
	job_keep(&e->job);
}
