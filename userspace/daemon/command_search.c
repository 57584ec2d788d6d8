// SPDX-License-Identifier: MIT
// VSIM, LINEUP.SEARCH and LINEUP.VERIFY.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "search.h"

enum { VSIM_COUNT = 10, LINEUP_K = 10 };

static void empty_array(struct request *request)
{
	resp_array(&request->reply, 0);
}

/* Ends a search that has not begun; the error is written. */
static void refuse(struct search *s)
{
	filter_destroy(s->filter);
	job_end(&s->job);
}

static bool take_filter(struct search *s, const struct resp_argument *a)
{
	struct request *request = s->job.request;
	char error[256];
	int err;

	if (a->size > DAEMON_FILTER_BYTES_MAX) {
		request_error(request, METRIC_ERROR_LIMIT, "ERR a FILTER expression has %d bytes at most", DAEMON_FILTER_BYTES_MAX);
		return false;
	}
	filter_destroy(s->filter);
	s->filter = NULL;
	s->filter_text = a;
	err = filter_compile(a->data, a->size, &s->filter, error);
	if (err == -ENOMEM)
		request_fail(request, err, NULL);
	else if (err)
		request_error(request, METRIC_ERROR_INVALID, "ERR syntax error in FILTER expression: %s", error);
	return !err;
}

static bool invalid(struct search *s, const char *what)
{
	request_error(s->job.request, METRIC_ERROR_INVALID, "ERR invalid %s", what);
	return false;
}

static bool vsim_option(struct search *s, struct args *args)
{
	uint64_t ignored;

	if (args_word(args, "WITHSCORES"))
		return s->with_scores = true;
	if (args_word(args, "WITHATTRIBS"))
		return s->with_attributes = true;
	if (args_option(args, "COUNT"))
		return args_u64(args, 1, INT64_MAX, &s->count) || invalid(s, "COUNT");
	if (args_option(args, "EPSILON"))
		return (args_double(args, &s->epsilon) && s->epsilon > 0) || invalid(s, "EPSILON");
	if (args_option(args, "FILTER"))
		return take_filter(s, args_next(args));
	/* How a graph is walked, which there is none of: checked as Redis does, and without effect. */
	if (args_option(args, "EF"))
		return args_u64(args, 1, 1000000, &ignored) || invalid(s, "EF");
	if (args_option(args, "FILTER-EF"))
		return args_u64(args, 1, INT64_MAX, &ignored) || invalid(s, "FILTER-EF");
	if (args_word(args, "TRUTH") || args_word(args, "NOTHREAD"))
		return true;
	request_error(s->job.request, METRIC_ERROR_INVALID, "ERR syntax error in VSIM command");
	return false;
}

static bool vsim_probe(struct search *s, struct args *args)
{
	int err;

	if (args_option(args, "ELE")) {
		s->element = subject_name(&s->job, args_next(args));
		if (!s->element)
			request_error(s->job.request, METRIC_ERROR_INVALID, "ERR element not found in set");
		return s->element;
	}
	err = args_vector(args, &s->job, &s->query.probes);
	if (err == -ENOMEM)
		request_fail(s->job.request, err, NULL);
	else if (err)
		request_error(s->job.request, METRIC_ERROR_INVALID, "ERR invalid vector specification");
	return !err && dim_fits(&s->job, &s->query.probes);
}

void command_vsim(struct server *server, struct request *request)
{
	struct args args = { .request = request, .at = 2, .count = request->arguments };
	struct search *s = job_begin(server, request, sizeof(*s), empty_array);
	bool ok;

	if (!s)
		return;
	s->style = SEARCH_VSIM;
	s->count = VSIM_COUNT;
	s->epsilon = 2;
	s->query.priority = LINEUP_PRIORITY_DEFAULT;
	ok = vsim_probe(s, &args);
	while (ok && args_left(&args))
		ok = vsim_option(s, &args);
	if (!ok) {
		refuse(s);
		return;
	}
	s->query.options.k = s->count < keeper_k_max(s->job.keeper) ? (uint32_t)s->count : keeper_k_max(s->job.keeper);
	search_start(s);
}

