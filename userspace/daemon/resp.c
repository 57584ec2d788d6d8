// SPDX-License-Identifier: MIT
// The parser of requests: what a client may send, in pieces of any size, and what Redis would say to the rest.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resp.h"

enum {
	SPANS_MIN = 8,
	SPANS_KEPT_MAX = 64, /* more than most requests have are freed after use: thousands of connections may be idle */
};

#define LENGTH_UNKNOWN UINT64_MAX

static int refuse(struct resp_parser *parser, const char *why)
{
	snprintf(parser->error, sizeof(parser->error), "ERR Protocol error: %s", why);
	return -EPROTO;
}

static int span_add(struct resp_parser *parser, size_t offset, size_t size)
{
	if (parser->spans == parser->span_max) {
		uint64_t max = parser->span_max ? 2 * parser->span_max : SPANS_MIN;
		struct resp_span *span = realloc(parser->span, max * sizeof(*span));

		if (!span)
			return -ENOMEM;
		parser->span = span;
		parser->span_max = max;
	}
	parser->span[parser->spans].offset = offset;
	parser->span[parser->spans++].size = size;
	return 0;
}

/*
 * The number of the line at parser->position, behind its first byte. 1: read, and position is behind the line; 0: its end is
 * not there yet. What is refused does not depend on how much behind it has arrived.
 */
static int number_line(struct resp_parser *parser, const char *data, size_t size, const char *too_big, const char *invalid,
		       long long *value)
{
	const char *line = data + parser->position + 1;
	size_t room = size - parser->position - 1;
	const char *end = memchr(line, '\r', room < RESP_NUMBER_BYTES_MAX ? room : RESP_NUMBER_BYTES_MAX);
	unsigned long long n = 0;
	bool negative;
	size_t digits;

	if (!end)
		return room < RESP_NUMBER_BYTES_MAX ? 0 : refuse(parser, too_big);
	if ((size_t)(end - line) + 1 == room)
		return 0; /* the LF is missing yet */
	negative = *line == '-';
	line += negative;
	digits = (size_t)(end - line);
	/* One way to write a number only: no sign but minus, no leading zeros. 18 digits are more than any limit here. */
	if (end[1] != '\n' || !digits || digits > 18 || (*line == '0' && (digits > 1 || negative)))
		return refuse(parser, invalid);
	for (; line < end; line++) {
		if (*line < '0' || *line > '9')
			return refuse(parser, invalid);
		n = 10 * n + (unsigned int)(*line - '0');
	}
	*value = negative ? -(long long)n : (long long)n;
	parser->position = (size_t)(end + 2 - data);
	return 1;
}

/* "*3\r\n". A request of no arguments, or less, is complete with it. */
static int parse_count(struct resp_parser *parser, const char *data, size_t size)
{
	long long count;
	int got = number_line(parser, data, size, "too big mbulk count string", "invalid multibulk length", &count);

	if (got <= 0)
		return got;
	if (count > RESP_ARGUMENTS_MAX)
		return refuse(parser, "invalid multibulk length");
	if (parser->arguments_max && count > (long long)parser->arguments_max)
		return refuse(parser, "unauthenticated multibulk length");
	parser->arguments = count > 0 ? (uint64_t)count : 0;
	parser->length = LENGTH_UNKNOWN;
	return 1;
}

/* "$5\r\n": the length of the next argument. */
static int parse_length(struct resp_parser *parser, const char *data, size_t size)
{
	long long length;
	int got;

	if (parser->position == size)
		return 0;
	if (data[parser->position] != '$') {
		unsigned char c = (unsigned char)data[parser->position];
		char why[40];

		snprintf(why, sizeof(why), c >= 0x20 && c < 0x7f ? "expected '$', got '%c'" : "expected '$', got byte 0x%02x", c);
		return refuse(parser, why);
	}
	got = number_line(parser, data, size, "too big bulk count string", "invalid bulk length", &length);
	if (got <= 0)
		return got;
	if (length < 0)
		return refuse(parser, "invalid bulk length");
	/* Of the whole request: many arguments under the limit may not be together over it. */
	if ((uint64_t)length > parser->request_bytes_max || parser->position + (uint64_t)length > parser->request_bytes_max)
		return refuse(parser, parser->arguments_max ? "unauthenticated bulk length" : "invalid bulk length");
	parser->length = (uint64_t)length;
	return 1;
}

