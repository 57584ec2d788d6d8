// SPDX-License-Identifier: MIT
// Points in time against the C library's calendar, day by day, and what is no time at all.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "internal.h"

static const int64_t NOW = 1700000000;

static int64_t parsed(const char *text)
{
	int64_t time = -1;

	if (lineup_time_parse(text, NOW, &time))
		fail_msg("\"%s\" is refused", text);
	return time;
}

static void refused(const char *text)
{
	int64_t time = -77;

	if (lineup_time_parse(text, NOW, &time) != -EINVAL)
		fail_msg("\"%s\" is not refused", text);
	assert_int_equal(time, -77);
}

static void every_day_to_the_year_9999_is_the_c_librarys(void **state)
{
	char text[64];

	(void)state;
	for (int64_t day = 1; day < 2932897; day++) { /* 9999-12-31 is day 2932896 */
		time_t seconds = (time_t)(day * 86400);
		struct tm tm;

		gmtime_r(&seconds, &tm);
		strftime(text, sizeof(text), "%Y-%m-%d", &tm);
		assert_true(parsed(text) == timegm(&tm));
	}
	assert_string_equal(text, "9999-12-31");
}

static void seconds_of_the_day_are_the_c_librarys(void **state)
{
	char text[64];

	(void)state;
	for (int64_t seconds = 951782400 - 100000; seconds < 951782400 + 200000;
	     seconds += 7) { /* around 2000-02-29 */
		time_t t = (time_t)seconds;
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
		assert_true(parsed(text) == seconds);
	}
}

/* Every day number 0 to 39 of every month 0 to 19 of a few years: right exactly when the C library does not move it.
 */
static void days_that_are_not_in_the_calendar_are_refused(void **state)
{
	static const int years[] = { 1970, 1972, 1999, 2000, 2023, 2024, 2100, 2400, 9999 };
	char text[64];

	(void)state;
	for (size_t y = 0; y < ARRAY_SIZE(years); y++) {
		for (int month = 0; month < 20; month++) {
			for (int day = 0; day < 40; day++) {
				struct tm tm = { .tm_year = years[y] - 1900, .tm_mon = month - 1, .tm_mday = day };
				time_t seconds = timegm(&tm);

				snprintf(text, sizeof(text), "%04d-%02d-%02d", years[y], month, day);
				if (tm.tm_year == years[y] - 1900 && tm.tm_mon == month - 1 && tm.tm_mday == day &&
				    seconds)
					assert_true(parsed(text) == seconds);
				else
					refused(text);
			}
		}
	}
}

static void nothing_and_never_are_never(void **state)
{
	(void)state;
	assert_int_equal(parsed(""), 0);
	assert_int_equal(parsed("never"), 0);
	assert_int_equal(parsed("0"), 0);
}

static void numbers_are_seconds_since_1970(void **state)
{
	(void)state;
	assert_true(parsed("1") == 1);
	assert_true(parsed("1700000000") == 1700000000);
	assert_true(parsed("00012") == 12);
	assert_true(parsed("9223372036854775807") == INT64_MAX);
	refused("9223372036854775808");
	refused("18446744073709551617");
	refused("99999999999999999999999999");
}

static void spans_count_from_now(void **state)
{
	(void)state;
	assert_true(parsed("+0s") == NOW);
	assert_true(parsed("+1s") == NOW + 1);
	assert_true(parsed("+3m") == NOW + 180);
	assert_true(parsed("+2h") == NOW + 7200);
	assert_true(parsed("+90d") == NOW + 90 * 86400);
}

static void spans_that_overflow_are_refused(void **state)
{
	char text[64];

	(void)state;
	snprintf(text, sizeof(text), "+%llds", (long long)(INT64_MAX - NOW));
	assert_true(parsed(text) == INT64_MAX);
	snprintf(text, sizeof(text), "+%llds", (long long)(INT64_MAX - NOW + 1));
	refused(text);
	refused("+9223372036854775807d");
	refused("+106751991167301d"); /* 86400 times it passes 2^63 */
	refused("+9223372036854775808s");
}

static void a_moment_that_would_read_as_never_is_refused(void **state)
{
	int64_t time = -77;

	(void)state;
	refused("1970-01-01");
	refused("1970-01-01T00:00:00Z");
	assert_true(parsed("1970-01-01T00:00:01Z") == 1);
	assert_int_equal(lineup_time_parse("+0s", 0, &time), -EINVAL);
	assert_int_equal(lineup_time_parse("+1s", -1, &time), -EINVAL);
	assert_int_equal(lineup_time_parse("+1s", -5, &time), -EINVAL);
	assert_int_equal(time, -77);
}

static void anything_else_is_refused(void **state)
{
	static const char *const texts[] = {
		" ",
		"Never",
		"never ",
		" 5",
		"5 ",
		"5s",
		"-5",
		"-1d",
		"+",
		"+d",
		"+5",
		"+5w",
		"+5dd",
		"+ 5d",
		"+-5d",
		"+5.5d",
		"++5d",
		"1.5",
		"1e9",
		"0x10",
		"now",
		"1969-12-31",
		"0000-01-01",
		"-2024-01-01",
		"2024-1-1",
		"2024-01",
		"2024-01-",
		"2024-01-1",
		"2024-01-011",
		"2024/01/01",
		"24-01-01",
		"12024-01-01",
		"2024-01-01 ",
		"2024-01-01T",
		"2024-01-01Z",
		"2024-01-01T00:00Z",
		"2024-01-01T00:00:00",
		"2024-01-01T00:00:00z",
		"2024-01-01t00:00:00Z",
		"2024-01-01 00:00:00Z",
		"2024-01-01T00:00:00+00:00",
		"2024-01-01T00:00:00Zx",
		"2024-01-01T24:00:00Z",
		"2024-01-01T00:60:00Z",
		"2024-01-01T00:00:60Z",
		"2024-01-01T0:00:00Z",
		"2024-01-01T00:00:00.5Z",
		"2024-",
		"-",
		"--",
		"2024--01",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		refused(texts[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_day_to_the_year_9999_is_the_c_librarys),
		cmocka_unit_test(seconds_of_the_day_are_the_c_librarys),
		cmocka_unit_test(days_that_are_not_in_the_calendar_are_refused),
		cmocka_unit_test(nothing_and_never_are_never),
		cmocka_unit_test(numbers_are_seconds_since_1970),
		cmocka_unit_test(spans_count_from_now),
		cmocka_unit_test(spans_that_overflow_are_refused),
		cmocka_unit_test(a_moment_that_would_read_as_never_is_refused),
		cmocka_unit_test(anything_else_is_refused),
	};

	return cmocka_run_group_tests_name("when", tests, NULL, NULL);
}
