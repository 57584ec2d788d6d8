// SPDX-License-Identifier: MIT
// Connections: order, limits, and how they end, with and without multishot operations of the ring.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon_bed.h"
#include "metrics.h"

static bool is_single(void **state)
{
	return *state != NULL;
}

static void an_inline_request_is_answered(void **state)
{
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "ECHO \"a b\\x41\"\r\nECHO 'it\\'s'\n\r\n");
	wire_expect(&bed, fd, "$4\r\na bA\r\n$4\r\nit's\r\n");
	wire_expect_nothing(&bed, fd);
	close(fd);
	BED_UNTIL(&bed, bed.closed == 1);
	wire_close(&bed);
}

static void a_request_may_come_byte_by_byte(void **state)
{
	static const char text[] = "*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n*1\r\n$5\r\nCOUNT\r\n";
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	for (size_t i = 0; i + 1 < sizeof(text); i++)
		wire_send(&bed, fd, text + i, 1);
	wire_expect(&bed, fd, "$3\r\na\r\n\r\n:1\r\n");
	close(fd);
	wire_close(&bed);
}

/* 600,000 bytes go both ways, which no socket holds at once, and which take their memory over from the input. */
static void large_requests_and_replies_pass(void **state)
{
	enum { SIZE = 600000 };
	char *data = malloc(SIZE + 64);
	struct bed bed;
	size_t head;
	int fd;

	assert_non_null(data);
	head = (size_t)sprintf(data, "*2\r\n$4\r\nECHO\r\n$%d\r\n", SIZE);
	for (size_t i = 0; i < SIZE; i++)
		data[head + i] = (char)(i * 7 % 251);
	memcpy(data + head + SIZE, "\r\n", 2);
	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_send(&bed, fd, data, head + SIZE + 2);
	/* The reply begins behind the request's first argument. */
	wire_expect_bytes(&bed, fd, data + 14, head - 14 + SIZE + 2);
	wire_say(&bed, fd, "ECHO x\r\n");
	wire_expect(&bed, fd, "$1\r\nx\r\n");
	close(fd);
	wire_close(&bed);
	free(data);
}

/* More arrives between two rounds than the ring has buffers for: all of it is received all the same. */
static void more_arrives_at_once_than_there_are_buffers(void **state)
{
	enum { CLIENTS = LOOP_BUFFERS + 50, SIZE = 20000 };
	static char data[SIZE + 64];
	struct bed bed;
	int fds[CLIENTS];
	size_t head;

	head = (size_t)sprintf(data, "*2\r\n$4\r\nECHO\r\n$%d\r\n", SIZE);
	memset(data + head, 'x', SIZE);
	memcpy(data + head + SIZE, "\r\n", 2);
	wire_open(&bed, is_single(state), NULL);
	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = wire_connect(&bed);
		BED_UNTIL(&bed, clients_count(bed.clients) == (uint32_t)i + 1);
	}
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(send(fds[i], data, head + SIZE + 2, MSG_NOSIGNAL), head + SIZE + 2);
	for (int i = 0; i < CLIENTS; i++)
		wire_expect_bytes(&bed, fds[i], data + 14, head - 14 + SIZE + 2);
	for (int i = 0; i < CLIENTS; i++)
		close(fds[i]);
	wire_close(&bed);
}

static void replies_keep_the_order_of_requests(void **state)
{
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "LATER a\r\nECHO b\r\nLATER c\r\nECHO d\r\n");
	BED_UNTIL(&bed, bed.dispatched == 4);
	wire_end(&bed, 1);
	wire_expect_nothing(&bed, fd);
	wire_end(&bed, 0);
	wire_expect(&bed, fd, "$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n");
	close(fd);
	wire_close(&bed);
}

static void a_search_waits_for_the_writes_before_it(void **state)
{
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "WRITE a\r\nWRITE b\r\nECHO x\r\nSEARCH c\r\nECHO y\r\n");
	BED_UNTIL(&bed, bed.dispatched == 3);
	wire_end(&bed, 1);
	wire_expect_nothing(&bed, fd);
	assert_int_equal(bed.dispatched, 3);
	wire_end(&bed, 0);
	assert_int_equal(bed.dispatched, 5);
	wire_expect(&bed, fd, "$1\r\na\r\n$1\r\nb\r\n$1\r\nx\r\n$1\r\nc\r\n$1\r\ny\r\n");
	close(fd);
	wire_close(&bed);
}

