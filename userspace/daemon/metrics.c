// SPDX-License-Identifier: MIT
// What is counted, and the text that Prometheus reads.
#include "metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_ullong counters[METRICS];
static struct histogram latencies[METRIC_LATENCIES];
static atomic_uint clients_now;

/* Galleries and health are told by other threads than they are set by. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metrics_gallery *galleries;
static uint32_t gallery_count, gallery_room;
static bool (*health_alive)(void *arg);
static void *health_arg;

void metrics_count(enum metric metric, uint64_t more)
{
	atomic_fetch_add_explicit(&counters[metric], more, memory_order_relaxed);
}

uint64_t metrics_value(enum metric metric)
{
	return atomic_load_explicit(&counters[metric], memory_order_relaxed);
}

void metrics_latency(enum metric_latency which, uint64_t ns)
{
	histogram_add(&latencies[which], ns);
}

const struct histogram *metrics_histogram(enum metric_latency which)
{
	return &latencies[which];
}

void metrics_set_clients(uint32_t clients)
{
	atomic_store_explicit(&clients_now, clients, memory_order_relaxed);
}

/* ---- galleries and health ---- */

static uint32_t gallery_place(const char *name)
{
	uint32_t i = 0;

	while (i < gallery_count && strcmp(galleries[i].name, name))
		i++;
	return i;
}

void metrics_set_gallery(const struct metrics_gallery *gallery)
{
	struct metrics_gallery *more;
	uint32_t place;

	pthread_mutex_lock(&lock);
	place = gallery_place(gallery->name);
	if (place == gallery_room) {
		more = realloc(galleries, (gallery_room + 16) * sizeof(*galleries));
		if (!more) {
			/* It is set again in a second. */
			pthread_mutex_unlock(&lock);
			return;
		}
		galleries = more;
		gallery_room += 16;
	}
	galleries[place] = *gallery;
	if (place == gallery_count)
		gallery_count++;
	pthread_mutex_unlock(&lock);
}

void metrics_drop_gallery(const char *name)
{
	uint32_t place;

	pthread_mutex_lock(&lock);
	place = gallery_place(name);
	if (place < gallery_count)
		galleries[place] = galleries[--gallery_count];
	pthread_mutex_unlock(&lock);
}

uint32_t metrics_galleries(struct metrics_gallery *out, uint32_t max)
{
	uint32_t count;

	pthread_mutex_lock(&lock);
	count = gallery_count;
	for (uint32_t i = 0; i < count && i < max; i++)
		out[i] = galleries[i];
	pthread_mutex_unlock(&lock);
	return count;
}

void metrics_set_health(bool (*alive)(void *arg), void *arg)
{
	pthread_mutex_lock(&lock);
	health_alive = alive;
	health_arg = arg;
	pthread_mutex_unlock(&lock);
}

bool metrics_healthy(char why[256])
{
	bool healthy = true;

	pthread_mutex_lock(&lock);
	if (health_alive && !health_alive(health_arg)) {
		snprintf(why, 256, "the loop does not go round");
		healthy = false;
	}
	for (uint32_t i = 0; healthy && i < gallery_count; i++) {
		if (*galleries[i].refuses) {
			snprintf(why, 256, "gallery %s takes no changes: %s", galleries[i].name, galleries[i].refuses);
			healthy = false;
		}
	}
	pthread_mutex_unlock(&lock);
	if (healthy)
		snprintf(why, 256, "ok");
	return healthy;
}

/* ---- Prometheus: of the daemon ---- */

static const char *const error_causes[] = {
	[METRIC_ERROR_PROTOCOL] = "protocol", [METRIC_ERROR_DENIED] = "denied",	    [METRIC_ERROR_BUSY] = "busy",
	[METRIC_ERROR_INVALID] = "invalid",   [METRIC_ERROR_STORAGE] = "storage",   [METRIC_ERROR_MEMORY] = "memory",
	[METRIC_ERROR_INTERNAL] = "internal", [METRIC_ERROR_DEADLINE] = "deadline", [METRIC_ERROR_LIMIT] = "limit",
};

