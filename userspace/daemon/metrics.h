/* SPDX-License-Identifier: MIT */
/* What is counted, and how it is told: Prometheus text, INFO, LINEUP.STATS. */
#ifndef LINEUPD_METRICS_H
#define LINEUPD_METRICS_H

#include "buffer.h"
#include "histogram.h"

enum metric { /* counters */
	METRIC_CONNECTIONS, METRIC_CONNECTIONS_REFUSED, METRIC_REQUESTS, METRIC_BYTES_IN, METRIC_BYTES_OUT,
	METRIC_ERROR_PROTOCOL, METRIC_ERROR_DENIED, METRIC_ERROR_BUSY, METRIC_ERROR_INVALID, METRIC_ERROR_STORAGE, METRIC_ERROR_MEMORY, METRIC_ERROR_INTERNAL,
	METRIC_ERROR_DEADLINE, METRIC_ERROR_LIMIT,
	METRIC_AUTH_FAILED, METRIC_SEARCHES, METRIC_PROBES, METRIC_VERIFIES, METRIC_ENROLLED, METRIC_DELETED, METRIC_GROUPS, METRIC_SEALED, METRIC_COMPACTED,
	METRIC_RECOVERED, METRIC_ACCEPT_FAILED,
	METRICS,
};

enum metric_latency { METRIC_SEARCH_NS, METRIC_SEARCH_WAIT_NS, METRIC_ENROL_NS, METRIC_SYNC_NS, METRIC_OTHER_NS, METRIC_LATENCIES };

void metrics_count(enum metric metric, uint64_t more); /* any thread, as all below */
uint64_t metrics_value(enum metric metric);
void metrics_latency(enum metric_latency which, uint64_t ns);
const struct histogram *metrics_histogram(enum metric_latency which);

/* Of one gallery, as its keeper and the loop set it down every second or so, for the HTTP thread. */
struct metrics_gallery {
	char name[DAEMON_NAME_BYTES_MAX + 1];
	struct lineup_gallery_state state;
	struct lineup_share_stats share;
	double scan_bytes_per_second; /* over the last second with probes */
	double limit_bytes_per_second; /* measured when the gallery was attached: memory read, or disk read where it streams; 0: not measured */
	double batch;            /* probes that scanned together, the mean of the last second */
	uint32_t operations_waiting;
	bool maintaining;
	char refuses[96];        /* why it takes no changes; "" */
	uint64_t deleted_rows;
};

void metrics_set_gallery(const struct metrics_gallery *gallery); /* added, or replaced by name */
void metrics_drop_gallery(const char *name);
/* Copies at most @max; returns how many there are. */
uint32_t metrics_galleries(struct metrics_gallery *out, uint32_t max);
void metrics_set_clients(uint32_t clients);
/* The text format 0.0.4. */
void metrics_prometheus(struct buffer *buffer);
/*
 * false with a line of text: /healthz answers 503. A gallery that refuses changes, or a loop that does not go round, is not
 * healthy.
 */
bool metrics_healthy(char why[256]);
void metrics_set_health(bool (*alive)(void *arg), void *arg);

#endif