static void a_held_search_of_a_closed_client_is_never_dispatched(void **state)
{
	struct linger reset = { .l_onoff = 1 };
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "WRITE a\r\nSEARCH c\r\n");
	BED_UNTIL(&bed, bed.laters == 1);
	client_close(bed.later[0]->client);
	assert_true(request_gone(bed.later[0]));
	wire_expect_end(&bed, fd);
	wire_end(&bed, 0);
	BED_UNTIL(&bed, bed.closed == 1);
	assert_int_equal(bed.dispatched, 1);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
	wire_close(&bed);
}

static void a_protocol_error_is_told_then_the_connection_closes(void **state)
{
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "LATER a\r\n*1\r\n+OK\r\nECHO never\r\n");
	wire_expect_nothing(&bed, fd);
	wire_end(&bed, 0);
	wire_expect(&bed, fd, "$1\r\na\r\n-ERR Protocol error: expected '$', got '+'\r\n");
	wire_expect_end(&bed, fd);
	close(fd);
	BED_UNTIL(&bed, bed.closed == 1);
	wire_close(&bed);
}

/* Guards the bound on what is received, and dropped, of a client that has been told why it is closed. */
static void who_goes_on_sending_after_a_protocol_error_is_cut_off(void **state)
{
	static char noise[65536];
	struct bed bed;
	size_t sent = 0;
	ssize_t n = 0;
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "*x\r\n");
	while (sent < 64 << 20 && (n >= 0 || errno == EAGAIN)) {
		n = send(fd, noise, sizeof(noise), MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		wire_turn(&bed);
	}
	assert_int_equal(n, -1);
	assert_true(sent < 8 << 20);
	close(fd);
	wire_close(&bed);
}

static void quit_answers_and_closes(void **state)
{
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "LATER a\r\nQUIT\r\nECHO never\r\n");
	BED_UNTIL(&bed, bed.laters == 1);
	wire_end(&bed, 0);
	wire_expect(&bed, fd, "$1\r\na\r\n+OK\r\n");
	wire_expect_end(&bed, fd);
	close(fd);
	wire_close(&bed);
	assert_int_equal(bed.dispatched, 2);
}

/* Who shuts only its sending side still reads all replies; a request that was cut short is dropped. */
static void a_half_closed_client_gets_its_replies(void **state)
{
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "WRITE a\r\nSEARCH b\r\nECHO c\r\n*2\r\n$4\r\nECHO\r\n$5\r\nhal");
	shutdown(fd, SHUT_WR);
	wire_expect_nothing(&bed, fd);
	wire_end(&bed, 0);
	wire_expect(&bed, fd, "$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
	wire_expect_end(&bed, fd);
	close(fd);
	wire_close(&bed);
}

static void small_pipeline(struct config *config)
{
	config->client_pipeline_max = 2;
}

static void a_pipeline_is_bounded(void **state)
{
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), small_pipeline);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "LATER a\r\nLATER b\r\nLATER c\r\nLATER d\r\n");
	BED_UNTIL(&bed, bed.laters == 2);
	wire_expect_nothing(&bed, fd);
	assert_int_equal(bed.laters, 2);
	wire_end(&bed, 1);
	assert_int_equal(bed.laters, 2);
	wire_end(&bed, 0);
	assert_int_equal(bed.laters, 4);
	wire_end(&bed, 2);
	wire_end(&bed, 3);
	wire_expect(&bed, fd, "$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n");
	close(fd);
	wire_close(&bed);
}

/* More than a client may send ahead stays with the kernel, and comes when there is room again. */
static void a_client_that_sends_ahead_is_stopped_and_goes_on(void **state)
{
	static char lines[40000 * 8];
	struct bed bed;
	size_t sent = 0, before;
	uint32_t ended = 0;
	int fd, quiet = 0;

	for (size_t i = 0; i < sizeof(lines); i += 8)
		memcpy(lines + i, "ECHO x\r\n", 8);
	wire_open(&bed, is_single(state), small_pipeline);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "LATER a\r\nLATER b\r\n");
	BED_UNTIL(&bed, bed.laters == 2);
	while (quiet < 50 && sent < sizeof(lines)) {
		ssize_t n = send(fd, lines + sent, sizeof(lines) - sent, 0);

		before = sent;
		sent += n > 0 ? (size_t)n : 0;
		quiet = sent == before ? quiet + 1 : 0;
		wire_turn(&bed);
		usleep(100);
	}
	assert_int_equal(bed.dispatched, 2);
	wire_end(&bed, ended++);
	wire_end(&bed, ended++);
	wire_expect(&bed, fd, "$1\r\na\r\n$1\r\nb\r\n");
	for (size_t i = 0; i < sent / 8; i++)
		wire_expect(&bed, fd, "$1\r\nx\r\n");
	close(fd);
	wire_close(&bed);
}