static const struct {
	enum metric metric;
	const char *name, *help;
} totals[] = {
	{ METRIC_CONNECTIONS, "connections", "Connections that were accepted." },
	{ METRIC_CONNECTIONS_REFUSED, "connections_refused",
	  "Connections that were closed at once: too many, or a peer that nobody is." },
	{ METRIC_ACCEPT_FAILED, "accept_failures", "Failures to accept a connection, as when there are no more file descriptors." },
	{ METRIC_REQUESTS, "requests", "Requests that were read." },
	{ METRIC_BYTES_IN, "received_bytes", "Bytes received from clients." },
	{ METRIC_BYTES_OUT, "sent_bytes", "Bytes sent to clients." },
	{ METRIC_AUTH_FAILED, "authentication_failures", "AUTH with a wrong name or secret." },
	{ METRIC_SEARCHES, "searches", "Search requests that were answered." },
	{ METRIC_PROBES, "probes", "Probes of those." },
	{ METRIC_VERIFIES, "verifications", "Probes that were compared 1:1." },
	{ METRIC_ENROLLED, "enrolled_templates", "Templates that were enrolled." },
	{ METRIC_DELETED, "deleted_templates", "Templates that were deleted." },
	{ METRIC_GROUPS, "groups", "Groups of changes that became durable with one sync." },
	{ METRIC_SEALED, "seals", "Journals that were made into segments." },
	{ METRIC_COMPACTED, "compactions", "Compactions that ended." },
	{ METRIC_RECOVERED, "recoveries", "Galleries that take changes again after a failed write or sync." },
};

static const struct {
	const char *name, *help;
} histograms[METRIC_LATENCIES] = {
	[METRIC_SEARCH_NS] = { "search_duration_seconds", "From a search request to its reply." },
	[METRIC_SEARCH_WAIT_NS] = { "search_wait_seconds", "Of it, until the scan took its probes in." },
	[METRIC_ENROL_NS] = { "enrol_duration_seconds",
			      "From a request that enrols to its reply, which means that it is durable." },
	[METRIC_SYNC_NS] = { "sync_duration_seconds", "Of the commit of a group: its write and its sync." },
	[METRIC_OTHER_NS] = { "other_duration_seconds", "From another request that another thread worked on to its reply." },
};

static void head(struct buffer *b, const char *name, const char *type, const char *help)
{
	buffer_printf(b, "# HELP lineup_%s %s\n# TYPE lineup_%s %s\n", name, help, name, type);
}

/* Bounds are powers of two of nanoseconds, 16 us to 17 s: ends of the histogram's own buckets, so that counts are exact. */
static void print_histogram(struct buffer *b, const char *name, const char *help, const struct histogram *histogram)
{
	enum { FIRST = 14, LAST = 34 };
	unsigned long long all;

	head(b, name, "histogram", help);
	for (unsigned int i = FIRST; i <= LAST; i++)
		buffer_printf(b, "lineup_%s_bucket{le=\"%.12g\"} %llu\n", name, (double)(1ull << i) / 1e9,
			      (unsigned long long)histogram_below(histogram, 1ull << i));
	/* Values that come in meanwhile must not make a bound's count larger than the sum of all. */
	all = histogram_below(histogram, UINT64_MAX);
	buffer_printf(b, "lineup_%s_bucket{le=\"+Inf\"} %llu\n", name, all);
	buffer_printf(b, "lineup_%s_sum %.9f\n", name, (double)atomic_load_explicit(&histogram->sum, memory_order_relaxed) / 1e9);
	buffer_printf(b, "lineup_%s_count %llu\n", name, all);
}

