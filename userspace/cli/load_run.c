// SPDX-License-Identifier: MIT
// The open loop: one thread, non-blocking sockets, requests due at random times, answers matched to them in order.
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "load.h"
#include "remote_wire.h"

enum { READ_BYTES = 65536, CLEAN_GROUP = 256 };

struct request {
	uint64_t due_ns;
	bool measured;             /* after the warm-up */
};

struct connection {
	struct remote *remote;
	bool enrols;
	struct request *ring;      /* sent or to be sent, not answered */
	uint64_t first, next, sent, room; /* [first, next) of them; those before sent are on their way in full */
	size_t part;               /* bytes of request .sent that are */
	uint64_t *what;            /* [room]: the probe's number, or the enrolment's */
	struct remote_command enrolment; /* being sent */
	uint64_t encoded;          /* which one it holds, plus 1; 0: none */
};

struct arrivals {
	double interval_ns;        /* mean; 0: none */
	uint64_t next_ns;
};

struct load {
	struct cli *cli;
	const struct load_options *options;
	struct remote_command *probe; /* [probes] encoded requests */
	uint32_t probes;
	struct connection *connection; /* [connections], the last one enrols if any does */
	uint32_t connections, searchers;
	struct pollfd *poll;
	uint32_t dim;
	uint64_t random;
	uint64_t asked, enrolled;
	char prefix[32];           /* of the subjects that are enrolled */
	const char *name;
	const uint8_t *model_digest;
	float *vector;
	char *bytes;               /* [READ_BYTES] */
	struct load_step *step;
	uint64_t begin_ns, measure_ns, end_ns;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* In (0, 1]. */
static double uniform(struct load *l)
{
	uint64_t z = l->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (double)((z ^ z >> 31) >> 11) * 0x1p-53 + 0x1p-53;
}

/* ---- opening ---- */

static void encode_probe(struct load *l, const struct lineup_matrix *probes, uint32_t first, struct remote_command *c)
{
	bool wide = probes->dtype == LINEUP_FLOAT64;
	size_t row_bytes = probes->dim * (wide ? sizeof(double) : sizeof(float));
	uint64_t batch = l->options->batch;
	char *rows = cli_secret_alloc(l->cli, batch * row_bytes);

	c->failed = !rows;
	if (!rows)
		return;
	for (uint64_t i = 0; i < batch; i++)
		memcpy(rows + i * row_bytes, (const char *)probes->data + (first + i) % probes->rows * row_bytes, row_bytes);
	command_begin(l->cli, c, "LINEUP.SEARCH");
	command_text(l->cli, c, l->name);
	command_text(l->cli, c, "PROBES");
	command_unsigned(l->cli, c, batch);
	command_text(l->cli, c, wide ? "F64" : "FP32");
	command_data(l->cli, c, rows, batch * row_bytes);
	command_text(l->cli, c, "K");
	command_unsigned(l->cli, c, l->options->k);
	command_text(l->cli, c, "MODEL");
	command_hex(l->cli, c, l->model_digest, LINEUP_DIGEST_BYTES);
	command_finish(c);
	cli_secret_free(rows, batch * row_bytes);
}

/* One row of a new subject: a random direction. */
static void encode_enrolment(struct load *l, struct connection *c, uint64_t number)
{
	char subject[64];

	snprintf(subject, sizeof(subject), "%s%" PRIu64, l->prefix, number);
	for (uint32_t i = 0; i < l->dim; i++)
		l->vector[i] = (float)(sqrt(-2 * log(uniform(l))) * cos(2 * M_PI * uniform(l)));
	command_begin(l->cli, &c->enrolment, "LINEUP.ENROL");
	command_text(l->cli, &c->enrolment, l->name);
	command_text(l->cli, &c->enrolment, "ROWS");
	command_text(l->cli, &c->enrolment, "1");
	command_text(l->cli, &c->enrolment, "FP32");
	command_data(l->cli, &c->enrolment, l->vector, l->dim * sizeof(float));
	command_text(l->cli, &c->enrolment, "SUBJECTS");
	command_text(l->cli, &c->enrolment, subject);
	command_finish(&c->enrolment);
	c->encoded = number + 1;
}

static int open_connections(struct load *l)
{
	int status = 0;

	for (uint32_t i = 0; !status && i < l->connections; i++) {
		l->connection[i].enrols = i >= l->searchers;
		status = remote_open(l->cli, &l->options->remote, l->name, &l->connection[i].remote);
		if (!status)
			l->poll[i].fd = l->connection[i].remote->connection->fd;
	}
	return status;
}

int load_open(struct cli *cli, const struct load_options *options, const char *name, const struct lineup_matrix *probes,
	      const struct lineup_gallery_info *info, struct load **load)
{
	struct load *l = calloc(1, sizeof(*l));
	uint32_t random;
	int status;

	if (!l)
		return cli_status(cli, -ENOMEM);
	randombytes_buf(&random, sizeof(random));
	snprintf(l->prefix, sizeof(l->prefix), "load-%08" PRIx32 "-", random);
	l->cli = cli;
	l->options = options;
	l->name = name;
	l->model_digest = info->model_digest;
	l->dim = info->dim;
	l->random = options->seed;
	l->searchers = options->connections;
	l->connections = l->searchers + (options->enrol_rate > 0);
	l->probes = (uint32_t)probes->rows;
	l->probe = calloc(l->probes, sizeof(*l->probe));
	l->connection = calloc(l->connections, sizeof(*l->connection));
	l->poll = calloc(l->connections, sizeof(*l->poll));
	l->vector = calloc(l->dim, sizeof(*l->vector));
	l->bytes = malloc(READ_BYTES);
	status = l->probe && l->connection && l->poll && l->vector && l->bytes ? open_connections(l) : cli_status(cli, -ENOMEM);
	for (uint32_t i = 0; !status && i < l->probes; i++) {
		encode_probe(l, probes, i * options->batch, &l->probe[i]);
		status = l->probe[i].failed ? CLI_FAILED : 0;
	}
	if (status)
		load_close(l);
	else
		*load = l;
	return status;
}

void load_close(struct load *l)
{
	if (!l)
		return;
	for (uint32_t i = 0; l->connection && i < l->connections; i++) {
		remote_close(l->connection[i].remote);
		command_fini(&l->connection[i].enrolment);
		free(l->connection[i].ring);
		free(l->connection[i].what);
	}
	for (uint32_t i = 0; l->probe && i < l->probes; i++)
		command_fini(&l->probe[i]);
	free(l->bytes);
	free(l->vector);
	free(l->poll);
	free(l->connection);
	free(l->probe);
	free(l);
}

/* ---- requests become due ---- */

static uint64_t under_way(const struct connection *c)
{
	return c->next - c->first;
}

static int grow(struct load *l, struct connection *c)
{
	uint64_t room = c->room ? 2 * c->room : 1024;
	struct request *ring = malloc(room * sizeof(*ring));
	uint64_t *what = malloc(room * sizeof(*what));

	if (!ring || !what) {
		free(ring);
		free(what);
		return cli_status(l->cli, -ENOMEM);
	}
	for (uint64_t i = c->first; i < c->next; i++) {
		ring[i & (room - 1)] = c->ring[i & (c->room - 1)];
		what[i & (room - 1)] = c->what[i & (c->room - 1)];
	}
	free(c->ring);
	free(c->what);
	c->ring = ring;
	c->what = what;
	c->room = room;
	return 0;
}

static int add(struct load *l, struct connection *c, uint64_t due_ns, uint64_t what)
{
	struct load_count *count = c->enrols ? &l->step->enrol : &l->step->search;
	bool measured = due_ns >= l->measure_ns;

	if (under_way(c) == c->room && grow(l, c))
		return CLI_FAILED;
	c->ring[c->next & (c->room - 1)] = (struct request){ due_ns, measured };
	c->what[c->next & (c->room - 1)] = what;
	c->next++;
	count->due += measured;
	return 0;
}

/* The connection with the fewest requests under way: a client that has many does not queue behind one. */
static struct connection *least(struct load *l)
{
	struct connection *best = &l->connection[l->asked % l->searchers];