static void small_output(struct config *config)
{
	config->client_output_bytes_max = 65536;
}

/* Requests of a slow reader wait; nothing is lost. */
static void a_slow_reader_is_waited_for(void **state)
{
	enum { SIZE = 60000, COUNT = 100 };
	struct bed bed;
	char *big = calloc(1, SIZE + 16);
	size_t head = (size_t)sprintf(big, "$%d\r\n", SIZE);
	int fd, other;

	memcpy(big + head + SIZE, "\r\n", 2);
	memset(big + head, 0, SIZE);
	wire_open(&bed, is_single(state), small_output);
	fd = wire_connect(&bed);
	other = wire_connect(&bed);
	for (int i = 0; i < COUNT; i++)
		wire_say(&bed, fd, "BIG 60000\r\n");
	wire_expect_nothing(&bed, other);
	assert_true(bed.dispatched < COUNT);
	for (int i = 0; i < COUNT; i++)
		wire_expect_bytes(&bed, fd, big, head + SIZE + 2);
	assert_int_equal(bed.dispatched, COUNT);
	close(other);
	close(fd);
	wire_close(&bed);
	free(big);
}

static void a_reader_that_is_far_behind_is_closed(void **state)
{
	uint64_t before = metrics_value(METRIC_ERROR_LIMIT);
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), small_output);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "BIG 20000000\r\n");
	BED_UNTIL(&bed, bed.closed == 1);
	assert_int_equal(metrics_value(METRIC_ERROR_LIMIT), before + 1);
	close(fd);
	wire_close(&bed);
}

static void two_clients(struct config *config)
{
	config->clients_max = 2;
}

static void one_client_too_many_is_told(void **state)
{
	struct bed bed;
	int a, b, c;

	wire_open(&bed, is_single(state), two_clients);
	a = wire_connect(&bed);
	b = wire_connect(&bed);
	c = wire_connect(&bed);
	wire_expect(&bed, c, "-ERR max number of clients reached\r\n");
	wire_expect_end(&bed, c);
	assert_int_equal(clients_count(bed.clients), 2);
	close(a);
	BED_UNTIL(&bed, bed.closed == 1);
	close(c);
	c = wire_connect(&bed);
	wire_say(&bed, c, "ECHO in\r\n");
	wire_expect(&bed, c, "$2\r\nin\r\n");
	close(b);
	close(c);
	wire_close(&bed);
}

/* Nobody, until LOGIN ends: root and the own user are somebody else's peers. */
static void strangers(struct config *config)
{
	config->user = calloc(1, sizeof(*config->user));
	assert_non_null(config->user);
	config->users = 1;
	strcpy(config->user->name, "other");
	config->user->uid = 4000000;
	strcpy(config->user->roles, "admin");
}

static void nobody_has_small_limits(void **state)
{
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), strangers);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "*11\r\n");
	wire_expect(&bed, fd, "-ERR Protocol error: unauthenticated multibulk length\r\n");
	wire_expect_end(&bed, fd);
	close(fd);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "*2\r\n$4\r\nECHO\r\n$16385\r\n");
	wire_expect(&bed, fd, "-ERR Protocol error: unauthenticated bulk length\r\n");
	wire_expect_end(&bed, fd);
	close(fd);
	wire_close(&bed);
}

static void what_follows_a_login_has_the_limits_of_somebody(void **state)
{
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), strangers);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "LOGIN x\r\nCOUNT 2 3 4 5 6 7 8 9 10 11 12\r\n*11\r\n$5\r\nCOUNT\r\n");
	for (int i = 0; i < 10; i++)
		wire_say(&bed, fd, "$1\r\nx\r\n");
	wire_expect_nothing(&bed, fd);
	assert_int_equal(bed.dispatched, 1);
	wire_end(&bed, 0);
	wire_expect(&bed, fd, "+OK\r\n:12\r\n:11\r\n");
	close(fd);
	wire_close(&bed);
}

static void a_missing_reply_is_an_error(void **state)
{
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "BAD\r\nECHO a\r\n");
	wire_expect(&bed, fd, "-ERR internal error: the command gave no reply\r\n$1\r\na\r\n");
	wire_say(&bed, fd, "KILL\r\n");
	wire_expect_end(&bed, fd);
	close(fd);
	wire_close(&bed);
}

static void limited_rate(struct config *config)
{
	config->client_rate = 20;
}