static void print_daemon(struct buffer *b)
{
	char name[64];

	head(b, "build_info", "gauge", "1, with the version as a label.");
	buffer_printf(b, "lineup_build_info{version=\"%d.%d.%d\"} 1\n", LINEUP_VERSION_MAJOR, LINEUP_VERSION_MINOR,
		      LINEUP_VERSION_PATCH);
	head(b, "clients", "gauge", "Connections that are open.");
	buffer_printf(b, "lineup_clients %u\n", atomic_load_explicit(&clients_now, memory_order_relaxed));
	for (uint32_t i = 0; i < ARRAY_SIZE(totals); i++) {
		snprintf(name, sizeof(name), "%s_total", totals[i].name);
		head(b, name, "counter", totals[i].help);
		buffer_printf(b, "lineup_%s %llu\n", name, (unsigned long long)metrics_value(totals[i].metric));
	}
	head(b, "errors_total", "counter", "Requests that were answered with an error, by its cause.");
	for (uint32_t i = 0; i < ARRAY_SIZE(error_causes); i++) {
		if (error_causes[i])
			buffer_printf(b, "lineup_errors_total{cause=\"%s\"} %llu\n", error_causes[i],
				      (unsigned long long)metrics_value(i));
	}
	for (uint32_t i = 0; i < METRIC_LATENCIES; i++)
		print_histogram(b, histograms[i].name, histograms[i].help, &latencies[i]);
}

/* ---- Prometheus: of galleries ---- */

enum kind { UINT32, UINT64, DOUBLE, BOOL, REFUSES, RATIO };

/* A field of struct metrics_gallery as a metric. */
static const struct {
	const char *name, *type;
	enum kind kind;
	size_t offset;
	const char *help;
} fields[] = {
#define FIELD(field) offsetof(struct metrics_gallery, field)
	{ "templates", "gauge", UINT64, FIELD(state.templates), "Templates that a search can find." },
	{ "subjects", "gauge", UINT64, FIELD(state.subjects), "Subjects that have templates." },
	{ "rows", "gauge", UINT64, FIELD(state.rows),
	  "Rows that a scan reads: templates, and deleted ones that are still on the disk." },
	{ "deleted_rows", "gauge", UINT64, FIELD(deleted_rows),
	  "Rows of deleted templates that are still on the disk, until compaction." },
	{ "segments", "gauge", UINT32, FIELD(state.segments), "Segments." },
	{ "lists", "gauge", UINT32, FIELD(state.lists), "Lists that have a name." },
	{ "sequence", "gauge", UINT64, FIELD(state.sequence), "Number of the newest operation." },
	{ "journal_bytes", "gauge", UINT64, FIELD(state.journal_bytes), "Length of the journal." },
	{ "journal_templates", "gauge", UINT64, FIELD(state.journal_templates),
	  "Templates that are in the journal and in no segment yet." },
	{ "refuses_changes", "gauge", REFUSES, FIELD(refuses), "1 while no changes are taken, after a failed write or sync." },
	{ "maintaining", "gauge", BOOL, FIELD(maintaining), "1 while sealing or compaction is under way." },
	{ "operations_waiting", "gauge", UINT32, FIELD(operations_waiting), "Changes and reads of elements that wait." },
	{ "probes_waiting", "gauge", UINT32, FIELD(share.waiting), "Probes that wait for room in the scan." },
	{ "probes_scanning", "gauge", UINT32, FIELD(share.scanning), "Probes that the scan compares now." },
	{ "batch_probes", "gauge", DOUBLE, FIELD(batch),
	  "Probes that were compared together, on the average of the last second with any." },
	{ "scan_bytes_per_second", "gauge", DOUBLE, FIELD(scan_bytes_per_second),
	  "Speed of the scan in the last second with probes." },
	{ "scan_limit_bytes_per_second", "gauge", DOUBLE, FIELD(limit_bytes_per_second),
	  "Speed that was measured of what the scan reads from; 0: not measured." },
	{ "scan_limit_ratio", "gauge", RATIO, 0, "Speed of the scan as a fraction of that limit." },
	{ "resident", "gauge", BOOL, FIELD(share.resident), "1 if all of it is in memory." },
	{ "resident_bytes", "gauge", UINT64, FIELD(share.resident_bytes), "Bytes of it in memory." },
	{ "devices", "gauge", UINT32, FIELD(share.devices), "GPUs that scan it." },
	{ "searches_total", "counter", UINT64, FIELD(share.queries), "Searches that the scan was given." },
	{ "probes_total", "counter", UINT64, FIELD(share.probes), "Probes of those." },
	{ "searches_refused_total", "counter", UINT64, FIELD(share.refused),
	  "Searches that were refused since too many probes waited." },
	{ "searches_cancelled_total", "counter", UINT64, FIELD(share.cancelled),
	  "Searches that ended early since their client was gone." },
	{ "searches_failed_total", "counter", UINT64, FIELD(share.failed),
	  "Searches that ended with an error of disk, memory or time." },
	{ "scanned_bytes_total", "counter", UINT64, FIELD(share.bytes_scanned), "Bytes of codes that were compared." },
	{ "read_bytes_total", "counter", UINT64, FIELD(share.bytes_read), "Bytes that were read from the disk for that." },
	{ "scanned_rows_total", "counter", UINT64, FIELD(share.rows_scanned), "Rows that were compared." },
	{ "comparisons_total", "counter", UINT64, FIELD(share.comparisons), "Comparisons of a probe with a row." },
	{ "reranked_rows_total", "counter", UINT64, FIELD(share.rows_reranked), "Rows whose exact score was computed." },
	{ "revolutions_total", "counter", UINT64, FIELD(share.revolutions), "Times the scan went round." },
	{ "busy_seconds_total", "counter", DOUBLE, FIELD(share.seconds_busy), "Time with probes in the scan." },
#undef FIELD
};

