// SPDX-License-Identifier: MIT
// What clients ask about the server: INFO, COMMAND, CONFIG GET.
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "commands.h"
#include "job.h"

enum { ANY_ROLE = ACCESS_SEARCHER | ACCESS_ENROLLER | ACCESS_AUDITOR | ACCESS_ADMIN };

/* ---- INFO ---- */

static uint64_t resident_bytes(void)
{
	unsigned long long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%*u %llu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void info_server(struct server *server, struct request *request, struct buffer *b)
{
	uint64_t up = (now_ns() - server->started_ns) / 1000000000;

	(void)request;
	buffer_printf(b, "lineup_version:%s\r\nredis_version:8.0.0\r\nredis_mode:standalone\r\nprocess_id:%d\r\nuptime_in_seconds:%" PRIu64
		      "\r\nuptime_in_days:%" PRIu64 "\r\nio_threads:1\r\nscan_threads:%u\r\n",
		      lineup_version(), (int)getpid(), up, up / 86400, lineup_crew_threads(server->crew));
}

static void info_clients(struct server *server, struct request *request, struct buffer *b)
{
	(void)request;
	buffer_printf(b, "connected_clients:%u\r\nmaxclients:%u\r\nblocked_clients:0\r\n", clients_count(server->clients),
		      server->config->clients_max);
}

static void info_memory(struct server *server, struct request *request, struct buffer *b)
{
	uint64_t bytes = resident_bytes();

	(void)server;
	(void)request;
	buffer_printf(b, "used_memory:%" PRIu64 "\r\nused_memory_rss:%" PRIu64 "\r\n", bytes, bytes);
}

static void info_persistence(struct server *server, struct request *request, struct buffer *b)
{
	(void)server;
	(void)request;
	buffer_printf(b, "loading:0\r\ngroups:%" PRIu64 "\r\nsealed:%" PRIu64 "\r\ncompacted:%" PRIu64 "\r\nrecovered:%" PRIu64 "\r\n",
		      metrics_value(METRIC_GROUPS), metrics_value(METRIC_SEALED), metrics_value(METRIC_COMPACTED),
		      metrics_value(METRIC_RECOVERED));
}

static void info_stats(struct server *server, struct request *request, struct buffer *b)
{
	static const struct {
		const char *name;
		enum metric metric;
	} values[] = {
		{ "total_connections_received", METRIC_CONNECTIONS },
		{ "rejected_connections", METRIC_CONNECTIONS_REFUSED },
		{ "total_commands_processed", METRIC_REQUESTS },
		{ "total_net_input_bytes", METRIC_BYTES_IN },
		{ "total_net_output_bytes", METRIC_BYTES_OUT },
		{ "searches", METRIC_SEARCHES },
		{ "probes", METRIC_PROBES },
		{ "verifies", METRIC_VERIFIES },
		{ "enrolled", METRIC_ENROLLED },
		{ "deleted", METRIC_DELETED },
		{ "errors_busy", METRIC_ERROR_BUSY },
		{ "errors_storage", METRIC_ERROR_STORAGE },
		{ "acl_access_denied_auth", METRIC_AUTH_FAILED },
	};

	(void)server;
	(void)request;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		buffer_printf(b, "%s:%" PRIu64 "\r\n", values[i].name, metrics_value(values[i].metric));
}

static void info_replication(struct server *server, struct request *request, struct buffer *b)
{
	(void)server;
	(void)request;
	buffer_printf(b, "role:master\r\nconnected_slaves:0\r\n");
}

static void info_cpu(struct server *server, struct request *request, struct buffer *b)
{
	struct rusage usage;

	(void)server;
	(void)request;
	getrusage(RUSAGE_SELF, &usage);
	buffer_printf(b, "used_cpu_sys:%lld.%06ld\r\nused_cpu_user:%lld.%06ld\r\n",
		      (long long)usage.ru_stime.tv_sec, (long)usage.ru_stime.tv_usec,
		      (long long)usage.ru_utime.tv_sec, (long)usage.ru_utime.tv_usec);
}

struct keyspace {
	const struct session *session;
	struct buffer *buffer;
	uint64_t count;
};

static void count_gallery(void *arg, struct gallery *gallery)
{
	struct keyspace *k = arg;

	k->count += access_allows(k->session, ANY_ROLE, gallery_name(gallery));
}

static void tell_gallery(void *arg, struct gallery *gallery)
{
	struct keyspace *k = arg;
	struct keeper *keeper = gallery_keeper(gallery);
	struct lineup_gallery_state state;

	if (!access_allows(k->session, ANY_ROLE, gallery_name(gallery)))
		return;
	lineup_gallery_now(keeper_gallery(keeper), &state);
	buffer_printf(k->buffer, "%s:dim=%u,subjects=%" PRIu64 ",templates=%" PRIu64 ",sequence=%" PRIu64 "\r\n", gallery_name(gallery),
		      keeper_info(keeper)->dim, state.subjects, state.templates, state.sequence);
}

static void info_keyspace(struct server *server, struct request *request, struct buffer *b)
{
	struct keyspace k = { .session = client_session(request->client), .buffer = b };

	galleries_each(server->galleries, count_gallery, &k);
	if (k.count)
		buffer_printf(b, "db0:keys=%" PRIu64 ",expires=0,avg_ttl=0\r\n", k.count);
}

static void info_galleries(struct server *server, struct request *request, struct buffer *b)
{
	struct keyspace k = { .session = client_session(request->client), .buffer = b };

	galleries_each(server->galleries, tell_gallery, &k);
}

void command_info(struct server *server, struct request *request)
{
	static const struct {
		const char *name, *title;
		void (*write)(struct server *server, struct request *request, struct buffer *b);
	} sections[] = {
		{ "server", "Server", info_server }, { "clients", "Clients", info_clients },
		{ "memory", "Memory", info_memory }, { "persistence", "Persistence", info_persistence },
		{ "stats", "Stats", info_stats }, { "replication", "Replication", info_replication },
		{ "cpu", "CPU", info_cpu }, { "keyspace", "Keyspace", info_keyspace },
		{ "galleries", "Galleries", info_galleries },
	};
	bool all = request->arguments == 1;
	struct buffer text = { 0 };

	for (uint64_t i = 1; i < request->arguments; i++)
		all |= argument_is(&request->argument[i], "all") || argument_is(&request->argument[i], "default") ||
		       argument_is(&request->argument[i], "everything");
	for (size_t s = 0; s < ARRAY_SIZE(sections); s++) {
		bool wanted = all;

		for (uint64_t i = 1; i < request->arguments; i++)
			wanted |= argument_is(&request->argument[i], sections[s].name);
		if (!wanted)
			continue;
		buffer_printf(&text, "%s# %s\r\n", text.size ? "\r\n" : "", sections[s].title);
		sections[s].write(server, request, &text);
	}
	buffer_append(&text, "", 1);
	resp_verbatim(&request->reply, request->version, "txt", text.data ? text.data : "");
	buffer_fini(&text);
	request_end(request);
}

/* ---- COMMAND ---- */

static void write_name(struct buffer *b, const struct command *c)
{
	char name[32];

	snprintf(name, sizeof(name), "%s", c->name);
	for (char *p = name; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p |= 32;
	resp_text(b, name);
}

static void write_command(struct buffer *b, int version, const struct command *c)
{
	uint32_t flags = !!(c->flags & COMMAND_FAST) + !!(c->flags & COMMAND_NOAUTH) + 1;

	resp_array(b, 10);
	write_name(b, c);
	resp_integer(b, c->arity);
	resp_set(b, version, flags);
	resp_simple(b, c->flags & COMMAND_WRITE ? "write" : "readonly");
	if (c->flags & COMMAND_FAST)
		resp_simple(b, "fast");
	if (c->flags & COMMAND_NOAUTH)
		resp_simple(b, "no_auth");
	resp_integer(b, c->key);
	resp_integer(b, c->key);
	resp_integer(b, c->key ? 1 : 0);
	for (int i = 0; i < 4; i++) /* categories, tips, key specifications, subcommands: none */
		resp_array(b, 0);
}

static void write_docs(struct buffer *b, int version, const struct command *c)
{
	write_name(b, c);
	resp_map(b, version, 3);
	resp_text(b, "summary");
	resp_text(b, c->summary);
	resp_text(b, "since");
	resp_text(b, lineup_version());
	resp_text(b, "group");
	resp_text(b, c->name[0] == 'V' ? "vector_set" : c->key || !strncmp(c->name, "LINEUP", 6) ? "module" : "connection");
}

static void docs(struct request *request)
{
	struct buffer *b = &request->reply;
	uint64_t found = 0;

	if (request->arguments == 2) {
		resp_map(b, request->version, command_count);
		for (uint32_t i = 0; i < command_count; i++)
			write_docs(b, request->version, &commands[i]);
		return;
	}
	for (uint64_t i = 2; i < request->arguments; i++)
		found += command_find(request->argument[i].data, request->argument[i].size) != NULL;
	resp_map(b, request->version, found);
	for (uint64_t i = 2; i < request->arguments; i++) {
		const struct command *c = command_find(request->argument[i].data, request->argument[i].size);

		if (c)
			write_docs(b, request->version, c);
	}
}

static void infos(struct request *request)
{
	struct buffer *b = &request->reply;

	resp_array(b, request->arguments - 2);
	for (uint64_t i = 2; i < request->arguments; i++) {
		const struct command *c = command_find(request->argument[i].data, request->argument[i].size);

		if (c)
			write_command(b, request->version, c);
		else
			resp_null_array(b, request->version);
	}
}

static void all_commands(struct request *request)
{
	resp_array(&request->reply, command_count);
	for (uint32_t i = 0; i < command_count; i++)
		write_command(&request->reply, request->version, &commands[i]);
}

void command_command(struct server *server, struct request *request)
{
	const struct resp_argument *sub = &request->argument[1];
	struct buffer *b = &request->reply;

	(void)server;
	if (request->arguments == 1 || (request->arguments == 2 && argument_is(sub, "INFO"))) {
		all_commands(request);
	} else if (argument_is(sub, "COUNT") && request->arguments == 2) {
		resp_integer(b, command_count);
	} else if (argument_is(sub, "LIST") && request->arguments == 2) {
		resp_array(b, command_count);
		for (uint32_t i = 0; i < command_count; i++)
			write_name(b, &commands[i]);
	} else if (argument_is(sub, "DOCS")) {
		docs(request);
	} else if (argument_is(sub, "INFO")) {
		infos(request);
	} else {
		request_error(request, METRIC_ERROR_INVALID, "ERR unknown subcommand: COMMAND [COUNT | LIST | DOCS name ... | INFO name ...]");
	}
	request_end(request);
}

/* ---- CONFIG ---- */

/* What clients of Redis look for before they work; lineupd's own configuration is its file. */
void command_config(struct server *server, struct request *request)
{
	static const char *const values[][2] = {
		{ "save", "" }, { "appendonly", "yes" }, { "appendfsync", "always" }, { "databases", "1" }, { "maxmemory", "0" },
	};
	struct buffer found = { 0 };
	uint64_t count = 0;

	(void)server;
	if (!argument_is(&request->argument[1], "GET") || request->arguments < 3) {
		request_error(request, METRIC_ERROR_INVALID, "ERR only CONFIG GET is supported: lineupd reads its file again on SIGHUP");
		request_end(request);
		return;
	}
	for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
		bool wanted = false;

		for (uint64_t i = 2; i < request->arguments; i++) {
			const struct resp_argument *a = &request->argument[i];
			char pattern[64] = "";

			if (a->size < sizeof(pattern) && !memchr(a->data, '\0', a->size))
				memcpy(pattern, a->data, a->size);
			wanted |= !fnmatch(pattern, values[v][0], FNM_CASEFOLD);
		}
		if (wanted) {
			resp_text(&found, values[v][0]);
			resp_text(&found, values[v][1]);
			count++;
		}
	}
	resp_map(&request->reply, request->version, count);
	buffer_append(&request->reply, found.data, found.size);
	buffer_fini(&found);
	request_end(request);
}
