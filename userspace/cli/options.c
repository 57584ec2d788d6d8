// SPDX-License-Identifier: MIT
// Reading the command line: options, and the values that several commands take.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

int cli_option(struct cli *cli, int argc, char **argv, const char *letters, const struct option *options)
{
	int c;

	opterr = 0;
	c = getopt_long(argc, argv, letters, options, NULL);
	if (c == ':') {
		cli_usage(cli, "option '%s' needs a value", argv[optind - 1]);
	} else if (c == '?') {
		if (!optopt)
			cli_usage(cli, "unknown option '%s'", argv[optind - 1]);
		else if (optopt < CLI_OPTION_FIRST)
			cli_usage(cli, "unknown option '-%c'", optopt);
		else
			cli_usage(cli, "option '%s' takes no value", argv[optind - 1]);
	}
	return c == ':' ? '?' : c;
}

int cli_positional(struct cli *cli, int argc, char **argv, const char *what, const char **value)
{
	if (optind >= argc)
		return cli_usage(cli, "%s is missing", what);
	if (optind + 1 < argc)
		return cli_usage(cli, "one %s only, '%s' is too much", what, argv[optind + 1]);
	if (!argv[optind][0])
		return cli_usage(cli, "%s is empty", what);
	*value = argv[optind];
	return 0;
}

int cli_parse_count(struct cli *cli, const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	unsigned long long n;

	if (!text[0] || text[strspn(text, "0123456789")])
		return cli_usage(cli, "%s: '%s' is not a whole number", option, text);
	errno = 0;
	n = strtoull(text, NULL, 10);
	if (errno || n < min || n > max)
		return cli_fail(cli, "%s: %s is not from %llu to %llu", option, text, (unsigned long long)min,
				(unsigned long long)max);
	*value = n;
	return 0;
}

int cli_parse_size(struct cli *cli, const char *option, const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	size_t digits = strspn(text, "0123456789");
	const char *unit = text[digits] ? strchr(units, text[digits]) : NULL;
	unsigned int shift = unit ? 10 * (unsigned int)(unit - units + 1) : 0;
	unsigned long long n;

	if (!digits || (text[digits] && (!unit || text[digits + 1])))
		return cli_usage(cli, "%s: '%s' is not a size: a whole number of bytes, or with K, M, G or T", option, text);
	errno = 0;
	n = strtoull(text, NULL, 10);
	if (errno || !n || n > UINT64_MAX >> shift)
		return cli_fail(cli, "%s: %s is not from 1 to %llu bytes", option, text, (unsigned long long)UINT64_MAX);
	*bytes = (uint64_t)n << shift;
	return 0;
}

int cli_parse_number(struct cli *cli, const char *option, const char *text, double *value)
{
	char *end;
	double n = strtod(text, &end);

	if (end == text || *end || !isfinite(n))
		return cli_usage(cli, "%s: '%s' is not a finite number", option, text);
	*value = n;
	return 0;
}

int cli_parse_time(struct cli *cli, const char *option, const char *text, int64_t *value)
{
	if (lineup_time_parse(text, time(NULL), value))
		return cli_usage(cli, "%s: '%s' is not a time: YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ, seconds since 1970, +Nd, +Nh, +Nm, "
				 "+Ns or never", option, text);
	return 0;
}

int cli_parse_now(struct cli *cli, const char *option, const char *text, int64_t *value)
{
	int status = cli_parse_time(cli, option, text, value);

	/* To the library 0 is the clock's time, which is not what was asked for. */
	if (!status && !*value)
		status = cli_fail(cli, "%s: '%s' is not a time after the beginning of 1970", option, text);
	return status;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int cli_parse_op_id(struct cli *cli, const char *option, const char *text, uint8_t op_id[LINEUP_OP_ID_BYTES])
{
	uint8_t any = 0;

	if (strlen(text) != 2 * LINEUP_OP_ID_BYTES || text[strspn(text, "0123456789abcdefABCDEF")])
		return cli_usage(cli, "%s: '%s' is not %d hexadecimal digits", option, text, 2 * LINEUP_OP_ID_BYTES);
	for (size_t i = 0; i < LINEUP_OP_ID_BYTES; i++) {
		op_id[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
		any |= op_id[i];
	}
	if (!any)
		return cli_fail(cli, "%s: all zeros is not an id", option);
	return 0;
}

int cli_parse_word(struct cli *cli, const char *option, const char *text, const char *const *words, unsigned int *index)
{
	char list[128] = "";

	for (unsigned int i = 0; words[i]; i++) {
		if (!strcmp(text, words[i])) {
			*index = i;
			return 0;
		}
		if (i)
			strncat(list, words[i + 1] ? ", " : " or ", sizeof(list) - strlen(list) - 1);
		strncat(list, words[i], sizeof(list) - strlen(list) - 1);
	}
	return cli_usage(cli, "%s: '%s' is not %s", option, text, list);
}

static int add_name(struct cli *cli, const char *option, const char *text, size_t length, struct cli_names *names)
{
	char name[LINEUP_LIST_NAME_BYTES_MAX + 1] = "";

	if (length <= LINEUP_LIST_NAME_BYTES_MAX)
		memcpy(name, text, length);
	if (lineup_list_check(name))
		return cli_fail(cli, "%s: '%.*s' is not a list's name: 1 to %d of A-Z a-z 0-9 _ . -", option, (int)length, text,
				LINEUP_LIST_NAME_BYTES_MAX);
	for (uint32_t i = 0; i < names->count; i++)
		if (!strcmp(names->name[i], name))
			return 0;
	if (names->count == LINEUP_LISTS_MAX)
		return cli_fail(cli, "%s: more than %d lists", option, LINEUP_LISTS_MAX);
	memcpy(names->name[names->count++], name, sizeof(name));
	return 0;
}

int cli_parse_names(struct cli *cli, const char *option, const char *text, struct cli_names *names)
{
	for (;;) {
		size_t length = strcspn(text, ",");
		int status = add_name(cli, option, text, length, names);

		if (status)
			return status;
		if (!text[length])
			return 0;
		text += length + 1;
	}
}

int cli_parse_threshold(struct cli *cli, const char *text, struct lineup_search_options *search)
{
	double number = 0;
	int status = cli_parse_number(cli, "--threshold", text, &number);

	if (!status && fabs(number) > 1)
		status = cli_fail(cli, "--threshold: %s is not a cosine, which is from -1 to 1", text);
	search->threshold = (float)number;
	search->flags |= LINEUP_SEARCH_THRESHOLD;
	return status;
}

int cli_parse_residency(struct cli *cli, enum lineup_residency residency, struct lineup_search_setup *setup)
{
	if (setup->residency && setup->residency != residency)
		return cli_usage(cli, "--resident and --stream exclude each other");
	setup->residency = residency;
	return 0;
}