static void print_value(struct buffer *b, enum kind kind, const struct metrics_gallery *gallery, size_t offset)
{
	const void *field = (const char *)gallery + offset;

	switch (kind) {
	case UINT32:
		buffer_printf(b, "%u\n", *(const uint32_t *)field);
		break;
	case UINT64:
		buffer_printf(b, "%llu\n", (unsigned long long)*(const uint64_t *)field);
		break;
	case DOUBLE:
		buffer_printf(b, "%.9g\n", *(const double *)field);
		break;
	case BOOL:
		buffer_printf(b, "%d\n", *(const bool *)field);
		break;
	case REFUSES:
		buffer_printf(b, "%d\n", *(const char *)field != 0);
		break;
	case RATIO:
		buffer_printf(b, "%.4g\n",
			      gallery->limit_bytes_per_second > 0 ? gallery->scan_bytes_per_second / gallery->limit_bytes_per_second
								  : 0.0);
		break;
	}
}

/* Names of galleries need no escapes: they have neither quotes nor backslashes. */
static void print_galleries(struct buffer *b)
{
	char name[96];

	pthread_mutex_lock(&lock);
	head(b, "galleries", "gauge", "Galleries that are served.");
	buffer_printf(b, "lineup_galleries %u\n", gallery_count);
	for (uint32_t i = 0; i < ARRAY_SIZE(fields) && gallery_count; i++) {
		snprintf(name, sizeof(name), "gallery_%s", fields[i].name);
		head(b, name, fields[i].type, fields[i].help);
		for (uint32_t j = 0; j < gallery_count; j++) {
			buffer_printf(b, "lineup_%s{gallery=\"%s\"} ", name, galleries[j].name);
			print_value(b, fields[i].kind, &galleries[j], fields[i].offset);
		}
	}
	if (gallery_count)
		head(b, "gallery_scan_info", "gauge", "1, with what computes scores and where rows are read from as labels.");
	for (uint32_t j = 0; j < gallery_count; j++) {
		const struct lineup_share_stats *share = &galleries[j].share;

		buffer_printf(b, "lineup_gallery_scan_info{gallery=\"%s\",backend=\"%s\",io=\"%s\"} 1\n", galleries[j].name,
			      share->backend ? share->backend : "", share->io ? share->io : "");
	}
	pthread_mutex_unlock(&lock);
}

void metrics_prometheus(struct buffer *buffer)
{
	print_daemon(buffer);
	print_galleries(buffer);
}