/* A second's worth comes at once, and the others one by one: delayed, none refused. */
static void a_rate_delays(void **state)
{
	struct bed bed;
	uint64_t begun;
	int fd;

	wire_open(&bed, is_single(state), limited_rate);
	fd = wire_connect(&bed);
	begun = now_ns();
	for (int i = 0; i < 25; i++)
		wire_say(&bed, fd, "ECHO a\r\n");
	for (int i = 0; i < 25; i++)
		wire_expect(&bed, fd, "$1\r\na\r\n");
	/* At least: four intervals, less what the clock rounds. That it is not much more is not for a test. */
	assert_true(now_ns() - begun > 3 * 50000000ull);
	close(fd);
	wire_close(&bed);
}

static void short_idle(struct config *config)
{
	config->client_idle_s = 1;
}

static void an_idle_client_is_closed_but_not_one_that_waits(void **state)
{
	struct bed bed;
	int idle, waiting;

	wire_open(&bed, is_single(state), short_idle);
	idle = wire_connect(&bed);
	waiting = wire_connect(&bed);
	wire_say(&bed, waiting, "LATER a\r\n");
	wire_expect_end(&bed, idle);
	BED_UNTIL(&bed, bed.closed == 1);
	wire_expect_nothing(&bed, waiting);
	wire_end(&bed, 0);
	wire_expect(&bed, waiting, "$1\r\na\r\n");
	wire_expect_end(&bed, waiting);
	close(idle);
	close(waiting);
	wire_close(&bed);
}

static void drained(void *arg)
{
	((struct bed *)arg)->drained = true;
}

static void draining_answers_what_runs_and_takes_nothing_new(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct bed bed;
	int fd, other;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "LATER a\r\n");
	BED_UNTIL(&bed, bed.laters == 1);
	clients_drain(bed.clients, 60000, drained, &bed);
	wire_say(&bed, fd, "ECHO never\r\n");
	wire_expect_nothing(&bed, fd);
	assert_false(bed.drained);
	other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(un.sun_path, bed.path, strlen(bed.path) + 1);
	assert_int_equal(connect(other, (struct sockaddr *)&un, sizeof(un)), -1);
	close(other);
	wire_end(&bed, 0);
	wire_expect(&bed, fd, "$1\r\na\r\n");
	BED_UNTIL(&bed, bed.drained);
	wire_close(&bed);
	assert_int_equal(bed.dispatched, 1);
	close(fd);
}

static void draining_ends_after_its_time(void **state)
{
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "LATER a\r\n");
	BED_UNTIL(&bed, bed.laters == 1);
	clients_drain(bed.clients, 20, drained, &bed);
	BED_UNTIL(&bed, bed.drained);
	assert_non_null(bed.later[0]);
	wire_close(&bed);
	close(fd);
}

static void two_requests_end_of_a_client_that_reset(void **state)
{
	struct bed bed;
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "LATER a\r\nBIG 100000\r\nLATER b\r\n");
	BED_UNTIL(&bed, bed.laters == 2);
	close(fd);
	wire_end(&bed, 0);
	for (int i = 0; i < 10; i++)
		wire_turn(&bed);
	wire_end(&bed, 1);
	BED_UNTIL(&bed, bed.closed == 1);
	wire_close(&bed);
}

/* All descriptors are in use: who connects is told, and the next is served when there are some again. */
static void running_out_of_descriptors_is_told_and_passes(void **state)
{
	uint64_t before = metrics_value(METRIC_ACCEPT_FAILED);
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd, more, filler[64], fillers = 0;
	struct rlimit limit, low;
	struct bed bed;

	wire_open(&bed, is_single(state), NULL);
	/* Before the first round: the ring goes by the limit there was when it was asked to accept. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = 64;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "ECHO a\r\n");
	wire_expect(&bed, fd, "$1\r\na\r\n");
	more = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	while (fillers < 64 && (filler[fillers] = dup(0)) >= 0)
		fillers++;
	log_init(0); /* the line it says is not for the test's output */
	memcpy(un.sun_path, bed.path, strlen(bed.path) + 1);
	assert_int_equal(connect(more, (struct sockaddr *)&un, sizeof(un)), 0);
	wire_expect(&bed, more, "-ERR max number of clients reached\r\n");
	wire_expect_end(&bed, more);
	assert_true(metrics_value(METRIC_ACCEPT_FAILED) > before);
	wire_say(&bed, fd, "ECHO b\r\n");
	wire_expect(&bed, fd, "$1\r\nb\r\n");
	while (fillers)
		close(filler[--fillers]);
	close(more);
	more = wire_connect(&bed);
	wire_say(&bed, more, "ECHO c\r\n");
	wire_expect(&bed, more, "$1\r\nc\r\n");
	close(more);
	close(fd);
	wire_close(&bed);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void a_stale_socket_is_replaced_and_a_live_one_is_not(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct clients_setup setup = { 0 };
	struct clients *second;
	struct bed bed;
	int fd, stale;

	wire_open(&bed, is_single(state), NULL);
	setup = (struct clients_setup){ .loop = bed.loop, .config = &bed.config, .access = bed.access };
	log_init(0);
	assert_int_equal(clients_create(&setup, &second), -EADDRINUSE);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "ECHO a\r\n");
	wire_expect(&bed, fd, "$1\r\na\r\n");
	close(fd);
	clients_destroy(bed.clients);
	memcpy(un.sun_path, bed.path, strlen(bed.path) + 1);
	stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(stale, (struct sockaddr *)&un, sizeof(un)), 0);
	close(stale);
	assert_int_equal(clients_create(&setup, &bed.clients), 0);
	fd = wire_connect(&bed);
	close(fd);
	wire_close(&bed);
}

