// SPDX-License-Identifier: MIT
// RESP: what is a request and what is not, however it is cut, and what replies look like in both versions.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resp.h"

enum { BYTES_MAX = 1000 };

/* Parses @text cut after every @step bytes; writes "[a][b]" for each request and then the error, if any. */
static void parse(const char *text, size_t size, size_t step, uint64_t arguments_max, struct buffer *out)
{
	struct resp_parser parser = { .request_bytes_max = BYTES_MAX, .arguments_max = arguments_max };
	struct buffer input = { 0 };
	size_t bytes;
	int got = 0;

	while (size && got >= 0) {
		size_t n = step < size ? step : size;

		buffer_append(&input, text, n);
		text += n;
		size -= n;
		while ((got = resp_parse(&parser, input.data, input.size, &bytes)) > 0) {
			assert_true(bytes <= input.size);
			for (uint64_t i = 0; i < parser.spans; i++) {
				assert_true(parser.span[i].offset + parser.span[i].size <= bytes);
				buffer_append(out, "[", 1);
				buffer_append(out, input.data + parser.span[i].offset, parser.span[i].size);
				buffer_append(out, "]", 1);
			}
			buffer_append(out, ";", 1);
			resp_next(&parser);
			buffer_consume(&input, bytes);
		}
	}
	if (got < 0) {
		assert_int_equal(got, -EPROTO);
		buffer_printf(out, "%s", parser.error);
	} else if (input.size) {
		buffer_printf(out, "+%zu", input.size);
	}
	resp_fini(&parser);
	buffer_fini(&input);
}

/* @expected comes out whether the text comes at once, byte by byte, or in pieces of some bytes. */
static void check_limited(const char *text, size_t size, uint64_t arguments_max, const char *expected)
{
	for (size_t step = size < 70 ? 1 : size; step <= size; step++) {
		struct buffer out = { 0 };

		parse(text, size, step, arguments_max, &out);
		buffer_append(&out, "", 1);
		assert_string_equal(out.data, expected);
		buffer_fini(&out);
	}
}

#define CHECK(text, expected) check_limited(text, sizeof(text) - 1, 0, expected)
#define UNKNOWN(text, expected) check_limited(text, sizeof(text) - 1, 10, expected)

static void requests_are_arrays_of_bulk_strings(void **state)
{
	(void)state;
	CHECK("*1\r\n$4\r\nPING\r\n", "[PING];");
	CHECK("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", "[ECHO][];");
	CHECK("*2\r\n$1\r\na\r\n$4\r\n\r\n*1\r\n*1\r\n$1\r\nb\r\n", "[a][\r\n*1];[b];");
	CHECK("*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n*1\r\n$1\r\nd", "[a][b][c];+9");
	CHECK("*0\r\n*-1\r\n*1\r\n$1\r\na\r\n", ";;[a];");
}

static void inline_requests_are_split_at_blanks_with_quotes(void **state)
{
	(void)state;
	CHECK("PING\r\n", "[PING];");
	CHECK("  a \t b\n\r\n\n", "[a][b];;;");
	CHECK("a \"b c\" 'd e' \"\" ''\r\n", "[a][b c][d e][][];");
	CHECK("\"\\x41\\n\\\\\\\"\\q\\x4\\t\" '\\n\\'\\x'\r\n", "[A\n\\\"qx4\t][\\n'\\x];");
	CHECK("a\"b\"\r\n", "[ab];");
	CHECK("a\"b\"c\r\n", "ERR Protocol error: unbalanced quotes in request");
	CHECK("a 'b\r\n", "ERR Protocol error: unbalanced quotes in request");
	CHECK("a \"b\\\"\r\n", "ERR Protocol error: unbalanced quotes in request");
	CHECK("a b", "+3");
}

