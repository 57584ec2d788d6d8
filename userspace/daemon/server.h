/* SPDX-License-Identifier: MIT */
/* The daemon as a whole: what is there from start to end, how it reloads and how it stops. */
#ifndef LINEUPD_SERVER_H
#define LINEUPD_SERVER_H

#include "command.h"
#include "helper.h"

struct search;
struct old_config;
struct stats;

struct server {
	struct lineup_ctx *ctx;
	struct lineup_crew *crew;
	struct loop *loop;
	struct config *config;
	struct old_config *old_configs; /* server.c */
	char config_path[4096];  /* "": none */
	struct access *access;
	struct clients *clients;
	struct galleries *galleries;
	struct helper *helper;
	struct search *searches;   /* under way, for those whose client is gone */
	uint32_t auths;            /* under way */
	struct http *http;
	struct stats *stats;       /* server_stats.c */
	uint64_t started_ns;
	bool draining;             /* no new requests come; those under way are finished */
	bool stopping;             /* keepers and shares are gone: whatever still comes back ends */
};

/* server.c */

/* Everything that serves, from the configuration, which is the server's from here on, whatever is returned; logs what fails. */
int server_create(struct config *config, const char *config_path, struct server **server);
/* Serves until it is told to end. */
int server_run(struct server *server);
void server_destroy(struct server *server);
int server_reload(struct server *server, char error[512]);

/* server_stats.c: rates of each gallery, once a second */

int stats_start(struct server *server);
void stats_fini(struct server *server);

/* command_search.c: cancels the searches of clients that are gone. */

void searches_sweep(struct server *server);

/* notify.c: systemd */

void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);
void notify_status(const char *format, ...) DAEMON_PRINTF(1, 2);
/* Pets the watchdog at half its time for as long as the loop goes round. */
void notify_watchdog(struct loop *loop);
/* Listening sockets of socket activation; returns how many. */
uint32_t notify_sockets(int *fds, uint32_t max);

/*
 * seccomp.c: after everything is set up, before the first client. On a kernel without filters, and under a sanitizer, 0 with a
 * warning; other failures are logged.
 */
int seccomp_confine(const struct config *config);
/* No core dumps of this process, its memory not readable by others (PR_SET_DUMPABLE), privileges that cannot be gained back. */
void seccomp_harden(void);

/* http.c: GET /metrics, /healthz on loopback, by libmicrohttpd in a thread of its own. */

struct http;
int http_create(const char *address, struct http **http); /* logs */
void http_destroy(struct http *http);

#endif