	for (uint32_t i = 0; i < l->searchers; i++)
		if (under_way(&l->connection[i]) < under_way(best))
			best = &l->connection[i];
	return best;
}

static void next_arrival(struct load *l, struct arrivals *a)
{
	a->next_ns += (uint64_t)(l->options->constant ? a->interval_ns : -log(uniform(l)) * a->interval_ns);
}

/* Everything that is due by @now. */
static int add_due(struct load *l, struct arrivals *searches, struct arrivals *enrolments, uint64_t now)
{
	int status = 0;

	for (; !status && searches->next_ns <= now && searches->next_ns < l->end_ns; next_arrival(l, searches)) {
		struct connection *c = least(l);

		status = add(l, c, searches->next_ns, l->asked++ % l->probes);
		if (under_way(c) >= LOAD_UNDER_WAY_MAX / l->searchers) {
			l->step->cut = true;
			l->end_ns = now;
		}
	}
	for (; !status && enrolments->interval_ns > 0 && enrolments->next_ns <= now && enrolments->next_ns < l->end_ns;
	     next_arrival(l, enrolments))
		status = add(l, &l->connection[l->searchers], enrolments->next_ns, l->enrolled++);
	return status;
}

/* ---- out and in ---- */

static int failed(struct load *l, const struct connection *c, const char *why)
{
	return cli_fail(l->cli, "lineupd at %s: %s, with %" PRIu64 " requests under way", c->remote->address, why, under_way(c));
}

/* As much as the socket takes. */
static int send_some(struct load *l, struct connection *c, uint64_t now)
{
	while (c->sent < c->next) {
		uint64_t i = c->sent & (c->room - 1);
		const struct remote_command *command = c->enrols ? &c->enrolment : &l->probe[c->what[i]];
		ssize_t n;

		if (c->enrols && c->encoded != c->what[i] + 1)
			encode_enrolment(l, c, c->what[i]);
		if (command->failed)
			return CLI_FAILED;
		if (!c->part && c->ring[i].measured && now > c->ring[i].due_ns &&
		    now - c->ring[i].due_ns > l->step->sent_late_ns_max)
			l->step->sent_late_ns_max = now - c->ring[i].due_ns;
		n = send(c->remote->connection->fd, command->data + command->begin + c->part,
			 command->end - command->begin - c->part, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : failed(l, c, strerror(errno));
		c->part += (size_t)n;
		if (c->part < command->end - command->begin)
			return 0;
		c->part = 0;
		c->sent++;
	}
	return 0;
}

static void count_error(struct load_count *count, const char *text)
{
	size_t size = strcspn(text, " ");
	uint32_t i;

	for (i = 0; i + 1 < LOAD_ERRORS_MAX && count->error[i].count; i++)
		if (strlen(count->error[i].kind) == size && !memcmp(count->error[i].kind, text, size))
			break;
	snprintf(count->error[i].kind, sizeof(count->error[i].kind), "%.*s", (int)size, text);
	count->error[i].count++;
}

static void answered(struct load *l, struct connection *c, const redisReply *reply, uint64_t now)
{
	struct load_count *count = c->enrols ? &l->step->enrol : &l->step->search;
	const struct request *r = &c->ring[c->first & (c->room - 1)];
	bool error = reply->type == REDIS_REPLY_ERROR;

	c->first++;
	count->in_time += !error && now >= l->measure_ns && now < l->end_ns;
	if (!r->measured)
		return;
	if (error && strncmp(reply->str, "BUSY", 4) == 0) {
		count->busy++;
	} else if (error) {
		count_error(count, reply->str);
	} else {
		count->answered++;
		histogram_add(&count->latency, now - r->due_ns);
	}
}

static int receive_some(struct load *l, struct connection *c)
{
	ssize_t n = recv(c->remote->connection->fd, l->bytes, READ_BYTES, MSG_DONTWAIT);
	redisReader *reader = c->remote->connection->reader;
	uint64_t now;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : failed(l, c, strerror(errno));
	if (n == 0)
		return failed(l, c, "the connection was closed");
	now = now_ns();
	if (redisReaderFeed(reader, l->bytes, (size_t)n) != REDIS_OK)
		return failed(l, c, reader->errstr);
	for (;;) {
		void *reply = NULL;

		if (redisReaderGetReply(reader, &reply) != REDIS_OK)
			return failed(l, c, reader->errstr);
		if (!reply)
			return 0;
		if (!under_way(c)) {
			freeReplyObject(reply);
			return failed(l, c, "a reply to no request");
		}
		answered(l, c, reply, now);
		freeReplyObject(reply);
	}
}

/* Sends, waits until @until_ns at the latest, receives. */
static int turn(struct load *l, uint64_t until_ns)
{
	uint64_t now = now_ns();
	struct timespec wait = { 0 };
	int status = 0, ready;

	for (uint32_t i = 0; !status && i < l->connections; i++) {
		struct connection *c = &l->connection[i];

		status = send_some(l, c, now);
		l->poll[i].events = (short)(POLLIN | (c->sent < c->next ? POLLOUT : 0));
	}
	if (status)
		return status;
	now = now_ns();
	if (until_ns > now) {
		wait.tv_sec = (time_t)((until_ns - now) / 1000000000u);
		wait.tv_nsec = (long)((until_ns - now) % 1000000000u);
	}
	ready = ppoll(l->poll, l->connections, &wait, NULL);
	for (uint32_t i = 0; !status && ready > 0 && i < l->connections; i++)
		if (l->poll[i].revents & ~POLLOUT)
			status = receive_some(l, &l->connection[i]);
	return !status && cli_interrupted() ? cli_status(l->cli, -ECANCELED) : status;
}

static uint64_t all_under_way(const struct load *l)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < l->connections; i++)
		n += under_way(&l->connection[i]);
	return n;
}