static void web_pages_are_not_listened_to(void **state)
{
	(void)state;
	CHECK("POST / HTTP/1.1\r\n", "ERR Protocol error: HTTP is not spoken here");
	CHECK("host: localhost\r\n", "ERR Protocol error: HTTP is not spoken here");
	CHECK("*1\r\n$4\r\nPOST\r\n", "[POST];");
}

static void counts_are_plain_numbers_within_limits(void **state)
{
	(void)state;
	CHECK("*1048577\r\n", "ERR Protocol error: invalid multibulk length");
	CHECK("*2147483647\r\n", "ERR Protocol error: invalid multibulk length");
	CHECK("*9999999999\r\n", "ERR Protocol error: invalid multibulk length");
	CHECK("*99999999999999999999\r\n", "ERR Protocol error: invalid multibulk length");
	CHECK("*01\r\n", "ERR Protocol error: invalid multibulk length");
	CHECK("*+1\r\n", "ERR Protocol error: invalid multibulk length");
	CHECK("* 1\r\n", "ERR Protocol error: invalid multibulk length");
	CHECK("*-0\r\n", "ERR Protocol error: invalid multibulk length");
	CHECK("*\r\n", "ERR Protocol error: invalid multibulk length");
	CHECK("*1\rX", "ERR Protocol error: invalid multibulk length");
	CHECK("*1x\r\n", "ERR Protocol error: invalid multibulk length");
	CHECK("*1\n$1\r\n", "ERR Protocol error: invalid multibulk length");
	CHECK("*1234567890123456789012345678901", "+32");
	CHECK("*12345678901234567890123456789012", "ERR Protocol error: too big mbulk count string");
	CHECK("*1048576\r\n", "+10");
}

static void lengths_are_plain_numbers_within_limits(void **state)
{
	(void)state;
	CHECK("*1\r\n:4\r\n", "ERR Protocol error: expected '$', got ':'");
	CHECK("*1\r\n\x01", "ERR Protocol error: expected '$', got byte 0x01");
	CHECK("*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length");
	CHECK("*1\r\n$04\r\n", "ERR Protocol error: invalid bulk length");
	CHECK("*1\r\n$\r\n", "ERR Protocol error: invalid bulk length");
	CHECK("*1\r\n$9999999999\r\n", "ERR Protocol error: invalid bulk length");
	CHECK("*1\r\n$999999999999999999\r\n", "ERR Protocol error: invalid bulk length");
	CHECK("*1\r\n$1001\r\n", "ERR Protocol error: invalid bulk length");
	CHECK("*1\r\n$12345678901234567890123456789012", "ERR Protocol error: too big bulk count string");
	CHECK("*1\r\n$2\r\nabc\r\n", "ERR Protocol error: no CR LF after an argument of the given length");
	CHECK("*1\r\n$2\r\nab\rx", "ERR Protocol error: no CR LF after an argument of the given length");
}

/* Each argument is under the limit; together they are not. */
static void a_request_as_a_whole_is_bounded(void **state)
{
	struct buffer text = { 0 };

	(void)state;
	buffer_printf(&text, "*3\r\n$400\r\n%0400d\r\n$400\r\n%0400d\r\n$400\r\n", 0, 0);
	check_limited(text.data, text.size, 0, "ERR Protocol error: invalid bulk length");
	buffer_fini(&text);
}

static void before_auth_little_is_taken(void **state)
{
	(void)state;
	UNKNOWN("*11\r\n", "ERR Protocol error: unauthenticated multibulk length");
	UNKNOWN("*1\r\n$1001\r\n", "ERR Protocol error: unauthenticated bulk length");
	UNKNOWN("a b c d e f g h i j\r\n", "[a][b][c][d][e][f][g][h][i][j];");
	UNKNOWN("a b c d e f g h i j k\r\n", "ERR Protocol error: unauthenticated multibulk length");
}

