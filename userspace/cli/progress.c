// SPDX-License-Identifier: MIT
// The progress bar on a terminal, and Ctrl-C.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

/* A bar appears after this long, and is drawn this often. */
static const double QUIET_SECONDS = 1.0, DRAW_SECONDS = 0.1;
enum { BAR_COLUMNS = 24 };

static volatile sig_atomic_t interrupted;
static bool bar_shown; /* atomic: messages come from any thread */

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

void cli_signals_init(void)
{
	/* Without SA_RESTART a read that waits for a pipe comes back. SA_RESETHAND: the second Ctrl-C is for who cannot wait. */
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND };
	struct sigaction old;
	static const int numbers[] = { SIGINT, SIGTERM };

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		/* A shell without job control starts background programs with SIGINT ignored, and means it. */
		sigaction(numbers[i], NULL, &old);
		if (old.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
}

bool cli_interrupted(void)
{
	return interrupted;
}

double cli_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void cli_progress_begin(struct cli_progress *progress, const char *title, enum cli_unit unit)
{
	*progress = (struct cli_progress){ .title = title, .unit = unit, .begin = cli_seconds() };
}

static const char *amount(char text[CLI_SIZE_TEXT], enum cli_unit unit, double n)
{
	static const char *const suffix[] = { "", " k", " M", " G" };
	size_t i = 0;

	if (unit == CLI_BYTES)
		return cli_size(text, (uint64_t)n);
	for (; n >= 1e4 && i + 1 < ARRAY_SIZE(suffix); i++)
		n /= 1e3;
	snprintf(text, CLI_SIZE_TEXT, "%.0f%s", n, suffix[i]);
	return text;
}

static void draw(const struct cli_progress *p, uint64_t done, uint64_t total, double seconds)
{
	char bar[BAR_COLUMNS + 1], amount_text[CLI_SIZE_TEXT], rate_text[CLI_SIZE_TEXT], left[32] = "";
	double rate = (double)done / seconds;
	const char *unit = p->unit == CLI_ROWS ? " rows" : "";

	amount(rate_text, p->unit, rate);
	if (!total || done > total) {
		fprintf(stderr, "\r\033[K%s  %s%s  %s%s/s", p->title, amount(amount_text, p->unit, (double)done), unit, rate_text, unit);
	} else {
		double part = (double)done / (double)total;
		int full = (int)(part * BAR_COLUMNS);

		memset(bar, '-', BAR_COLUMNS);
		memset(bar, '#', (size_t)full);
		bar[BAR_COLUMNS] = 0;
		if (done) {
			unsigned long s = (unsigned long)((double)(total - done) / rate + 0.5);

			snprintf(left, sizeof(left), "  %lu:%02lu left", s / 60, s % 60);
		}
		fprintf(stderr, "\r\033[K%s [%s] %3.0f %%  %s%s/s%s", p->title, bar, part * 100, rate_text, unit, left);
	}
	fflush(stderr);
	__atomic_store_n(&bar_shown, true, __ATOMIC_RELEASE);
}

bool cli_progress_update(void *arg, uint64_t done, uint64_t total)
{
	struct cli_progress *p = arg;
	double now = cli_seconds();

	/* The next pass, or the next of several tasks that share the bar. */
	if (done < p->done)
		p->begin = now;
	p->done = done;
	if (now - p->begin >= QUIET_SECONDS && now - p->drawn >= DRAW_SECONDS && isatty(STDERR_FILENO)) {
		draw(p, done, total, now - p->begin);
		p->drawn = now;
	}
	return !interrupted;
}

void cli_progress_clear(void)
{
	if (__atomic_exchange_n(&bar_shown, false, __ATOMIC_ACQ_REL))
		fputs("\r\033[K", stderr);
}