static bool take_list(struct search *s, const struct resp_argument *a)
{
	char name[LINEUP_LIST_NAME_BYTES_MAX + 1] = "", message[MESSAGE_BYTES] = "";
	uint64_t mask;
	int err = -EINVAL;

	if (a->size < sizeof(name) && !memchr(a->data, '\0', a->size)) {
		memcpy(name, a->data, a->size);
		message_catch(message);
		err = lineup_gallery_list(keeper_gallery(s->job.keeper), name, &mask);
		message_catch(NULL);
	}
	if (err)
		request_error(s->job.request, METRIC_ERROR_INVALID, "ERR %s", message[0] ? message : "invalid LIST");
	else
		s->query.options.lists |= mask;
	return !err;
}

static bool take_sequence(struct search *s, struct args *args)
{
	struct lineup_gallery_state state;
	uint64_t least;

	if (!args_u64(args, 0, UINT64_MAX, &least))
		return invalid(s, "MINSEQ");
	lineup_gallery_now(keeper_gallery(s->job.keeper), &state);
	if (state.sequence < least)
		request_error(s->job.request, METRIC_ERROR_INVALID, "ERR MINSEQ %llu: the gallery's sequence is %llu",
			      (unsigned long long)least, (unsigned long long)state.sequence);
	return state.sequence >= least;
}

static bool take_threshold(struct search *s, struct args *args)
{
	double threshold;

	if (!args_double(args, &threshold))
		return invalid(s, "THRESHOLD");
	s->query.options.threshold = (float)threshold;
	s->query.options.flags |= LINEUP_SEARCH_THRESHOLD;
	return true;
}

static bool take_number(struct search *s, struct args *args, uint64_t least, uint64_t most, uint32_t *out, const char *what)
{
	uint64_t value;

	if (!args_u64(args, least, most, &value))
		return invalid(s, what);
	*out = (uint32_t)value;
	return true;
}

static bool search_option(struct search *s, struct args *args)
{
	struct lineup_search_options *o = &s->query.options;

	if (args_option(args, "K"))
		return take_number(s, args, 1, keeper_k_max(s->job.keeper), &o->k, "K");
	if (args_option(args, "PRIORITY"))
		return take_number(s, args, 0, LINEUP_PRIORITY_MAX, &s->query.priority, "PRIORITY");
	if (args_option(args, "PER")) {
		o->per = LINEUP_PER_TEMPLATE;
		if (args_word(args, "SUBJECT"))
			o->per = LINEUP_PER_SUBJECT;
		else if (!args_word(args, "TEMPLATE"))
			return invalid(s, "PER");
		return true;
	}
	if (args_option(args, "THRESHOLD"))
		return take_threshold(s, args);
	if (args_option(args, "LIST"))
		return take_list(s, args_next(args));
	if (args_option(args, "NOW"))
		return args_i64(args, 1, INT64_MAX, &o->now) || invalid(s, "NOW");
	if (args_option(args, "MODEL"))
		return model_fits(&s->job, args);
	if (args_option(args, "MINSEQ"))
		return take_sequence(s, args);
	if (args_option(args, "FILTER"))
		return take_filter(s, args_next(args));
	if (args_word(args, "WITHATTRIBS"))
		return s->with_attributes = true;
	request_error(s->job.request, METRIC_ERROR_INVALID, "ERR syntax error in LINEUP.SEARCH: unknown option, or nothing behind it");
	return false;
}