static void a_long_line_is_refused_at_its_limit(void **state)
{
	char *text = malloc(RESP_INLINE_BYTES_MAX + 2), *expected = malloc(RESP_INLINE_BYTES_MAX + 4);

	(void)state;
	assert_non_null(text);
	assert_non_null(expected);
	memset(text, 'a', RESP_INLINE_BYTES_MAX + 2);
	check_limited(text, RESP_INLINE_BYTES_MAX, 0, "ERR Protocol error: too big inline request");
	text[RESP_INLINE_BYTES_MAX - 1] = '\n';
	sprintf(expected, "[%.*s];", RESP_INLINE_BYTES_MAX - 1, text);
	check_limited(text, RESP_INLINE_BYTES_MAX, 0, expected);
	text[RESP_INLINE_BYTES_MAX - 1] = 'a';
	text[RESP_INLINE_BYTES_MAX] = '\n';
	check_limited(text, RESP_INLINE_BYTES_MAX + 1, 0, "ERR Protocol error: too big inline request");
	free(text);
	free(expected);
}

/* A head that promises a million arguments takes no memory until they come. */
static void promises_take_no_memory(void **state)
{
	struct resp_parser parser = { .request_bytes_max = 1 << 30 };
	char text[] = "*1048576\r\n$1000000\r\n";
	size_t bytes;

	(void)state;
	assert_int_equal(resp_parse(&parser, text, sizeof(text) - 1, &bytes), 0);
	assert_int_equal(parser.span_max, 0);
	resp_fini(&parser);
}

/* ---- replies ---- */

static void wrote(struct buffer *b, const char *expected)
{
	buffer_append(b, "", 1);
	assert_string_equal(b->data, expected);
	buffer_fini(b);
}

static void replies_have_the_form_of_their_version(void **state)
{
	struct buffer b = { 0 };

	(void)state;
	resp_simple(&b, "OK");
	resp_error(&b, "ERR a\r\nb %d", 1);
	resp_integer(&b, -5);
	resp_bulk(&b, "a\r\n", 3);
	resp_bulk(&b, NULL, 0);
	resp_array(&b, 2);
	wrote(&b, "+OK\r\n-ERR a  b 1\r\n:-5\r\n$3\r\na\r\n\r\n$0\r\n\r\n*2\r\n");
	for (int version = 2; version <= 3; version++) {
		resp_null(&b, version);
		resp_null_array(&b, version);
		resp_map(&b, version, 3);
		resp_set(&b, version, 4);
		resp_double(&b, version, 0.1);
		resp_boolean(&b, version, true);
		resp_boolean(&b, version, false);
		resp_verbatim(&b, version, "txt", "hello");
		wrote(&b, version == 2 ? "$-1\r\n*-1\r\n*6\r\n*4\r\n$3\r\n0.1\r\n:1\r\n:0\r\n$5\r\nhello\r\n"
				       : "_\r\n_\r\n%3\r\n~4\r\n,0.1\r\n#t\r\n#f\r\n=9\r\ntxt:hello\r\n");
	}
}

/* Of "-0.00120e5": 12. */
static int significant_digits(const char *text)
{
	int digits = 0, zeros = 0;

	for (; *text && *text != 'e' && *text != '\r'; text++) {
		if (*text >= '1' && *text <= '9') {
			digits += digits ? zeros + 1 : 1;
			zeros = 0;
		} else if (*text == '0') {
			zeros++;
		}
	}
	return digits;
}

static void check_double(double value)
{
	struct buffer b = { 0 };
	char text[40];
	int digits = 1;

	/* The fewest by trying all. */
	for (; digits <= 17; digits++) {
		sprintf(text, "%.*e", digits - 1, value);
		if (strtod(text, NULL) == value)
			break;
	}
	resp_double(&b, 3, value);
	buffer_append(&b, "", 1);
	assert_true(significant_digits(b.data) <= digits);
	assert_true(strtod(b.data + 1, NULL) == value);
	assert_int_equal(signbit(strtod(b.data + 1, NULL)), signbit(value));
	buffer_fini(&b);
}

