// SPDX-License-Identifier: MIT
// The connection to lineupd: where it is, commands out, replies in, and what is done when it is lost.
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "remote_wire.h"

enum { HEAD_BYTES = 32, CONNECT_SECONDS = 10, TRIES_MAX = 8, SECRET_BYTES_MAX = 1024, READ_BYTES = 65536 };

/* ---- commands ---- */

static void command_append(struct cli *cli, struct remote_command *c, const void *data, size_t size)
{
	if (!c->failed && c->end + size > c->capacity) {
		size_t capacity = 2 * (c->end + size) + 65536;
		char *more = cli_secret_alloc(cli, capacity);

		if (more && c->data)
			memcpy(more, c->data, c->end);
		c->failed = !more;
		if (more) {
			cli_secret_free(c->data, c->capacity);
			c->data = more;
			c->capacity = capacity;
		}
	}
	if (c->failed)
		return;
	memcpy(c->data + c->end, data, size);
	c->end += size;
}

void command_data(struct cli *cli, struct remote_command *c, const void *data, size_t size)
{
	char head[HEAD_BYTES];

	command_append(cli, c, head, (size_t)snprintf(head, sizeof(head), "$%zu\r\n", size));
	command_append(cli, c, data, size);
	command_append(cli, c, "\r\n", 2);
	c->arguments++;
}

void command_begin(struct cli *cli, struct remote_command *c, const char *name)
{
	static const char room[HEAD_BYTES];

	if (c->data)
		explicit_bzero(c->data, c->end);
	c->begin = c->end = 0;
	c->arguments = 0;
	c->failed = false;
	command_append(cli, c, room, sizeof(room));
	command_text(cli, c, name);
}

void command_text(struct cli *cli, struct remote_command *c, const char *text)
{
	command_data(cli, c, text, strlen(text));
}

void command_number(struct cli *cli, struct remote_command *c, int64_t number)
{
	char text[32];

	command_data(cli, c, text, (size_t)snprintf(text, sizeof(text), "%" PRId64, number));
}

void command_unsigned(struct cli *cli, struct remote_command *c, uint64_t number)
{
	char text[32];

	command_data(cli, c, text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, number));
}

void command_real(struct cli *cli, struct remote_command *c, double number)
{
	char text[64];

	command_data(cli, c, text, (size_t)snprintf(text, sizeof(text), "%.9g", number));
}

void command_hex(struct cli *cli, struct remote_command *c, const uint8_t *bytes, size_t size)
{
	char text[2 * LINEUP_DIGEST_BYTES + 1];

	cli_hex(text, bytes, size);
	command_text(cli, c, text);
}

void command_finish(struct remote_command *c)
{
	char head[HEAD_BYTES];
	size_t size = (size_t)snprintf(head, sizeof(head), "*%u\r\n", c->arguments);

	if (c->failed)
		return;
	c->begin = HEAD_BYTES - size;
	memcpy(c->data + c->begin, head, size);
}

void command_fini(struct remote_command *c)
{
	cli_secret_free(c->data, c->capacity);
	*c = (struct remote_command){ 0 };
}

/* ---- the connection ---- */

static int lose(struct remote *r, const char *why)
{
	r->lost = true;
	if (r->quiet)
		return CLI_FAILED;
	return cli_fail(r->cli, "lineupd at %s: %s", r->address, why);
}

/* Waits until the socket can be read or written. */
static int wait_for(struct remote *r, short events)
{
	struct pollfd fd = { .fd = r->connection->fd, .events = events };

	while (poll(&fd, 1, 1000) <= 0)
		if (cli_interrupted())
			return cli_fail(r->cli, "interrupted while lineupd was asked: a change may have been made or not");
	return 0;
}

int remote_send(struct remote *r, const struct remote_command *c)
{
	size_t at = c->begin;

	if (c->failed || r->lost)
		return CLI_FAILED;
	while (at < c->end) {
		ssize_t n = send(r->connection->fd, c->data + at, c->end - at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			at += (size_t)n;
		} else if (errno != EAGAIN && errno != EINTR) {
			return lose(r, strerror(errno));
		} else {
			int status = wait_for(r, POLLOUT);

			if (status)
				return status;
		}
	}
	return 0;
}

