// SPDX-License-Identifier: MIT
// A search under way: its probes, its filter, the share, and back.
#include "search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void list_add(struct search *s)
{
	struct search **first = &s->job.server->searches;

	s->next = *first;
	s->at = first;
	if (s->next)
		s->next->at = &s->next;
	*first = s;
}

static void search_end(struct search *s)
{
	*s->at = s->next;
	if (s->next)
		s->next->at = s->at;
	filter_destroy(s->filter);
	free(s->bitmap);
	buffer_fini(&s->reply);
	if (s->err)
		job_fail(&s->job, s->err, s->message);
	else
		job_end(&s->job);
}

/* Loop thread: the reply is there, or an error. */
static void answered(struct job *job)
{
	struct search *s = CONTAINER(job, struct search, job);
	struct request *request = job->request;

	if (!s->err && s->reply.failed)
		s->err = -ENOMEM;
	if (!s->err) {
		request->reply = s->reply;
		s->reply = (struct buffer){ 0 };
		metrics_count(METRIC_SEARCHES, 1);
		metrics_count(METRIC_PROBES, s->rows);
		job->timed = true;
		metrics_latency(METRIC_SEARCH_NS, now_ns() - request->begun_ns);
		metrics_latency(METRIC_SEARCH_WAIT_NS, (uint64_t)((s->facts.seconds - s->facts.seconds_scan) * 1e9));
	}
	search_end(s);
}

static void look_up_attributes(struct keeper_op *op, struct keeper *keeper)
{
	struct search *s = CONTAINER(op, struct search, job.op);
	struct attributes *attributes = keeper_attributes(keeper);

	if (attributes)
		search_render(s, s->candidates, s->counts, attributes);
	else
		s->err = -EIO;
}

/* Loop thread: candidates are there, and want their attributes. */
static void found(struct job *job)
{
	struct search *s = CONTAINER(job, struct search, job);
	int err;

	job->done = answered;
	if (job->server->stopping)
		s->err = -ECANCELED;
	if (s->err) {
		search_end(s);
		return;
	}
	job->op.kind = KEEPER_READ;
	job->op.read = look_up_attributes;
	err = keeper_submit(job->keeper, &job->op); /* the keeper's from here on, if it is 0 */
	if (err) {
		s->err = err;
		snprintf(s->message, sizeof(s->message), "too many operations of this gallery wait");
		search_end(s);
	}
}

static void copy_candidates(struct search *s, const struct lineup_share_answer *answer)
{
	size_t cells = answer->rows * answer->k;

	s->candidates = job_alloc(&s->job, cells * sizeof(*s->candidates));
	s->counts = job_alloc(&s->job, answer->rows * sizeof(*s->counts));
	if (!s->candidates || !s->counts) {
		s->err = -ENOMEM;
		return;
	}
	memcpy(s->counts, answer->counts, answer->rows * sizeof(*s->counts));
	for (uint64_t row = 0; row < answer->rows; row++)
		memcpy(s->candidates + row * answer->k, answer->candidates + row * answer->k, answer->counts[row] * sizeof(*s->candidates));
}

/* A thread of the crew, or whoever destroys the share. */
static void take_answer(void *arg, const struct lineup_share_answer *answer)
{
	struct search *s = arg;

	s->err = answer->err;
	if (answer->err) {
		snprintf(s->message, sizeof(s->message), "%s", answer->message ? answer->message : "");
	} else {
		s->facts = answer->facts;
		s->rows = answer->rows;
		s->probes_most = answer->probes_most;
		if (s->with_attributes)
			copy_candidates(s, answer);
		else
			search_render(s, answer->candidates, answer->counts, NULL);
	}
	if (atomic_fetch_sub(&s->pending, 1) == 1)
		job_back(&s->job);
}

/* Any thread. The job comes back, whatever happens. */
static void submit(struct search *s)
{
	struct lineup_share_query *q = &s->query;
	uint64_t ticket = 0;
	int err;

	s->job.done = s->with_attributes ? found : answered;
	q->size = sizeof(*q);
	q->options.size = sizeof(q->options);
	q->done = take_answer;
	q->arg = s;
	atomic_store(&s->pending, 2);
	message_catch(s->message);
	err = lineup_share_submit(keeper_share(s->job.keeper), q, &ticket);
	message_catch(NULL);
	if (err) {
		s->err = err;
		if (err == -EBUSY)
			snprintf(s->message, sizeof(s->message), "too many probes wait for this gallery");
		job_back(&s->job);
		return;
	}
	atomic_store(&s->ticket, ticket);
	if (atomic_fetch_sub(&s->pending, 1) == 1)
		job_back(&s->job);
}