void command_lineup_search(struct server *server, struct request *request)
{
	struct args args = { .request = request, .at = 2, .count = request->arguments };
	struct search *s = job_begin(server, request, sizeof(*s), NULL);
	uint64_t rows_max = server->config->waiting_max;
	bool ok;

	if (!s)
		return;
	s->style = SEARCH_LINEUP;
	s->query.priority = LINEUP_PRIORITY_DEFAULT;
	s->query.options.k = LINEUP_K < keeper_k_max(s->job.keeper) ? LINEUP_K : keeper_k_max(s->job.keeper);
	ok = args_word(&args, "PROBES");
	if (!ok)
		request_error(request, METRIC_ERROR_INVALID, "ERR syntax error in LINEUP.SEARCH: PROBES n FP32|F64 vectors come first");
	ok = ok && !args_matrix(&args, &s->job, keeper_info(s->job.keeper)->dim, rows_max ? rows_max : SEARCH_CELLS_MAX, &s->query.probes);
	while (ok && args_left(&args))
		ok = search_option(s, &args);
	if (ok && s->query.probes.rows * s->query.options.k > SEARCH_CELLS_MAX) {
		request_error(request, METRIC_ERROR_LIMIT, "ERR probes times K are more than %d", SEARCH_CELLS_MAX);
		ok = false;
	}
	if (ok)
		search_start(s);
	else
		refuse(s);
}

struct verify {
	struct job job;
	struct lineup_matrix probes;
	char *subject;
	int64_t now;
	struct lineup_candidate *candidates;
	int err;
	char message[MESSAGE_BYTES];
};

static void verify_run(struct task *task)
{
	struct verify *v = CONTAINER(task, struct verify, job.help);

	message_catch(v->message);
	v->err = lineup_verify(keeper_gallery(v->job.keeper), &v->probes, v->subject, v->now, v->candidates);
	message_catch(NULL);
	job_back(&v->job);
}

static void verify_done(struct job *job)
{
	struct verify *v = CONTAINER(job, struct verify, job);
	struct buffer *b = &job->request->reply;
	int version = job->request->version;

	if (v->err) {
		job_fail(job, v->err, v->message);
		return;
	}
	resp_array(b, v->probes.rows);
	for (uint64_t row = 0; row < v->probes.rows; row++) {
		resp_array(b, 3);
		resp_text(b, v->candidates[row].subject);
		resp_float(b, version, v->candidates[row].score);
		resp_integer(b, (long long)v->candidates[row].template_id);
	}
	metrics_count(METRIC_VERIFIES, v->probes.rows);
	job_end(job);
}

static bool verify_option(struct verify *v, struct args *args)
{
	if (args_option(args, "NOW") && args_i64(args, 1, INT64_MAX, &v->now))
		return true;
	if (args_option(args, "MODEL"))
		return model_fits(&v->job, args);
	request_error(v->job.request, METRIC_ERROR_INVALID, "ERR syntax error in LINEUP.VERIFY");
	return false;
}

void command_lineup_verify(struct server *server, struct request *request)
{
	struct args args = { .request = request, .at = 3, .count = request->arguments };
	struct verify *v = job_begin(server, request, sizeof(*v), NULL);
	bool ok;

	if (!v)
		return;
	v->job.done = verify_done;
	v->subject = subject_name(&v->job, &request->argument[2]);
	ok = v->subject && args_word(&args, "PROBES");
	if (!ok)
		request_error(request, METRIC_ERROR_INVALID, "ERR syntax error in LINEUP.VERIFY: key, subject, PROBES n FP32|F64 vectors");
	ok = ok && !args_matrix(&args, &v->job, keeper_info(v->job.keeper)->dim, LINEUP_PROBES_MAX, &v->probes);
	while (ok && args_left(&args))
		ok = verify_option(v, &args);
	if (!ok) {
		job_end(&v->job);
		return;
	}
	v->candidates = job_alloc(&v->job, v->probes.rows * sizeof(*v->candidates));
	if (v->candidates)
		job_help(&v->job, verify_run);
	else
		job_fail(&v->job, -ENOMEM, NULL);
}