/* What was not answered took longer than this: leaving it out would flatter. The connections that wait for them begin anew. */
static int give_up(struct load *l, uint64_t now)
{
	int status = 0;

	for (uint32_t i = 0; !status && i < l->connections; i++) {
		struct connection *c = &l->connection[i];
		struct load_count *count = c->enrols ? &l->step->enrol : &l->step->search;

		if (!under_way(c))
			continue;
		for (; c->first < c->next; c->first++) {
			const struct request *r = &c->ring[c->first & (c->room - 1)];

			if (!r->measured)
				continue;
			count->unanswered++;
			histogram_add(&count->latency, now - r->due_ns);
		}
		c->sent = c->next;
		c->part = 0;
		status = remote_connect(c->remote);
		l->poll[i].fd = status ? -1 : c->remote->connection->fd;
	}
	return status;
}

int load_step(struct load *l, double rate, struct load_step *step)
{
	const struct load_options *o = l->options;
	uint64_t begin = now_ns(), give_up_ns;
	struct arrivals searches = { 1e9 / rate, begin }, enrolments = { o->enrol_rate > 0 ? 1e9 / o->enrol_rate : 0, begin };
	int status = 0;

	step->offered = rate;
	l->step = step;
	l->measure_ns = begin + (uint64_t)(o->warmup_seconds * 1e9);
	l->end_ns = l->measure_ns + (uint64_t)(o->seconds * 1e9);
	next_arrival(l, &searches);
	next_arrival(l, &enrolments);
	while (!status) {
		uint64_t now = now_ns(), until = searches.next_ns;

		status = add_due(l, &searches, &enrolments, now);
		if (now >= l->end_ns)
			break;
		until = enrolments.interval_ns > 0 && enrolments.next_ns < until ? enrolments.next_ns : until;
		until = searches.next_ns < until ? searches.next_ns : until;
		status = status ? status : turn(l, until < l->end_ns ? until : l->end_ns);
	}
	step->seconds = l->end_ns > l->measure_ns ? (double)(l->end_ns - l->measure_ns) * 1e-9 : 0;
	give_up_ns = now_ns() + (uint64_t)(o->drain_seconds * 1e9);
	while (!status && all_under_way(l) && now_ns() < give_up_ns)
		status = turn(l, give_up_ns);
	return status ? status : give_up(l, now_ns());
}