int remote_receive(struct remote *r, redisReply **reply)
{
	char data[READ_BYTES];
	void *found = NULL;

	for (;;) {
		ssize_t n;
		int status;

		if (redisReaderGetReply(r->connection->reader, &found) != REDIS_OK)
			return lose(r, r->connection->reader->errstr);
		if (found) {
			*reply = found;
			return 0;
		}
		status = wait_for(r, POLLIN);
		if (status)
			return status;
		n = recv(r->connection->fd, data, sizeof(data), MSG_DONTWAIT);
		if (n == 0)
			return lose(r, "the connection was closed");
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return lose(r, strerror(errno));
		if (n > 0 && redisReaderFeed(r->connection->reader, data, (size_t)n) != REDIS_OK)
			return lose(r, "no memory for a reply");
		explicit_bzero(data, n > 0 ? (size_t)n : 0);
	}
}

static int refuse(struct remote *r, const redisReply *reply)
{
	return r->name ? cli_fail(r->cli, "lineup://%s: %s", r->name, reply->str)
		       : cli_fail(r->cli, "lineupd at %s: %s", r->address, reply->str);
}

int remote_answer(struct remote *r, redisReply **reply)
{
	int status = remote_receive(r, reply);

	if (!status && (*reply)->type == REDIS_REPLY_ERROR) {
		status = refuse(r, *reply);
		freeReplyObject(*reply);
		*reply = NULL;
	}
	return status;
}

int remote_ask(struct remote *r, struct remote_command *c, redisReply **reply)
{
	int status;

	command_finish(c);
	status = remote_send(r, c);
	return status ? status : remote_answer(r, reply);
}

static bool pause_for(unsigned int try)
{
	struct timespec t = { .tv_sec = (50l << try) / 1000, .tv_nsec = (50l << try) % 1000 * 1000000 };

	nanosleep(&t, NULL);
	return !cli_interrupted();
}

int remote_insist(struct remote *r, struct remote_command *c, redisReply **reply)
{
	int status = CLI_FAILED;

	command_finish(c);
	for (unsigned int try = 0; try < TRIES_MAX; try++) {
		/* What is lost is said when it is given up. */
		r->quiet = try + 1 < TRIES_MAX;
		status = r->lost ? remote_connect(r) : 0;
		status = status ? status : remote_send(r, c);
		status = status ? status : remote_receive(r, reply);
		if (!status &&
		    ((*reply)->type != REDIS_REPLY_ERROR || strncmp((*reply)->str, "BUSY", 4) != 0 || try + 1 == TRIES_MAX))
			break;
		if (status && !r->lost)
			break;
		if (!status)
			freeReplyObject(*reply);
		*reply = NULL;
		if (!pause_for(try))
			break;
	}
	r->quiet = false;
	if (!status && *reply && (*reply)->type == REDIS_REPLY_ERROR) {
		status = refuse(r, *reply);
		freeReplyObject(*reply);
		*reply = NULL;
	}
	return !status && !*reply ? cli_fail(r->cli, "interrupted") : status;
}

/* ---- opening ---- */

static void find_address(struct remote *r)
{
	const char *given = r->options->socket ? r->options->socket : getenv("LINEUP_SOCKET"), *runtime = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	if (given && given[0]) {
		snprintf(r->address, sizeof(r->address), "%s", strncmp(given, "unix:", 5) ? given : given + 5);
		return;
	}
	if (runtime && runtime[0]) {
		snprintf(r->address, sizeof(r->address), "%s/lineup.sock", runtime);
		if (!stat(r->address, &st))
			return;
	}
	snprintf(r->address, sizeof(r->address), "/run/lineup/lineup.sock");
}

static int connect_tcp(struct remote *r, const struct timeval timeout)
{
	char host[sizeof(r->address)], *colon, *end;
	const char *name = host;
	long port;

	snprintf(host, sizeof(host), "%s", r->address + strlen("tcp:"));
	colon = strrchr(host, ':');
	port = colon ? strtol(colon + 1, &end, 10) : 0;
	if (!colon || colon == host || !isdigit((unsigned char)colon[1]) || *end || port < 1 || port > 65535)
		return cli_usage(r->cli, "--socket: '%s' is not tcp:HOST:PORT", r->address);
	*colon = 0;
	if (host[0] == '[' && colon[-1] == ']') {
		colon[-1] = 0;
		name++;
	}
	r->connection = redisConnectWithTimeout(name, (int)port, timeout);
	return 0;
}

