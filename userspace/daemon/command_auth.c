// SPDX-License-Identifier: MIT
// AUTH and HELLO: who a connection is, found out by a thread of the helper, since hashing a password takes tens of milliseconds.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "job.h"

enum { AUTHS_MAX = 64, USER_BYTES_MAX = 63 };

/* One AUTH under way. The client's later requests are held back until it has ended. */
struct auth {
	struct job job;          /* first */
	struct access *access;   /* reference: a reload may put another in its place meanwhile */
	bool hello;
	int version;             /* that HELLO asked for; 0: none */
	char user[USER_BYTES_MAX + 1];
	const char *secret;
	size_t secret_bytes;
	const struct resp_argument *name; /* HELLO SETNAME */
	struct session session;
	int err;
};

static void greet(struct request *request, int version)
{
	struct buffer *b = &request->reply;
	struct client_info info;

	client_info(request->client, &info);
	resp_map(b, version, 7);
	resp_text(b, "server");
	resp_text(b, "lineup");
	resp_text(b, "version");
	resp_text(b, lineup_version());
	resp_text(b, "proto");
	resp_integer(b, version);
	resp_text(b, "id");
	resp_integer(b, (long long)info.id);
	resp_text(b, "mode");
	resp_text(b, "standalone");
	resp_text(b, "role");
	resp_text(b, "master");
	resp_text(b, "modules");
	resp_array(b, 0);
}

/* The end of HELLO, when the client is known. */
static void hello_end(struct request *request, int version, const struct resp_argument *name)
{
	if (!client_session(request->client)->known) {
		request_error(request, METRIC_ERROR_DENIED, "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
			      "HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version "
			      "at the same time");
		return;
	}
	if (name && client_set_name(request->client, name->data, name->size)) {
		request_error(request, METRIC_ERROR_INVALID, "ERR Client names cannot contain spaces, newlines or special characters.");
		return;
	}
	if (version)
		client_set_version(request->client, version);
	greet(request, client_version(request->client));
}

static void auth_run(struct task *task)
{
	struct auth *a = CONTAINER(task, struct auth, job.help);

	a->err = access_secret(a->access, a->user, a->secret, a->secret_bytes, &a->session);
	job_back(&a->job);
}

static void auth_done(struct job *job)
{
	struct auth *a = CONTAINER(job, struct auth, job);
	struct request *request = job->request;

	job->server->auths--;
	if (!a->err && a->access != job->server->access && access_renew(job->server->access, &a->session))
		a->err = -EACCES; /* a reload came meanwhile, and there is no such user any more */
	access_put(a->access);
	if (a->err == -EACCES) {
		session_end(&a->session);
		metrics_count(METRIC_AUTH_FAILED, 1);
		request_error(request, METRIC_ERROR_DENIED, "WRONGPASS invalid username-password pair or user is disabled.");
	} else if (a->err) {
		request_fail(request, a->err, NULL);
	} else if (request_gone(request)) {
		session_end(&a->session);
	} else {
		struct session *session = client_session(request->client);

		session_end(session);
		*session = a->session;
		if (a->hello)
			hello_end(request, a->version, a->name);
		else
			resp_simple(&request->reply, "OK");
	}
	job_end(job);
}

static void auth_start(struct server *server, struct request *request, const struct auth *asked, const struct resp_argument *user,
		       const struct resp_argument *secret)
{
	struct auth *a;
	int err;

	if (server->auths >= AUTHS_MAX) {
		request_fail(request, -EBUSY, "too many authentications are under way");
		request_end(request);
		return;
	}
	a = job_begin_with(server, request, sizeof(*a), NULL);
	if (!a)
		return;
	a->access = access_get(server->access);
	a->hello = asked->hello;
	a->version = asked->version;
	a->name = asked->name;
	/* A name that is none is compared all the same, as one that nobody has. */
	if (user && user->size <= USER_BYTES_MAX && !memchr(user->data, '\0', user->size))
		memcpy(a->user, user->data, user->size);
	else if (!user)
		strcpy(a->user, "default");
	a->secret = secret->data;
	a->secret_bytes = secret->size;
	a->job.done = auth_done;
	server->auths++;
	request_pending(request, REQUEST_ALONE);
	a->job.help.run = auth_run;
	err = helper_submit(server->helper, &a->job.help); /* the helper's from here on, if it is 0 */
	if (err) {
		a->err = err;
		auth_done(&a->job);
	}
}

/* Whether there is a user called default, who has a secret. */
static bool default_user(const struct config *config)
{
	for (uint32_t i = 0; i < config->users; i++)
		if (!strcmp(config->user[i].name, "default") && config->user[i].secret_file[0])
			return true;
	return false;
}

void command_auth(struct server *server, struct request *request)
{
	const struct auth asked = { .hello = false };
	const struct resp_argument *argument = request->argument;

	if (request->arguments > 3) {
		request_error(request, METRIC_ERROR_INVALID, "ERR syntax error");
		request_end(request);
		return;
	}
	if (request->arguments == 2 && !default_user(server->config)) {
		metrics_count(METRIC_AUTH_FAILED, 1);
		request_error(request, METRIC_ERROR_DENIED, "ERR AUTH <password> called without any password configured for the default user. "
			      "Are you sure your configuration is correct?");
		request_end(request);
		return;
	}
	if (request->arguments == 2)
		auth_start(server, request, &asked, NULL, &argument[1]);
	else
		auth_start(server, request, &asked, &argument[1], &argument[2]);
}

void command_hello(struct server *server, struct request *request)
{
	struct args args = { .request = request, .at = 1, .count = request->arguments };
	const struct resp_argument *user = NULL, *secret = NULL;
	struct auth asked = { .hello = true };
	uint64_t version = 0;

	if (args_left(&args) && !args_u64(&args, 0, INT64_MAX, &version))
		request_error(request, METRIC_ERROR_INVALID, "ERR Protocol version is not an integer or out of range");
	else if (args.at == 2 && version != 2 && version != 3)
		request_error(request, METRIC_ERROR_INVALID, "NOPROTO unsupported protocol version");
	if (request->reply.size) {
		request_end(request);
		return;
	}
	asked.version = (int)version;
	while (args_left(&args)) {
		if (args.at + 2 < args.count && args_word(&args, "AUTH")) {
			user = args_next(&args);
			secret = args_next(&args);
		} else if (args_option(&args, "SETNAME")) {
			asked.name = args_next(&args);
		} else {
			request_error(request, METRIC_ERROR_INVALID, "ERR Syntax error in HELLO option");
			request_end(request);
			return;
		}
	}
	if (secret) {
		auth_start(server, request, &asked, user, secret);
		return;
	}
	hello_end(request, asked.version, asked.name);
	request_end(request);
}
