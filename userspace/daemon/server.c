// SPDX-License-Identifier: MIT
// The daemon as a whole: built in order, served, reloaded, drained, taken down in the reverse order.
#include "server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "message.h"
#include "tls.h"

static enum log_level level_of(const struct config *config)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = { { "error", LOG_ERROR }, { "warning", LOG_WARN }, { "warn", LOG_WARN }, { "debug", LOG_DEBUG } };

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (!strcmp(config->log_level, levels[i].name))
			return levels[i].level;
	return LOG_INFO;
}

static void drained(void *arg)
{
	struct server *server = arg;

	log_event(LOG_INFO, "drained", "clients=%u", clients_count(server->clients));
	loop_stop(server->loop);
}

static void drain(struct server *server, int signal)
{
	if (server->draining) {
		log_event(LOG_WARN, "stopping", "signal=%d reason=\"second signal: at once\"", signal);
		loop_stop(server->loop);
		return;
	}
	server->draining = true;
	log_event(LOG_INFO, "draining", "signal=%d seconds=%u", signal, server->config->drain_s);
	notify_stopping();
	clients_drain(server->clients, (uint64_t)server->config->drain_s * 1000, drained, server);
}

static void reload(struct server *server)
{
	char error[512] = "", text[1024];

	if (server->draining)
		return;
	notify_reloading();
	if (server_reload(server, error))
		log_event(LOG_ERROR, "reload_refused", "error=%s", log_quote(text, sizeof(text), error));
	else
		log_event(LOG_INFO, "reloaded", "galleries=%u", galleries_count(server->galleries));
	notify_ready();
}

static void on_signal(void *arg, int signal)
{
	if (signal == SIGHUP)
		reload(arg);
	else
		drain(arg, signal);
}

/* The configuration before, which keepers that are being opened may still read: kept to the end. */
struct old_config {
	struct old_config *next;
	struct config *config;
};

static int keep_config(struct server *server)
{
	struct old_config *old = malloc(sizeof(*old));

	if (!old)
		return -ENOMEM;
	*old = (struct old_config){ .next = server->old_configs, .config = server->config };
	server->old_configs = old;
	return 0;
}

/* Reads the file again. -errno with @error: nothing has changed. */
static int read_again(struct server *server, struct config **config, struct access **access, char error[512])
{
	struct config *c = calloc(1, sizeof(*c));
	int err;

	snprintf(error, 512, "out of memory");
	if (!c)
		return -ENOMEM;
	config_init(c);
	err = config_read(server->config_path, c, error);
	if (!err)
		err = config_check(c, error);
	if (!err)
		err = access_create(c, access, error);
	if (!err) {
		struct tls *tls = NULL;

		err = tls_create(c, &tls, error); /* clients_reload makes its own: here it is known that it can */
		tls_put(tls);
		if (err)
			access_put(*access);
	}
	if (err) {
		config_fini(c);
		free(c);
		return err;
	}
	*config = c;
	return 0;
}

int server_reload(struct server *server, char error[512])
{
	struct config *config;
	struct access *access;
	int err;

	if (!server->config_path[0]) {
		galleries_reload(server->galleries, server->config); /* what else is in its directory by now */
		return 0;
	}
	err = read_again(server, &config, &access, error);
	if (err)
		return err;
	err = keep_config(server);
	if (err) {
		access_put(access);
		config_fini(config);
		free(config);
		return err;
	}
	access_put(server->access);
	server->config = config;
	server->access = access;
	log_init(level_of(config));
	clients_reload(server->clients, config, access);
	galleries_reload(server->galleries, config);
	return 0;
}

static int create_library(struct server *server)
{
	struct lineup_ctx_options options = { .size = sizeof(options), .log = message_library };
	int err = lineup_ctx_create(&options, &server->ctx);

	if (!err)
		err = lineup_crew_create(server->ctx, server->config->threads, &server->crew);
	return err;
}

static int create_galleries(struct server *server)
{
	int err = galleries_create(server->ctx, server->crew, server->loop, server->config, &server->galleries);

	return err ? err : galleries_open(server->galleries);
}

static int create_clients(struct server *server)
{
	int inherited[DAEMON_LISTENERS_MAX];
	struct clients_setup setup = {
		.loop = server->loop,
		.config = server->config,
		.access = server->access,
		.dispatch = command_dispatch,
		.holds = command_holds,
		.arg = server,
		.inherited = inherited,
	};

	setup.inherited_count = notify_sockets(inherited, DAEMON_LISTENERS_MAX);
	return clients_create(&setup, &server->clients);
}

static bool alive(void *arg)
{
	return loop_alive(arg, 5000);
}

static int create_rest(struct server *server)
{
	const char *metrics = server->config->metrics;
	int err;

	metrics_set_health(alive, server->loop);
	err = metrics[0] ? http_create(metrics, &server->http) : 0;
	if (!err)
		err = stats_start(server);
	if (!err)
		err = create_clients(server);
	if (!err)
		err = seccomp_confine(server->config);
	return err;
}

int server_create(struct config *config, const char *config_path, struct server **out)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct server *server = calloc(1, sizeof(*server));
	char error[512] = "", text[1024];
	int err;

	if (!server)
		return -ENOMEM;
	server->config = config; /* ours from here on */
	server->started_ns = now_ns();
	snprintf(server->config_path, sizeof(server->config_path), "%s", config_path);
	log_init(level_of(config));
	signal(SIGPIPE, SIG_IGN);
	seccomp_harden();
	err = loop_create(&server->loop);
	if (!err)
		err = loop_signals(server->loop, signals, ARRAY_SIZE(signals), on_signal, server);
	if (!err) {
		err = access_create(config, &server->access, error);
		if (err)
			log_event(LOG_ERROR, "access", "error=%s", log_quote(text, sizeof(text), error));
	}
	if (!err)
		err = create_library(server);
	if (!err)
		err = helper_create(&server->helper);
	if (!err)
		err = create_galleries(server);
	if (!err)
		err = create_rest(server);
	if (err) {
		log_event(LOG_ERROR, "start_failed", "error=\"%s\"", strerror(-err));
		server_destroy(server);
		return err;
	}
	*out = server;
	return 0;
}

int server_run(struct server *server)
{
	int err;

	notify_watchdog(server->loop);
	notify_ready();
	notify_status("serving %u galleries", galleries_count(server->galleries));
	log_event(LOG_INFO, "ready", "version=%s galleries=%u threads=%u start_ms=%llu", lineup_version(),
		  galleries_count(server->galleries),
		  lineup_crew_threads(server->crew), (unsigned long long)(now_ns() - server->started_ns) / 1000000);
	err = loop_run(server->loop);
	log_event(LOG_INFO, "ended", "err=%d", err);
	return err;
}

/* Ends what requests wait for: each is answered, in words or by an error, while clients_destroy goes round the loop. */
static void stop(struct server *server)
{
	helper_destroy(server->helper);
	server->stopping = true;
	if (server->galleries)
		galleries_stop(server->galleries);
}

void server_destroy(struct server *server)
{
	if (!server)
		return;
	stop(server);
	http_destroy(server->http);
	stats_fini(server);
	clients_destroy(server->clients);
	galleries_destroy(server->galleries);
	lineup_crew_destroy(server->crew);
	lineup_ctx_destroy(server->ctx);
	access_put(server->access);
	loop_destroy(server->loop);
	for (struct old_config *old = server->old_configs, *next; old; old = next) {
		next = old->next;
		config_fini(old->config);
		free(old->config);
		free(old);
	}
	config_fini(server->config);
	free(server->config);
	free(server);
}
