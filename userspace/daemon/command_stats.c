// SPDX-License-Identifier: MIT
// LINEUP.STATS: counters, latencies, and what each gallery does.
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "job.h"

static const struct {
	const char *name;
	enum metric metric;
} counters[] = {
	{ "connections", METRIC_CONNECTIONS },
	{ "connections_refused", METRIC_CONNECTIONS_REFUSED },
	{ "accept_failed", METRIC_ACCEPT_FAILED },
	{ "requests", METRIC_REQUESTS },
	{ "bytes_in", METRIC_BYTES_IN },
	{ "bytes_out", METRIC_BYTES_OUT },
	{ "searches", METRIC_SEARCHES },
	{ "probes", METRIC_PROBES },
	{ "verifies", METRIC_VERIFIES },
	{ "enrolled", METRIC_ENROLLED },
	{ "deleted", METRIC_DELETED },
	{ "groups", METRIC_GROUPS },
	{ "sealed", METRIC_SEALED },
	{ "compacted", METRIC_COMPACTED },
	{ "recovered", METRIC_RECOVERED },
	{ "auth_failed", METRIC_AUTH_FAILED },
	{ "errors_protocol", METRIC_ERROR_PROTOCOL },
	{ "errors_denied", METRIC_ERROR_DENIED },
	{ "errors_busy", METRIC_ERROR_BUSY },
	{ "errors_invalid", METRIC_ERROR_INVALID },
	{ "errors_storage", METRIC_ERROR_STORAGE },
	{ "errors_memory", METRIC_ERROR_MEMORY },
	{ "errors_internal", METRIC_ERROR_INTERNAL },
	{ "errors_deadline", METRIC_ERROR_DEADLINE },
	{ "errors_limit", METRIC_ERROR_LIMIT },
};

static void write_counters(struct buffer *b, int version)
{
	resp_text(b, "counters");
	resp_map(b, version, ARRAY_SIZE(counters));
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		resp_text(b, counters[i].name);
		resp_integer(b, (long long)metrics_value(counters[i].metric));
	}
}

static void write_latencies(struct buffer *b, int version)
{
	static const struct {
		const char *name;
		enum metric_latency which;
	} latencies[] = {
		{ "search", METRIC_SEARCH_NS }, { "search_wait", METRIC_SEARCH_WAIT_NS }, { "enrol", METRIC_ENROL_NS },
		{ "sync", METRIC_SYNC_NS }, { "other", METRIC_OTHER_NS },
	};
	static const struct {
		const char *name;
		double quantile;
	} quantiles[] = { { "p50", 0.5 }, { "p99", 0.99 }, { "p99.9", 0.999 }, { "max", 1 } };

	resp_text(b, "latencies_ns");
	resp_map(b, version, ARRAY_SIZE(latencies));
	for (size_t i = 0; i < ARRAY_SIZE(latencies); i++) {
		const struct histogram *h = metrics_histogram(latencies[i].which);

		resp_text(b, latencies[i].name);
		resp_map(b, version, ARRAY_SIZE(quantiles) + 1);
		resp_text(b, "count");
		resp_integer(b, (long long)atomic_load(&h->count));
		for (size_t q = 0; q < ARRAY_SIZE(quantiles); q++) {
			resp_text(b, quantiles[q].name);
			resp_integer(b, (long long)histogram_quantile(h, quantiles[q].quantile));
		}
	}
}

static void write_numbers(struct buffer *b, const struct metrics_gallery *g)
{
	const struct lineup_gallery_state *state = &g->state;
	const struct lineup_share_stats *share = &g->share;
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "sequence", state->sequence },
		{ "templates", state->templates },
		{ "subjects", state->subjects },
		{ "rows", state->rows },
		{ "deleted_rows", g->deleted_rows },
		{ "segments", state->segments },
		{ "journal_bytes", state->journal_bytes },
		{ "journal_templates", state->journal_templates },
		{ "operations_waiting", g->operations_waiting },
		{ "maintaining", g->maintaining },
		{ "queries", share->queries },
		{ "probes", share->probes },
		{ "refused", share->refused },
		{ "cancelled", share->cancelled },
		{ "failed", share->failed },
		{ "waiting", share->waiting },
		{ "scanning", share->scanning },
		{ "bytes_scanned", share->bytes_scanned },
		{ "bytes_read", share->bytes_read },
		{ "rows_scanned", share->rows_scanned },
		{ "comparisons", share->comparisons },
		{ "rows_reranked", share->rows_reranked },
		{ "revolutions", share->revolutions },
		{ "resident_bytes", share->resident_bytes },
		{ "resident", share->resident },
		{ "devices", share->devices },
	};

	_Static_assert(ARRAY_SIZE(numbers) == 26, "the map's size below counts them");
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		resp_text(b, numbers[i].name);
		resp_integer(b, (long long)numbers[i].value);
	}
}

