// SPDX-License-Identifier: MIT
// lineup top: what lineupd does, from LINEUP.STATS, once or again and again.
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "remote_wire.h"

static const char help[] = "Usage: lineup top [lineup://NAME] [OPTION]...\n"
			   "Shows what lineupd does, of all galleries or of one, anew every second; q ends it. Rates are of the "
			   "last interval, latencies of\n"
			   "all requests since lineupd started.\n\n"
			   "  --interval S   seconds between two looks, 0.1 to 3600 (1)\n"
			   "  --once         one table, of one interval, for scripts\n\n"
			   "  --socket ADDRESS, --user NAME, --secret-file FILE   as for `lineup info`\n";

enum { SCREEN_BYTES = 1 << 16, COLUMNS_DEFAULT = 132 };

struct top {
	struct remote_options remote_options;
	const char *gallery;       /* NULL: all */
	double interval;
	bool once;
	struct remote *remote;
	redisReply *before, *now;  /* two looks, @seconds apart */
	double looked, seconds;
	char *text;                /* [SCREEN_BYTES] of the table */
	size_t size;
};

static volatile sig_atomic_t resized;

/* ---- one table ---- */

static void CLI_PRINTF(2, 3) add(struct top *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->text + t->size, SCREEN_BYTES - t->size, format, args);
	va_end(args);
	t->size = n < 0 || t->size + (size_t)n >= SCREEN_BYTES ? SCREEN_BYTES - 1 : t->size + (size_t)n;
}

/* Per second, of a counter that only grows; it begins anew with lineupd. */
static double rate(const struct top *t, const redisReply *before, const redisReply *now, const char *name)
{
	uint64_t a = reply_unsigned(before, name), b = reply_unsigned(now, name);

	return b >= a && t->seconds > 0 ? (double)(b - a) / t->seconds : 0;
}

