// SPDX-License-Identifier: MIT
// The writer of replies, in both versions of the protocol.
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resp.h"

/* "*12\r\n" and its like. */
static void head(struct buffer *b, char type, long long value)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%c%lld\r\n", type, value);

	buffer_append(b, text, (size_t)n);
}

void resp_simple(struct buffer *b, const char *text)
{
	buffer_append(b, "+", 1);
	buffer_append(b, text, strlen(text));
	buffer_append(b, "\r\n", 2);
}

void resp_error(struct buffer *b, const char *format, ...)
{
	char text[1024];
	va_list args;
	size_t size;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	size = strlen(text);
	for (size_t i = 0; i < size; i++)
		if (text[i] == '\r' || text[i] == '\n')
			text[i] = ' ';
	buffer_append(b, "-", 1);
	buffer_append(b, text, size);
	buffer_append(b, "\r\n", 2);
}

void resp_integer(struct buffer *b, long long value)
{
	head(b, ':', value);
}

void resp_bulk(struct buffer *b, const void *data, size_t size)
{
	head(b, '$', (long long)size);
	buffer_append(b, data, size);
	buffer_append(b, "\r\n", 2);
}

void resp_text(struct buffer *b, const char *text)
{
	resp_bulk(b, text, strlen(text));
}

void resp_null(struct buffer *b, int version)
{
	if (version >= 3)
		buffer_append(b, "_\r\n", 3);
	else
		buffer_append(b, "$-1\r\n", 5);
}

void resp_null_array(struct buffer *b, int version)
{
	if (version >= 3)
		buffer_append(b, "_\r\n", 3);
	else
		buffer_append(b, "*-1\r\n", 5);
}

void resp_array(struct buffer *b, uint64_t count)
{
	head(b, '*', (long long)count);
}

void resp_map(struct buffer *b, int version, uint64_t pairs)
{
	if (version >= 3)
		head(b, '%', (long long)pairs);
	else
		head(b, '*', (long long)(2 * pairs));
}

void resp_set(struct buffer *b, int version, uint64_t count)
{
	head(b, version >= 3 ? '~' : '*', (long long)count);
}

static void number(struct buffer *b, int version, const char *text)
{
	if (version < 3) {
		resp_text(b, text);
		return;
	}
	buffer_append(b, ",", 1);
	buffer_append(b, text, strlen(text));
	buffer_append(b, "\r\n", 2);
}

/*
 * "%g" drops zeros at the end, so of a normal number the first of these precisions that reads back has the fewest digits.
 * Numbers too small to be normal have fewer digits to begin with.
 */
void resp_double(struct buffer *b, int version, double value)
{
	char text[40];

	if (isnan(value))
		strcpy(text, "nan"); /* without a sign, which printf may write */
	else
		for (int digits = fabs(value) < DBL_MIN ? 1 : DBL_DIG; digits <= 17; digits++) {
			snprintf(text, sizeof(text), "%.*g", digits, value);
			if (strtod(text, NULL) == value)
				break;
		}
	number(b, version, text);
}

void resp_float(struct buffer *b, int version, float value)
{
	char text[40];

	if (isnan(value))
		strcpy(text, "nan");
	else
		for (int digits = fabsf(value) < FLT_MIN ? 1 : FLT_DIG; digits <= 9; digits++) {
			snprintf(text, sizeof(text), "%.*g", digits, (double)value);
			if (strtof(text, NULL) == value)
				break;
		}
	number(b, version, text);
}

void resp_boolean(struct buffer *b, int version, bool value)
{
	if (version >= 3)
		buffer_append(b, value ? "#t\r\n" : "#f\r\n", 4);
	else
		head(b, ':', value);
}

void resp_verbatim(struct buffer *b, int version, const char *format, const char *text)
{
	size_t size = strlen(text);

	if (version < 3) {
		resp_bulk(b, text, size);
		return;
	}
	head(b, '=', (long long)size + 4);
	buffer_append(b, format, strnlen(format, 3));
	buffer_append(b, ":", 1);
	buffer_append(b, text, size);
	buffer_append(b, "\r\n", 2);
}