static void write_gallery(struct buffer *b, int version, const struct metrics_gallery *g)
{
	const struct {
		const char *name;
		double value;
	} rates[] = {
		{ "seconds_busy", g->share.seconds_busy },
		{ "scan_bytes_per_second", g->scan_bytes_per_second },
		{ "limit_bytes_per_second", g->limit_bytes_per_second },
		{ "batch", g->batch },
	};

	resp_text(b, g->name);
	resp_map(b, version, 26 + ARRAY_SIZE(rates) + 3);
	write_numbers(b, g);
	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		resp_text(b, rates[i].name);
		resp_double(b, version, rates[i].value);
	}
	resp_text(b, "backend");
	resp_text(b, g->share.backend ? g->share.backend : "");
	resp_text(b, "io");
	resp_text(b, g->share.io ? g->share.io : "");
	resp_text(b, "refuses");
	resp_text(b, g->refuses);
}

struct shown {
	struct request *request;
	const struct metrics_gallery *known; /* with rates, as of the last second */
	uint32_t known_count;
	struct buffer text;
	uint32_t count;
};

/* A gallery that the user may see, and, if one is named, that one. */
static void show(void *arg, struct gallery *gallery)
{
	struct shown *s = arg;
	struct request *request = s->request;
	const struct resp_argument *key = request->arguments > 1 ? &request->argument[1] : NULL;
	const char *name = gallery_name(gallery);
	struct metrics_gallery g = { 0 };

	if (key && (key->size != strlen(name) || memcmp(key->data, name, key->size)))
		return;
	if (!access_allows(client_session(request->client), ACCESS_AUDITOR | ACCESS_ADMIN, name))
		return;
	for (uint32_t i = 0; i < s->known_count; i++)
		if (!strcmp(s->known[i].name, name))
			g = s->known[i];
	keeper_metrics(gallery_keeper(gallery), &g); /* what is known may be a second old */
	write_gallery(&s->text, request->version, &g);
	s->count++;
}

static void write_galleries(struct server *server, struct request *request, struct metrics_gallery *known)
{
	struct shown s = { .request = request, .known = known };
	struct buffer *b = &request->reply;

	s.known_count = metrics_galleries(known, DAEMON_GALLERIES_MAX);
	galleries_each(server->galleries, show, &s);
	if (request->arguments > 1 && !s.count) {
		request_error(request, METRIC_ERROR_INVALID, "ERR there is no such gallery, or no permission to look at it");
		return;
	}
	resp_text(b, "galleries");
	resp_map(b, request->version, s.count);
	buffer_append(b, s.text.data, s.text.size);
	buffer_fini(&s.text);
}

void command_lineup_stats(struct server *server, struct request *request)
{
	struct metrics_gallery *known = calloc(DAEMON_GALLERIES_MAX, sizeof(*known));
	struct buffer *b = &request->reply;
	int version = request->version;

	if (!known) {
		request_fail(request, -ENOMEM, NULL);
	} else if (request->arguments > 2) {
		request_error(request, METRIC_ERROR_INVALID, "ERR wrong number of arguments for 'lineup.stats' command");
	} else {
		resp_map(b, version, 6);
		resp_text(b, "version");
		resp_text(b, lineup_version());
		resp_text(b, "uptime_seconds");
		resp_double(b, version, (double)(now_ns() - server->started_ns) / 1e9);
		resp_text(b, "clients");
		resp_integer(b, clients_count(server->clients));
		write_counters(b, version);
		write_latencies(b, version);
		write_galleries(server, request, known);
	}
	free(known);
	request_end(request);
}