static void add_duration(struct top *t, double seconds)
{
	unsigned long s = (unsigned long)seconds;

	if (s >= 86400)
		add(t, "%lu d %lu h", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		add(t, "%lu h %lu min", s / 3600, s / 60 % 60);
	else if (s >= 60)
		add(t, "%lu min %lu s", s / 60, s % 60);
	else
		add(t, "%lu s", s);
}

static void add_head(struct top *t)
{
	const redisReply *a = reply_field(t->before, "counters"), *b = reply_field(t->now, "counters");
	char in[CLI_SIZE_TEXT], out[CLI_SIZE_TEXT];

	add(t, "lineupd %s   up ", reply_text(t->now, "version"));
	add_duration(t, reply_real(t->now, "uptime_seconds"));
	add(t, "   %" PRIu64 " clients\n", reply_unsigned(t->now, "clients"));
	add(t,
	    "a second   %.1f requests, %s in, %s out; %.1f searches of %.1f probes, %.1f verifications, %.1f rows enrolled in %.1f "
	    "groups, %.1f deleted\n",
	    rate(t, a, b, "requests"), cli_size(in, (uint64_t)rate(t, a, b, "bytes_in")),
	    cli_size(out, (uint64_t)rate(t, a, b, "bytes_out")), rate(t, a, b, "searches"), rate(t, a, b, "probes"),
	    rate(t, a, b, "verifies"), rate(t, a, b, "enrolled"), rate(t, a, b, "groups"), rate(t, a, b, "deleted"));
	add(t, "errors    ");
	for (size_t i = 0, any = 0; b && i + 1 < b->elements; i += 2) {
		const char *name = b->element[i]->str;
		bool error = name && (strncmp(name, "errors_", 7) == 0 || strcmp(name, "auth_failed") == 0 ||
				      strcmp(name, "connections_refused") == 0 || strcmp(name, "accept_failed") == 0);

		if (error && b->element[i + 1]->integer)
			add(t, "%s %.60s %lld (%.1f/s)", any++ ? "," : "", strncmp(name, "errors_", 7) ? name : name + 7,
			    b->element[i + 1]->integer, rate(t, a, b, name));
		if (i + 3 >= b->elements)
			add(t, "%s\n\n", any ? "" : " none");
	}
}

static void add_latencies(struct top *t)
{
	const redisReply *all = reply_field(t->now, "latencies_ns");

	add(t, "%-12s %12s %10s %10s %10s %10s\n", "latency, ms", "count", "p50", "p99", "p99.9", "max");
	for (size_t i = 0; all && i + 1 < all->elements; i += 2) {
		const redisReply *one = all->element[i + 1];

		add(t, "%-12.12s %12" PRIu64 " %10.3f %10.3f %10.3f %10.3f\n", all->element[i]->str ? all->element[i]->str : "",
		    reply_unsigned(one, "count"), (double)reply_unsigned(one, "p50") / 1e6,
		    (double)reply_unsigned(one, "p99") / 1e6, (double)reply_unsigned(one, "p99.9") / 1e6,
		    (double)reply_unsigned(one, "max") / 1e6);
	}
	add(t, "\n");
}

static void add_gallery(struct top *t, const char *name, const redisReply *a, const redisReply *b)
{
	double speed = reply_real(b, "scan_bytes_per_second"), limit = reply_real(b, "limit_bytes_per_second"),
	       per_second = rate(t, a, b, "probes");
	char memory[CLI_SIZE_TEXT], journal[CLI_SIZE_TEXT], share[16] = "-";
	const char *refuses = reply_text(b, "refuses");

	/* The speed is that of the last second with probes. */
	if (limit > 0)
		snprintf(share, sizeof(share), "%.0f %%", 100 * speed / limit);
	add(t, "%-20.20s %10" PRIu64 " %9" PRIu64 " %9.1f %6.1f %6" PRIu64 " %7.2f %6s  %-10s %-10s %8" PRIu64 "  %s%s%s\n", name,
	    reply_unsigned(b, "templates"), reply_unsigned(b, "sequence"), per_second, reply_real(b, "batch"),
	    reply_unsigned(b, "waiting"), speed / 1e9, share, cli_size(memory, reply_unsigned(b, "resident_bytes")),
	    cli_size(journal, reply_unsigned(b, "journal_bytes")), reply_unsigned(b, "deleted_rows"), reply_text(b, "backend"),
	    reply_unsigned(b, "maintaining") ? ", maintains" : "", refuses[0] ? ", REFUSES CHANGES: " : "");
	if (refuses[0]) {
		t->size--; /* behind it, in place of the end of the line */
		add(t, "%s\n", refuses);
	}
}

static void make_table(struct top *t)
{
	const redisReply *before = reply_field(t->before, "galleries"), *now = reply_field(t->now, "galleries");

	t->size = 0;
	add_head(t);
	add_latencies(t);
	add(t, "%-20s %10s %9s %9s %6s %6s %7s %6s  %-10s %-10s %8s  %s\n", "gallery", "templates", "sequence", "probes/s", "batch",
	    "wait", "GB/s", "limit", "in memory", "journal", "deleted", "state");
	for (size_t i = 0; now && i + 1 < now->elements; i += 2) {
		const char *name = now->element[i]->str ? now->element[i]->str : "";

		add_gallery(t, name, reply_field(before, name), now->element[i + 1]);
	}
}

/* ---- looking ---- */

static int look(struct cli *cli, struct top *t)
{
	struct remote_command c = { 0 };
	redisReply *reply = NULL;
	double at;
	int status;

	command_begin(cli, &c, "LINEUP.STATS");
	if (t->gallery)
		command_text(cli, &c, t->gallery);
	status = remote_ask(t->remote, &c, &reply);
	command_fini(&c);
	if (status)
		return status;
	at = cli_seconds();
	if (t->before)
		freeReplyObject(t->before);
	t->before = t->now;
	t->now = reply;
	t->seconds = at - t->looked;
	t->looked = at;
	return 0;
}

/* ---- the terminal ---- */

static void on_resize(int number)
{
	(void)number;
	resized = 1;
}

/* As much of each line, and as many lines, as there is room for. */
static void draw(const struct top *t)
{
	struct winsize size = { 0 };
	unsigned int rows = 0, columns = COLUMNS_DEFAULT, row = 1;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col) {
		rows = size.ws_row;
		columns = size.ws_col;
	}
	fputs("\033[H", stdout);
	for (const char *line = t->text; *line && (!rows || row < rows); row++) {
		const char *end = strchr(line, '\n'), *stop = line;

		end = end ? end : line + strlen(line);
		for (unsigned int column = 0; stop < end; stop++) {
			column += ((unsigned char)*stop & 0xc0) != 0x80;
			if (column > columns)
				break;
		}
		printf("%.*s\033[K\r\n", (int)(stop - line), line);
		line = *end ? end + 1 : end;
	}
	fputs("\033[J\033[2mq ends\033[0m", stdout);
	fflush(stdout);
}

