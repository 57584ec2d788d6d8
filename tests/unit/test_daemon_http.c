// SPDX-License-Identifier: MIT
// Metrics and health over HTTP: what is answered, what is refused, and to whom.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "metrics.h"
#include "server.h"

static struct http *http;
static uint16_t port;
static char reply[1 << 20];

static int connected(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* What comes back for @request until the other side closes. */
static const char *ask(const char *request)
{
	int fd = connected();
	size_t size = 0;
	ssize_t got;

	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	while ((got = recv(fd, reply + size, sizeof(reply) - 1 - size, 0)) > 0)
		size += (size_t)got;
	reply[size] = 0;
	close(fd);
	return reply;
}

#define ASK(method, path) ask(method " " path " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
#define BEGINS(text, start) assert_memory_equal(text, start, strlen(start))

static void metrics_are_answered(void **state)
{
	const char *body;

	(void)state;
	metrics_count(METRIC_CONNECTIONS, 77);
	BEGINS(ASK("GET", "/metrics"), "HTTP/1.1 200 OK\r\n");
	assert_non_null(strstr(reply, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	body = strstr(reply, "\r\n\r\n");
	assert_non_null(body);
	BEGINS(body + 4, "# HELP lineup_build_info ");
	assert_non_null(strstr(body, "\nlineup_connections_total 77\n"));
	assert_int_equal(body[strlen(body) - 1], '\n');
}

static void head_is_answered_without_a_body(void **state)
{
	(void)state;
	BEGINS(ASK("HEAD", "/metrics"), "HTTP/1.1 200 OK\r\n");
	assert_non_null(strstr(reply, "\r\n\r\n"));
	assert_string_equal(strstr(reply, "\r\n\r\n"), "\r\n\r\n");
}

static void health_is_200_or_503(void **state)
{
	struct metrics_gallery g = { .name = "staff", .refuses = "a sync failed" };

	(void)state;
	BEGINS(ASK("GET", "/healthz"), "HTTP/1.1 200 OK\r\n");
	assert_non_null(strstr(reply, "\r\n\r\nok\n"));
	metrics_set_gallery(&g);
	BEGINS(ASK("GET", "/healthz"), "HTTP/1.1 503 Service Unavailable\r\n");
	assert_non_null(strstr(reply, "\r\n\r\ngallery staff takes no changes: a sync failed\n"));
	metrics_drop_gallery("staff");
}

static void other_methods_are_405(void **state)
{
	(void)state;
	BEGINS(ASK("DELETE", "/metrics"), "HTTP/1.1 405 Method Not Allowed\r\n");
	assert_non_null(strstr(reply, "\r\nAllow: GET, HEAD\r\n"));
	BEGINS(ask("POST /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"),
	       "HTTP/1.1 405 ");
	BEGINS(ASK("OPTIONS", "/metrics"), "HTTP/1.1 405 ");
	BEGINS(ASK("get", "/metrics"), "HTTP/1.1 405 ");
}

static void other_paths_are_404(void **state)
{
	(void)state;
	BEGINS(ASK("GET", "/"), "HTTP/1.1 404 Not Found\r\n");
	BEGINS(ASK("GET", "/metrics/"), "HTTP/1.1 404 ");
	BEGINS(ASK("GET", "/../metrics"), "HTTP/1.1 404 ");
	BEGINS(ASK("HEAD", "/x"), "HTTP/1.1 404 ");
}

static void other_hosts_are_403(void **state)
{
	static const char *const wrong[] = { "example.org", "127.example.org", "localhost.example.org", "[::1].example.org",
					     "192.0.2.1" };
	static const char *const right[] = {
		"localhost", "localhost:9464", "127.0.0.1:9464", "127.1.2.3", "[::1]:9464", "LOCALHOST"
	};
	char request[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		snprintf(request, sizeof(request), "GET /metrics HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", wrong[i]);
		BEGINS(ask(request), "HTTP/1.1 403 Forbidden\r\n");
	}
	for (size_t i = 0; i < ARRAY_SIZE(right); i++) {
		snprintf(request, sizeof(request), "GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", right[i]);
		BEGINS(ask(request), "HTTP/1.1 200 OK\r\n");
	}
}

static void a_connection_may_ask_again(void **state)
{
	const char *again;

	(void)state;
	BEGINS(ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: "
		   "close\r\n\r\n"),
	       "HTTP/1.1 200 OK\r\n");
	again = strstr(reply + 1, "HTTP/1.1 200 OK\r\n");
	assert_non_null(again);
	assert_non_null(strstr(again, "ok\n"));
}

static void nonsense_is_refused(void **state)
{
	static char large[40000];

	(void)state;
	ask("nonsense\r\n\r\n");
	assert_null(strstr(reply, " 200 "));
	snprintf(large, sizeof(large), "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: %030000d\r\n\r\n", 0);
	ask(large);
	assert_null(strstr(reply, " 200 "));
	BEGINS(ASK("GET", "/healthz"), "HTTP/1.1 200 OK\r\n");
}

/* One more than may be open is closed without an answer; the others go on. */
static void connections_are_limited(void **state)
{
	enum { MAX = 16 };
	static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
	int fd[MAX], extra;
	char byte;

	(void)state;
	for (int i = 0; i < MAX; i++) {
		fd[i] = connected();
		assert_int_equal(send(fd[i], request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
		assert_int_equal(recv(fd[i], &byte, 1, MSG_PEEK), 1);
	}
	extra = connected();
	assert_true(recv(extra, &byte, 1, 0) <= 0);
	close(extra);
	for (int i = 0; i < MAX; i++)
		close(fd[i]);
}

static void addresses_beyond_loopback_are_refused(void **state)
{
	struct http *other = NULL;
	char address[64];

	(void)state;
	assert_int_equal(http_create("0.0.0.0:1", &other), -EINVAL);
	assert_int_equal(http_create("[::]:1", &other), -EINVAL);
	assert_int_equal(http_create("", &other), -EINVAL);
	snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	assert_int_equal(http_create(address, &other), -EADDRINUSE);
	assert_null(other);
	http_destroy(NULL);
}

/* On a port that nobody has. */
static int serve(void **state)
{
	char address[64];

	(void)state;
	log_init(0);
	for (unsigned int try = 0; try < 200; try++) {
		port = (uint16_t)(20000 + ((unsigned int)getpid() * 37 + try * 101) % 40000);
		snprintf(address, sizeof(address), "127.0.0.1:%u", port);
		if (!http_create(address, &http))
			return 0;
	}
	return -1;
}

static int stop(void **state)
{
	(void)state;
	http_destroy(http);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(metrics_are_answered),
		cmocka_unit_test(head_is_answered_without_a_body),
		cmocka_unit_test(health_is_200_or_503),
		cmocka_unit_test(other_methods_are_405),
		cmocka_unit_test(other_paths_are_404),
		cmocka_unit_test(other_hosts_are_403),
		cmocka_unit_test(a_connection_may_ask_again),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(connections_are_limited),
		cmocka_unit_test(addresses_beyond_loopback_are_refused),
	};

	return cmocka_run_group_tests_name("http", tests, serve, stop);
}