double load_quantile_ms(const struct load_count *count, double quantile)
{
	uint64_t max = count->latency.max, value = histogram_quantile(&count->latency, quantile);

	return (double)(value < max ? value : max) / 1e6;
}

int load_clean(struct load *l)
{
	struct remote_command c = { 0 };
	struct remote *remote = NULL;
	uint64_t kept = 0;
	int status = l->enrolled ? remote_open(l->cli, &l->options->remote, l->name, &remote) : 0;

	for (uint64_t i = 0; !status && i < l->enrolled; i += CLEAN_GROUP) {
		uint64_t end = i + CLEAN_GROUP < l->enrolled ? i + CLEAN_GROUP : l->enrolled;

		for (uint64_t j = i; !status && j < end; j++) {
			char subject[64];

			snprintf(subject, sizeof(subject), "%s%" PRIu64, l->prefix, j);
			command_begin(l->cli, &c, "VREM");
			command_text(l->cli, &c, l->name);
			command_text(l->cli, &c, subject);
			command_finish(&c);
			status = remote_send(remote, &c);
		}
		for (uint64_t j = i; !status && j < end; j++) {
			redisReply *reply = NULL;

			status = remote_receive(remote, &reply);
			kept += !status && reply->type == REDIS_REPLY_ERROR;
			if (reply)
				freeReplyObject(reply);
		}
	}
	if (status || kept)
		status = cli_fail(
			l->cli,
			"not all subjects whose names begin with %s, which were enrolled for the measurement, could be deleted",
			l->prefix);
	command_fini(&c);
	remote_close(remote);
	return status;
}