/* The first line of the secret's file. */
static int read_secret(struct remote *r, char *secret)
{
	const char *path = r->options->secret_file;
	FILE *file = fopen(path, "re");
	char *line;

	if (!file)
		return cli_fail(r->cli, "%s: %s", path, strerror(errno));
	setvbuf(file, NULL, _IONBF, 0);
	line = fgets(secret, SECRET_BYTES_MAX, file);
	fclose(file);
	if (!line)
		return cli_fail(r->cli, "%s: it has no first line, which is to be the secret", path);
	secret[strcspn(secret, "\r\n")] = 0;
	return 0;
}

static int authenticate(struct remote *r)
{
	struct remote_command c = { 0 };
	char *secret = cli_secret_alloc(r->cli, SECRET_BYTES_MAX);
	redisReply *reply = NULL;
	int status = secret ? read_secret(r, secret) : CLI_FAILED;

	if (!status) {
		command_begin(r->cli, &c, "AUTH");
		if (r->options->user)
			command_text(r->cli, &c, r->options->user);
		command_text(r->cli, &c, secret);
		status = remote_ask(r, &c, &reply);
	}
	cli_secret_free(secret, SECRET_BYTES_MAX);
	command_fini(&c);
	if (reply)
		freeReplyObject(reply);
	return status;
}

int remote_connect(struct remote *r)
{
	static const struct timeval timeout = { .tv_sec = CONNECT_SECONDS };

	if (r->connection)
		redisFree(r->connection);
	r->connection = NULL;
	r->lost = false;
	if (strncmp(r->address, "tcp:", 4) == 0) {
		int status = connect_tcp(r, timeout);

		if (status)
			return status;
	} else {
		r->connection = redisConnectUnixWithTimeout(r->address, timeout);
	}
	if (!r->connection)
		return cli_fail(r->cli, "no memory for a connection");
	if (r->connection->err)
		return lose(r, r->connection->errstr);
	/* Replies that are long are read once, and their buffer is not kept. */
	return r->options->secret_file ? authenticate(r) : 0;
}

int remote_open(struct cli *cli, const struct remote_options *options, const char *name, struct remote **remote)
{
	struct remote *r;
	int status;

	if (name && !name[0])
		return cli_usage(cli, "lineup:// is followed by the gallery's name");
	if (options->user && !options->secret_file)
		return cli_usage(cli, "--user needs --secret-file");
	r = calloc(1, sizeof(*r));
	if (!r)
		return cli_status(cli, -ENOMEM);
	r->cli = cli;
	r->options = options;
	r->name = name;
	find_address(r);
	status = remote_connect(r);
	if (status) {
		remote_close(r);
		return status;
	}
	*remote = r;
	return 0;
}

void remote_close(struct remote *r)
{
	if (!r)
		return;
	if (r->connection)
		redisFree(r->connection);
	free(r);
}

/* ---- replies ---- */

const redisReply *reply_field(const redisReply *map, const char *name)
{
	if (map && map->type == REDIS_REPLY_ARRAY)
		for (size_t i = 0; i + 1 < map->elements; i += 2)
			if (map->element[i]->str && strcmp(map->element[i]->str, name) == 0)
				return map->element[i + 1];
	return NULL;
}

uint64_t reply_unsigned(const redisReply *map, const char *name)
{
	const redisReply *field = reply_field(map, name);

	return field && field->type == REDIS_REPLY_INTEGER ? (uint64_t)field->integer : 0;
}

const char *reply_text(const redisReply *map, const char *name)
{
	const redisReply *field = reply_field(map, name);

	return field && field->str ? field->str : "";
}

double reply_real(const redisReply *map, const char *name)
{
	const redisReply *field = reply_field(map, name);

	return !field ? 0 : field->type == REDIS_REPLY_INTEGER ? (double)field->integer : field->str ? strtod(field->str, NULL) : 0;
}

bool reply_hex(const redisReply *map, const char *name, uint8_t *bytes, size_t size)
{
	const char *text = reply_text(map, name);

	if (strlen(text) != 2 * size || text[strspn(text, "0123456789abcdef")])
		return false;
	for (size_t i = 0; i < size; i++) {
		char pair[3] = { text[2 * i], text[2 * i + 1], 0 };

		bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return true;
}
