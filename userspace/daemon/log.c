// SPDX-License-Identifier: MIT
// Log lines: one event each, of key=value pairs, written by one call so that lines of threads never mix.
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon.h"

enum { LOG_LINE_BYTES = 4096 };

static atomic_int log_most = LOG_INFO;
static atomic_bool log_journal; /* standard error is journald's, which reads the level from "<N>" */

void log_init(enum log_level most)
{
	atomic_store(&log_most, (int)most);
	atomic_store(&log_journal, getenv("JOURNAL_STREAM") != NULL);
}

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_ERROR:
		return "error";
	case LOG_WARN:
		return "warning";
	case LOG_INFO:
		return "info";
	case LOG_DEBUG:
		return "debug";
	}
	return "unknown";
}

static int line_head(char *line, size_t size, enum log_level level, const char *event)
{
	struct timespec ts;
	struct tm tm;

	if (atomic_load(&log_journal))
		return snprintf(line, size, "<%d>level=%s event=%s ", level, level_name(level), event);
	/* Outside the journal nobody else says when it was. */
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	return snprintf(line, size, "time=%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ level=%s event=%s ", tm.tm_year + 1900,
			tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ts.tv_nsec / 1000000,
			level_name(level), event);
}

void log_event(enum log_level level, const char *event, const char *fields, ...)
{
	char line[LOG_LINE_BYTES];
	size_t size;
	va_list args;
	int n;

	if ((int)level > atomic_load(&log_most))
		return;
	n = line_head(line, sizeof(line), level, event);
	size = n > 0 && (size_t)n < sizeof(line) ? (size_t)n : 0;
	va_start(args, fields);
	n = vsnprintf(line + size, sizeof(line) - size, fields, args);
	va_end(args);
	if (n > 0)
		size += (size_t)n;
	if (size > sizeof(line) - 2)
		size = sizeof(line) - 2;
	/* A line is a line, whatever a value that was not quoted holds. */
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	while (size && line[size - 1] == ' ')
		size--;
	line[size++] = '\n';
	if (write(STDERR_FILENO, line, size) < 0)
		return; /* there is nobody to tell */
}

const char *log_quote(char *out, size_t size, const char *text)
{
	size_t n = 0;

	if (size < 3) {
		if (size)
			*out = '\0';
		return out;
	}
	out[n++] = '"';
	/* The longest piece is four bytes; then come the quote and the NUL. */
	for (; *text && n + 6 <= size; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\') {
			out[n++] = '\\';
			out[n++] = (char)c;
		} else if (c < 0x20 || c == 0x7f) {
			n += (size_t)snprintf(out + n, 5, "\\x%02x", c);
		} else {
			out[n++] = (char)c;
		}
	}
	out[n++] = '"';
	out[n] = '\0';
	return out;
}

void log_library(void *arg, enum lineup_log_level level, const char *message)
{
	char text[2048];

	(void)arg;
	log_event(level == LINEUP_LOG_ERROR ? LOG_ERROR : level == LINEUP_LOG_WARNING ? LOG_WARN : LOG_INFO, "library",
		  "message=%s", log_quote(text, sizeof(text), message));
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}