/* Until the next look is due; false: the user has had enough. */
static bool wait_for_key(struct top *t, bool live)
{
	for (;;) {
		double left = t->looked + t->interval - cli_seconds();
		struct pollfd fd = { .fd = live ? STDIN_FILENO : -1, .events = POLLIN };
		char key;

		if (cli_interrupted())
			return false;
		if (live && resized) {
			resized = 0;
			fputs("\033[2J", stdout);
			draw(t);
		}
		if (left <= 0)
			return true;
		if (poll(&fd, 1, left > 1 ? 1000 : (int)(left * 1000) + 1) > 0 &&
		    (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q'))
			return false;
	}
}

static int watch(struct cli *cli, struct top *t)
{
	bool live = isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);
	struct sigaction action = { .sa_handler = on_resize };
	struct termios old, raw;
	int status = 0;

	assert(t->remote);
	if (live) {
		tcgetattr(STDIN_FILENO, &old);
		raw = old;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
		sigaction(SIGWINCH, &action, NULL);
		fputs("\033[?1049h\033[?25l", stdout); /* a screen of its own, without a cursor */
	}
	while (wait_for_key(t, live)) {
		t->remote->quiet = true;
		status = t->remote->lost ? remote_connect(t->remote) : 0;
		status = status ? status : look(cli, t);
		t->remote->quiet = false;
		if (!status) {
			make_table(t);
		} else if (t->remote->lost) {
			/* It is looked for again after every interval. */
			t->size = 0;
			add(t, "lineupd at %s: the connection is lost\n", t->remote->address);
			t->looked = cli_seconds();
			status = 0;
		}
		if (status)
			break;
		if (live)
			draw(t);
		else
			printf("%s\n", t->text);
		status = cli_flush(cli, NULL);
		if (status)
			break;
	}
	if (live) {
		fputs("\033[?25h\033[?1049l", stdout);
		fflush(stdout);
		tcsetattr(STDIN_FILENO, TCSANOW, &old);
	}
	return status;
}

static int look_once(struct cli *cli, struct top *t)
{
	int status;

	if (!wait_for_key(t, false))
		return cli_status(cli, -ECANCELED);
	status = look(cli, t);
	if (status)
		return status;
	make_table(t);
	fputs(t->text, stdout);
	return cli_flush(cli, NULL);
}

static int parse(struct cli *cli, int argc, char **argv, struct top *t, bool *done)
{
	enum { INTERVAL = CLI_OPTION_FIRST, ONCE };
	static const struct option options[] = {
		{ "interval", required_argument, NULL, INTERVAL }, { "once", no_argument, NULL, ONCE },
		{ "help", no_argument, NULL, 'h' },                REMOTE_OPTIONS,
		{ 0 },
	};
	const char *gallery = NULL;
	int c, status = 0;

	while (!status && (c = cli_option(cli, argc, argv, ":h", options)) != -1) {
		switch (c) {
		case INTERVAL:
			status = cli_parse_number(cli, "--interval", optarg, &t->interval);
			if (!status && (t->interval < 0.1 || t->interval > 3600))
				status = cli_fail(cli, "--interval: %s is not from 0.1 to 3600 seconds", optarg);
			break;
		case ONCE: t->once = true; break;
		case 'h': *done = true; return cli_help(cli, help);
		default:
			if (!remote_option(&t->remote_options, c))
				return CLI_USAGE;
		}
	}
	if (status || optind >= argc)
		return status;
	status = cli_positional(cli, argc, argv, "GALLERY", &gallery);
	if (status)
		return status;
	t->gallery = remote_name(&t->remote_options, gallery);
	return t->gallery ? 0 : cli_usage(cli, "%s is a directory: top is for lineup://NAME", gallery);
}

int cmd_top(struct cli *cli, int argc, char **argv)
{
	struct top t = { .interval = 1 };
	bool done = false;
	int status = parse(cli, argc, argv, &t, &done);

	if (status || done)
		return status;
	t.text = calloc(1, SCREEN_BYTES);
	status = t.text ? remote_open(cli, &t.remote_options, t.gallery, &t.remote) : cli_status(cli, -ENOMEM);
	status = status ? status : look(cli, &t);
	if (!status)
		status = t.once ? look_once(cli, &t) : watch(cli, &t);
	if (t.before)
		freeReplyObject(t.before);
	if (t.now)
		freeReplyObject(t.now);
	remote_close(t.remote);
	free(t.text);
	return status;
}