static int parse_bulk(struct resp_parser *parser, const char *data, size_t size)
{
	size_t length = (size_t)parser->length;
	const char *end;
	int err;

	if (size - parser->position < length + 2)
		return 0;
	end = data + parser->position + length;
	if (end[0] != '\r' || end[1] != '\n')
		return refuse(parser, "no CR LF after an argument of the given length");
	err = span_add(parser, parser->position, length);
	if (err)
		return err;
	parser->position += length + 2;
	parser->length = LENGTH_UNKNOWN;
	return 1;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that the escape after a backslash at @from stands for; @from goes to its last byte. */
static char escaped(const char *data, size_t *from, size_t end)
{
	size_t i = *from;

	if (data[i] == 'x' && i + 2 < end && hex_digit(data[i + 1]) >= 0 && hex_digit(data[i + 2]) >= 0) {
		*from = i + 2;
		return (char)(hex_digit(data[i + 1]) << 4 | hex_digit(data[i + 2]));
	}
	switch (data[i]) {
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'b':
		return '\b';
	case 'a':
		return '\a';
	}
	return data[i];
}

/* Undoes the quotes of the argument at *@at in place: what is written is never longer than what was read. -EPROTO: unbalanced. */
static int inline_argument(struct resp_parser *parser, char *data, size_t *at, size_t end)
{
	size_t i = *at, to = i, start = i;
	char quote = 0;

	for (; i < end && (quote || !is_space(data[i])); i++) {
		char c = data[i];

		if (quote == '"' && c == '\\' && i + 1 < end) {
			i++;
			data[to++] = escaped(data, &i, end);
		} else if (quote == '\'' && c == '\\' && i + 1 < end && data[i + 1] == '\'') {
			data[to++] = data[++i];
		} else if (quote && c == quote) {
			if (i + 1 < end && !is_space(data[i + 1]))
				return refuse(parser, "unbalanced quotes in request");
			quote = 0;
		} else if (!quote && (c == '"' || c == '\'')) {
			quote = c;
		} else {
			data[to++] = c;
		}
	}
	if (quote)
		return refuse(parser, "unbalanced quotes in request");
	*at = i;
	return span_add(parser, start, to - start);
}

static bool inline_is(const struct resp_parser *parser, const char *data, const char *word)
{
	return parser->span[0].size == strlen(word) && !strncasecmp(data + parser->span[0].offset, word, strlen(word));
}

static int parse_inline(struct resp_parser *parser, char *data, size_t size, size_t *bytes)
{
	size_t limit = size < RESP_INLINE_BYTES_MAX ? size : RESP_INLINE_BYTES_MAX;
	char *lf = memchr(data + parser->position, '\n', limit - parser->position);
	size_t end, at = 0;

	if (!lf) {
		parser->position = limit;
		return size < RESP_INLINE_BYTES_MAX ? 0 : refuse(parser, "too big inline request");
	}
	end = (size_t)(lf - data);
	if (end && data[end - 1] == '\r')
		end--;
	for (;;) {
		int err;

		while (at < end && is_space(data[at]))
			at++;
		if (at == end)
			break;
		if (parser->arguments_max && parser->spans == parser->arguments_max)
			return refuse(parser, "unauthenticated multibulk length");
		err = inline_argument(parser, data, &at, end);
		if (err)
			return err;
	}
	/* What a web page can make a browser send to a port here: never carried out, body or header. */
	if (parser->spans && (inline_is(parser, data, "post") || inline_is(parser, data, "host:")))
		return refuse(parser, "HTTP is not spoken here");
	*bytes = (size_t)(lf - data) + 1;
	return 1;
}

int resp_parse(struct resp_parser *parser, char *data, size_t size, size_t *bytes)
{
	if (!size)
		return 0;
	if (data[0] != '*')
		return parse_inline(parser, data, size, bytes);
	if (!parser->position) {
		int got = parse_count(parser, data, size);

		if (got <= 0)
			return got;
	}
	while (parser->spans < parser->arguments) {
		int got = 1;

		if (parser->length == LENGTH_UNKNOWN)
			got = parse_length(parser, data, size);
		if (got > 0)
			got = parse_bulk(parser, data, size);
		if (got <= 0)
			return got;
	}
	*bytes = parser->position;
	return 1;
}

void resp_next(struct resp_parser *parser)
{
	if (parser->span_max > SPANS_KEPT_MAX)
		resp_fini(parser);
	parser->position = 0;
	parser->arguments = 0;
	parser->length = LENGTH_UNKNOWN;
	parser->spans = 0;
}

void resp_fini(struct resp_parser *parser)
{
	free(parser->span);
	parser->span = NULL;
	parser->spans = parser->span_max = 0;
}
