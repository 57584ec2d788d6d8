/* SPDX-License-Identifier: MIT */
/*
 * What every file of lineupd uses: how it is put together, its limits, messages, small things. Grouped by the file that defines it.
 */
#ifndef LINEUPD_DAEMON_H
#define LINEUPD_DAEMON_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lineup.h"

/*
 *	             loop thread                       keeper threads, one a gallery          crew threads
 *
 *	sockets -> loop -> client -> resp -> command --+--> keeper: enrol, delete, read  --+
 *	   ^      (io_uring)                           |    (groups, one sync for many)    |
 *	   |                                           +--> lineup_share: searches --------+--> crew scans
 *	   +------------- replies, in order of the client's requests <--- loop_post -------+
 *
 * The loop thread alone touches clients, requests, replies, sessions, the registry of galleries and timers: nothing of them is
 * locked. What must not wait for it (disks, scans) is handed to other threads with a struct task, which comes back by loop_post.
 * libmicrohttpd's thread reads metrics.h's counters only, which are atomic.
 *
 * The row of the daemon's nouns; a file includes headers of its own line and of those above only:
 *	daemon config log message buffer resp histogram metrics
 *	loop helper tls access filter attributes
 *	client
 *	keeper gallery
 *	command job args command_* server server_* notify seccomp http
 *	main
 */

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define DAEMON_PRINTF(f, a) __attribute__((format(printf, f, a)))

enum {
	DAEMON_GALLERIES_MAX = 1024,
	DAEMON_LISTENERS_MAX = 16,
	DAEMON_NAME_BYTES_MAX = 128,    /* of a gallery's name, [A-Za-z0-9_.-] and ':' , not beginning with '.' */
	DAEMON_USERS_MAX = 256,
	DAEMON_ATTRIBUTE_BYTES_MAX = 65536,
	DAEMON_FILTER_BYTES_MAX = 4096,
};

/* What a piece of work is put on another thread's list with, and comes back with; embedded in the work. */
struct task {
	struct task *next;
	void (*run)(struct task *task); /* on the thread that takes it */
};

/*
 * log.c: structured lines (logfmt: level= event= key="value"), to standard error, for journald with <N> levels if it is there. Any
 * thread. Never a probe, a score, a subject's name, an attribute or a secret.
 */

enum log_level { LOG_ERROR = 3, LOG_WARN = 4, LOG_INFO = 6, LOG_DEBUG = 7 }; /* syslog's numbers */

void log_init(enum log_level most);
/*
 * log_event(LOG_INFO, "client", "id=%llu peer=%s", ...): @fields are key=value pairs separated by spaces; log_quote makes a value
 * of any text.
 */
void log_event(enum log_level level, const char *event, const char *fields, ...) DAEMON_PRINTF(3, 4);
/* Writes @text quoted and escaped into @out of @size bytes; returns @out. */
const char *log_quote(char *out, size_t size, const char *text);
/* For struct lineup_ctx_options. */
void log_library(void *arg, enum lineup_log_level level, const char *message);

uint64_t now_ns(void); /* CLOCK_MONOTONIC */

#endif