struct templates {
	struct search *search;
	uint32_t dim;
	uint64_t count, max;
	float *vectors;
};

static int take_template(void *arg, const struct lineup_template *t)
{
	struct templates *all = arg;
	size_t row_bytes = all->dim * sizeof(float);

	if (all->count == SEARCH_TEMPLATES_MAX)
		return -E2BIG;
	if (all->count == all->max) {
		uint64_t more = all->max ? all->max * 4 : 1;
		float *p = job_alloc(&all->search->job, more * row_bytes);

		if (!p)
			return -ENOMEM;
		if (all->count)
			memcpy(p, all->vectors, all->count * row_bytes);
		all->vectors = p;
		all->max = more;
	}
	memcpy(all->vectors + all->count++ * all->dim, t->vector, row_bytes);
	return 0;
}

static int find_element(struct search *s, struct keeper *keeper)
{
	struct templates all = { .search = s, .dim = keeper_info(keeper)->dim };
	int err;

	message_catch(s->message);
	err = lineup_gallery_subject(keeper_gallery(keeper), s->element, take_template, &all);
	message_catch(NULL);
	if (err == -ENOENT) {
		err = -EINVAL;
		snprintf(s->message, sizeof(s->message), "element not found in set");
	} else if (err == -E2BIG) {
		snprintf(s->message, sizeof(s->message), "the element has more than %d templates", SEARCH_TEMPLATES_MAX);
	}
	s->query.probes = (struct lineup_matrix){ .data = all.vectors, .rows = all.count, .dim = all.dim, .dtype = LINEUP_FLOAT32 };
	return err;
}

static int select_subjects(struct search *s, struct keeper *keeper)
{
	struct attributes *attributes = keeper_attributes(keeper);
	struct lineup_gallery_state state;

	if (!attributes)
		return -EIO;
	lineup_gallery_now(keeper_gallery(keeper), &state);
	s->query.subjects_numbers = state.subject_numbers;
	return attributes_select(attributes, s->filter, s->filter_text->data, s->filter_text->size, state.subject_numbers, &s->bitmap);
}

/* The keeper's thread, where nothing changes between what is looked up here and the state that the search sees. */
static void look_up_and_submit(struct keeper_op *op, struct keeper *keeper)
{
	struct search *s = CONTAINER(op, struct search, job.op);

	if (s->element)
		s->err = find_element(s, keeper);
	if (!s->err && s->filter)
		s->err = select_subjects(s, keeper);
	s->query.subjects = s->bitmap;
	if (s->err)
		job_back(&s->job);
	else
		submit(s);
}

void search_start(struct search *s)
{
	struct client_info info;
	struct job *job = &s->job;
	int err;

	client_info(job->request->client, &info);
	s->query.client = info.id;
	s->query.wait_ms_max = job->server->config->deadline_ms;
	s->version = job->request->version;
	list_add(s);
	job->done = answered;
	if (s->with_attributes)
		request_pending(job->request, REQUEST_ALONE); /* they are looked up at the end */
	if (!s->filter && !s->element && !client_pending(job->request->client, REQUEST_QUEUED)) {
		submit(s);
		return;
	}
	request_pending(job->request, REQUEST_QUEUED);
	job->op.kind = KEEPER_SEARCH;
	job->op.read = look_up_and_submit;
	err = keeper_submit(job->keeper, &job->op); /* the keeper's from here on, if it is 0 */
	if (err) {
		s->err = err;
		snprintf(s->message, sizeof(s->message), "too many operations of this gallery wait");
		search_end(s);
	}
}

void searches_sweep(struct server *server)
{
	for (struct search *s = server->searches; s; s = s->next) {
		uint64_t ticket = atomic_load(&s->ticket);

		if (ticket && !server->stopping && request_gone(s->job.request))
			lineup_share_cancel(keeper_share(s->job.keeper), ticket);
	}
}