static void check_float(float value)
{
	struct buffer b = { 0 };
	char text[40];
	int digits = 1;

	for (; digits <= 9; digits++) {
		sprintf(text, "%.*e", digits - 1, (double)value);
		if (strtof(text, NULL) == value)
			break;
	}
	resp_float(&b, 3, value);
	buffer_append(&b, "", 1);
	assert_true(significant_digits(b.data) <= digits);
	assert_true(strtof(b.data + 1, NULL) == value);
	buffer_fini(&b);
}

static void numbers_read_back_the_same(void **state)
{
	static const double some[] = { 0, -0.0, 1, -1, 0.1, 1.0 / 3, 1e300, DBL_MAX, DBL_MIN, DBL_TRUE_MIN,
				       0.30000000000000004, 123456789012345680 };
	struct buffer b = { 0 };
	uint64_t seed = 1;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(some); i++) {
		check_double(some[i]);
		check_float((float)some[i]);
	}
	for (int i = 0; i < 20000; i++) {
		union { uint64_t u; double d; } d;
		union { uint32_t u; float f; } f;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		d.u = seed ^ seed >> 29;
		f.u = (uint32_t)(seed >> 32);
		if (isfinite(d.d))
			check_double(d.d);
		if (isfinite(f.f))
			check_float(f.f);
	}
	resp_double(&b, 3, INFINITY);
	resp_double(&b, 3, -INFINITY);
	resp_double(&b, 3, -NAN);
	resp_float(&b, 2, NAN);
	wrote(&b, ",inf\r\n,-inf\r\n,nan\r\n$3\r\nnan\r\n");
}

/* ---- buffers ---- */

static void consumed_bytes_are_erased(void **state)
{
	struct buffer b = { 0 };
	const char *at;

	(void)state;
	buffer_append(&b, "secret", 6);
	at = b.data;
	buffer_consume(&b, 4);
	assert_memory_equal(b.data, "et\0\0\0\0", 6);
	buffer_consume(&b, 2);
	assert_ptr_equal(b.data, at);
	assert_memory_equal(b.data, "\0\0\0\0\0\0", 6);
	buffer_fini(&b);
	assert_null(b.data);
}

static void what_cannot_be_held_fails_and_stays_failed(void **state)
{
	struct buffer b = { 0 };

	(void)state;
	buffer_append(&b, "a", 1);
	assert_null(buffer_reserve(&b, SIZE_MAX / 2));
	assert_true(b.failed);
	buffer_append(&b, "b", 1);
	assert_int_equal(b.size, 1);
	buffer_fini(&b);
	assert_false(b.failed);
}

static void large_buffers_keep_their_bytes(void **state)
{
	struct buffer b = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 300000; i++)
		buffer_append(&b, &i, sizeof(i));
	assert_int_equal(b.size, 1200000);
	for (uint32_t i = 0; i < 300000; i++)
		assert_memory_equal(b.data + 4 * i, &i, sizeof(i));
	buffer_printf(&b, "%0300d", 1);
	assert_int_equal(b.size, 1200300);
	buffer_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_arrays_of_bulk_strings),
		cmocka_unit_test(inline_requests_are_split_at_blanks_with_quotes),
		cmocka_unit_test(web_pages_are_not_listened_to),
		cmocka_unit_test(counts_are_plain_numbers_within_limits),
		cmocka_unit_test(lengths_are_plain_numbers_within_limits),
		cmocka_unit_test(a_request_as_a_whole_is_bounded),
		cmocka_unit_test(before_auth_little_is_taken),
		cmocka_unit_test(a_long_line_is_refused_at_its_limit),
		cmocka_unit_test(promises_take_no_memory),
		cmocka_unit_test(replies_have_the_form_of_their_version),
		cmocka_unit_test(numbers_read_back_the_same),
		cmocka_unit_test(consumed_bytes_are_erased),
		cmocka_unit_test(what_cannot_be_held_fails_and_stays_failed),
		cmocka_unit_test(large_buffers_keep_their_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
