// SPDX-License-Identifier: MIT
// Reads points in time: calendar dates (proleptic Gregorian, UTC), seconds since 1970, and spans from now.
#include <string.h>

#include "internal.h"

enum { YEAR_MIN = 1970, DAY_SECONDS = 86400 };

/* Exactly @digits decimal digits. */
static bool number_fixed(const char **at, int digits, int *number)
{
	*number = 0;
	for (; digits; digits--, ++*at) {
		if (**at < '0' || **at > '9')
			return false;
		*number = 10 * *number + (**at - '0');
	}
	return true;
}

static bool number_any(const char **at, int64_t *number)
{
	const char *start = *at;

	*number = 0;
	for (; **at >= '0' && **at <= '9'; ++*at)
		if (__builtin_mul_overflow(*number, 10, number) ||
		    __builtin_add_overflow(*number, **at - '0', number))
			return false;
	return *at > start;
}

static bool leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t days_since_1970(int year, int month, int day)
{
	static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
	int past = year - 1; /* the leap days of all years before this one */

	return 365 * (int64_t)(year - 1970) + (past / 4 - past / 100 + past / 400) -
	       (1969 / 4 - 1969 / 100 + 1969 / 400) + before[month - 1] + (month > 2 && leap(year)) + day - 1;
}

static bool date_read(const char **at, int64_t *seconds)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int year, month, day;

	if (!number_fixed(at, 4, &year) || *(*at)++ != '-' || !number_fixed(at, 2, &month) || *(*at)++ != '-' ||
	    !number_fixed(at, 2, &day))
		return false;
	if (year < YEAR_MIN || month < 1 || month > 12 || day < 1 ||
	    day > days[month - 1] + (month == 2 && leap(year)))
		return false;
	*seconds = days_since_1970(year, month, day) * DAY_SECONDS;
	return true;
}

/* "T12:34:56Z" after a date; a leap second has no number of its own and is refused. */
static bool clock_read(const char **at, int64_t *seconds)
{
	int hour, minute, second;

	if (*(*at)++ != 'T' || !number_fixed(at, 2, &hour) || *(*at)++ != ':' || !number_fixed(at, 2, &minute) ||
	    *(*at)++ != ':' || !number_fixed(at, 2, &second) || *(*at)++ != 'Z')
		return false;
	*seconds += hour * 3600 + minute * 60 + second;
	return hour < 24 && minute < 60 && second < 60;
}

static bool span_read(const char **at, int64_t now, int64_t *time)
{
	static const struct {
		char unit;
		int seconds;
	} units[] = { { 'd', DAY_SECONDS }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };
	int64_t number;
	char unit;

	if (!number_any(at, &number))
		return false;
	unit = *(*at)++;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (unit == units[i].unit)
			return !__builtin_mul_overflow(number, units[i].seconds, &number) &&
			       !__builtin_add_overflow(now, number, time);
	return false;
}

int lineup_time_parse(const char *text, int64_t now, int64_t *time)
{
	const char *at = text;
	int64_t result;

	if (!*text || !strcmp(text, "never")) {
		*time = 0;
		return 0;
	}
	if (*at == '+') {
		at++;
		if (!span_read(&at, now, &result) || *at || result <= 0) /* 0 would mean never */
			return -EINVAL;
	} else if (strchr(text, '-')) {
		if (!date_read(&at, &result) || (*at && !clock_read(&at, &result)) || *at || result <= 0)
			return -EINVAL;
	} else {
		if (!number_any(&at, &result) || *at)
			return -EINVAL;
	}
	*time = result;
	return 0;
}