static void open_mode(struct config *config)
{
	config->unix_mode = 0640;
}

static void the_socket_has_the_mode_that_was_asked_for(void **state)
{
	struct stat st;
	struct bed bed;

	wire_open(&bed, is_single(state), open_mode);
	assert_int_equal(stat(bed.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	wire_close(&bed);
}

static void names_are_plain(void **state)
{
	struct client_info info;
	struct client *client;
	struct bed bed;
	char peer[64];
	int fd;

	wire_open(&bed, is_single(state), NULL);
	fd = wire_connect(&bed);
	wire_say(&bed, fd, "LATER a\r\n");
	BED_UNTIL(&bed, bed.laters == 1);
	client = bed.later[0]->client;
	assert_int_equal(client_set_name(client, "pool-1", 6), 0);
	assert_string_equal(client_name(client), "pool-1");
	assert_int_equal(client_set_name(client, "a b", 3), -EINVAL);
	assert_int_equal(client_set_name(client, "a\n", 2), -EINVAL);
	assert_int_equal(client_set_name(client, "0123456789012345678901234567890123456789012345678901234567890123x", 65), -EINVAL);
	assert_string_equal(client_name(client), "pool-1");
	client_info(client, &info);
	snprintf(peer, sizeof(peer), "unix:uid=%u pid=%d", getuid(), getpid());
	assert_string_equal(info.peer, peer);
	assert_string_equal(info.transport, "unix");
	assert_int_equal(info.under_way, 1);
	assert_int_equal(info.bytes_in, 9);
	close(fd);
	wire_close(&bed);
}

#define BOTH(test) { #test, test, NULL, NULL, NULL }, { #test "_without_multishot", test, NULL, NULL, "single" }

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(an_inline_request_is_answered),
		BOTH(a_request_may_come_byte_by_byte),
		BOTH(large_requests_and_replies_pass),
		BOTH(more_arrives_at_once_than_there_are_buffers),
		BOTH(replies_keep_the_order_of_requests),
		BOTH(a_search_waits_for_the_writes_before_it),
		BOTH(a_held_search_of_a_closed_client_is_never_dispatched),
		BOTH(a_protocol_error_is_told_then_the_connection_closes),
		BOTH(who_goes_on_sending_after_a_protocol_error_is_cut_off),
		BOTH(quit_answers_and_closes),
		BOTH(a_half_closed_client_gets_its_replies),
		BOTH(a_pipeline_is_bounded),
		BOTH(a_client_that_sends_ahead_is_stopped_and_goes_on),
		BOTH(a_slow_reader_is_waited_for),
		BOTH(a_reader_that_is_far_behind_is_closed),
		BOTH(one_client_too_many_is_told),
		BOTH(nobody_has_small_limits),
		BOTH(what_follows_a_login_has_the_limits_of_somebody),
		BOTH(a_missing_reply_is_an_error),
		BOTH(a_rate_delays),
		BOTH(an_idle_client_is_closed_but_not_one_that_waits),
		BOTH(draining_answers_what_runs_and_takes_nothing_new),
		BOTH(draining_ends_after_its_time),
		BOTH(two_requests_end_of_a_client_that_reset),
		BOTH(running_out_of_descriptors_is_told_and_passes),
		BOTH(a_stale_socket_is_replaced_and_a_live_one_is_not),
		cmocka_unit_test(the_socket_has_the_mode_that_was_asked_for),
		cmocka_unit_test(names_are_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
