// SPDX-License-Identifier: MIT
// The echo server of tests of the client stage.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon_bed.h"

static bool is(const struct request *request, const char *name)
{
	return request->argument[0].size == strlen(name) && !memcmp(request->argument[0].data, name, strlen(name));
}

static void reply_argument(struct request *request)
{
	if (request->arguments > 1)
		resp_bulk(&request->reply, request->argument[1].data, request->argument[1].size);
	else
		resp_error(&request->reply, "ERR wrong number of arguments");
}

static void reply_big(struct request *request)
{
	size_t size = strtoull(request->argument[1].data, NULL, 10);
	void *data = calloc(1, size);

	assert_non_null(data);
	resp_bulk(&request->reply, data, size);
	free(data);
}

static void dispatch(void *arg, struct request *request)
{
	struct bed *bed = arg;

	bed->dispatched++;
	if (is(request, "LATER") || is(request, "WRITE") || is(request, "LOGIN")) {
		if (!is(request, "LATER"))
			request_pending(request, REQUEST_WRITE);
		assert_true(bed->laters < 64);
		bed->later[bed->laters++] = request;
		return;
	}
	if (is(request, "QUIT")) {
		resp_simple(&request->reply, "OK");
		request_close(request);
		return;
	}
	if (is(request, "ECHO") || is(request, "SEARCH"))
		reply_argument(request);
	else if (is(request, "BIG"))
		reply_big(request);
	else if (is(request, "COUNT"))
		resp_integer(&request->reply, (long long)request->arguments);
	else if (is(request, "KILL"))
		client_close(request->client);
	else if (!is(request, "BAD"))
		resp_error(&request->reply, "ERR unknown command");
	request_end(request);
}

static bool holds(void *arg, const struct request *request)
{
	(void)arg;
	return is(request, "SEARCH");
}

static void closed(void *arg, struct client *client)
{
	struct bed *bed = arg;

	(void)client;
	bed->closed++;
}

void wire_end(struct bed *bed, uint32_t index)
{
	struct request *request = bed->later[index];

	assert_non_null(request);
	bed->later[index] = NULL;
	if (is(request, "LOGIN")) {
		client_session(request->client)->known = true;
		resp_simple(&request->reply, "OK");
	} else {
		reply_argument(request);
	}
	request_end(request);
}

void wire_open(struct bed *bed, bool single, void (*change)(struct config *config))
{
	wire_open_inherited(bed, single, change, -1);
}

void wire_open_inherited(struct bed *bed, bool single, void (*change)(struct config *config), int listener)
{
	struct clients_setup setup = { .dispatch = dispatch, .holds = holds, .closed = closed, .arg = bed };
	char error[512];

	memset(bed, 0, sizeof(*bed));
	log_init(LOG_ERROR);
	snprintf(bed->directory, sizeof(bed->directory), "%s/client-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(bed->directory));
	snprintf(bed->path, sizeof(bed->path), "%s/socket", bed->directory);
	config_init(&bed->config);
	snprintf(bed->config.listen[0].address, sizeof(bed->config.listen[0].address), "unix:%.100s", bed->path);
	bed->config.listens = 1;
	if (change)
		change(&bed->config);
	assert_int_equal(access_create(&bed->config, &bed->access, error), 0);
	assert_int_equal(loop_create(&bed->loop), 0);
	if (single)
		loop_single(bed->loop);
	setup.loop = bed->loop;
	setup.config = &bed->config;
	setup.access = bed->access;
	setup.inherited = &listener;
	setup.inherited_count = listener >= 0;
	assert_int_equal(clients_create(&setup, &bed->clients), 0);
}

void wire_close(struct bed *bed)
{
	for (uint32_t i = 0; i < bed->laters; i++)
		if (bed->later[i])
			wire_end(bed, i);
	clients_destroy(bed->clients);
	assert_int_equal(access(bed->path, F_OK), -1);
	loop_destroy(bed->loop);
	access_put(bed->access);
	config_fini(&bed->config);
	rmdir(bed->directory);
}

int wire_connect(struct bed *bed)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	memcpy(un.sun_path, bed->path, strlen(bed->path) + 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	return fd;
}

void wire_turn(struct bed *bed)
{
	assert_int_equal(loop_turn(bed->loop, false), 0);
}

void wire_send(struct bed *bed, int fd, const void *data, size_t size)
{
	uint64_t until = now_ns() + 10000000000ull;

	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n > 0) {
			data = (const char *)data + n;
			size -= (size_t)n;
		} else {
			assert_int_equal(errno, EAGAIN);
		}
		wire_turn(bed);
		assert_true(now_ns() < until);
	}
}

void wire_say(struct bed *bed, int fd, const char *text)
{
	wire_send(bed, fd, text, strlen(text));
}

void wire_expect_bytes(struct bed *bed, int fd, const void *data, size_t size)
{
	uint64_t until = now_ns() + 10000000000ull;
	static char got[65536];

	while (size) {
		ssize_t n = recv(fd, got, size < sizeof(got) ? size : sizeof(got), 0);

		if (n > 0) {
			assert_memory_equal(got, data, (size_t)n);
			data = (const char *)data + n;
			size -= (size_t)n;
		} else {
			assert_int_not_equal(n, 0);
			assert_int_equal(errno, EAGAIN);
		}
		wire_turn(bed);
		assert_true(now_ns() < until);
	}
}

void wire_expect(struct bed *bed, int fd, const char *text)
{
	wire_expect_bytes(bed, fd, text, strlen(text));
}

void wire_expect_end(struct bed *bed, int fd)
{
	ssize_t n = -1;
	char c;

	BED_UNTIL(bed, (n = recv(fd, &c, 1, 0)) >= 0 || errno == ECONNRESET);
	assert_true(n <= 0);
}

void wire_expect_nothing(struct bed *bed, int fd)
{
	char c;

	for (int i = 0; i < 50; i++) {
		struct pollfd none = { .fd = -1 };

		wire_turn(bed);
		poll(&none, 1, i % 10 ? 0 : 1); /* what the kernel still does in the background has its chance */
		assert_int_equal(recv(fd, &c, 1, 0), -1);
		assert_int_equal(errno, EAGAIN);
	}
}
