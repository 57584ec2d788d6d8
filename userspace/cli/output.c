// SPDX-License-Identifier: MIT
// Results on standard output: tables for people, tab-separated lines and JSON for programs.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

const char *const cli_formats[] = { [CLI_TABLE] = "table", [CLI_TSV] = "tsv", [CLI_JSON] = "json", NULL };

int cli_flush(struct cli *cli, const char *note)
{
	bool failed_before = ferror(stdout);

	errno = 0;
	if (!fflush(stdout) && !failed_before)
		return 0;
	return cli_fail(cli, "standard output: %s%s%s", errno ? strerror(errno) : "an earlier write failed", note ? "; " : "",
			note ? note : "");
}

int cli_help(struct cli *cli, const char *text)
{
	fputs(text, stdout);
	return cli_flush(cli, NULL);
}

int cli_print_json(struct cli *cli, json_t *json)
{
	/* 9 significant digits tell all floats apart. */
	int err = json ? json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) : 0;
	int status = json ? 0 : cli_fail(cli, "no memory for a result");

	json_decref(json);
	putchar('\n');
	/* A failed write is remembered by stdout and said by cli_flush. */
	if (err && !ferror(stdout))
		status = cli_fail(cli, "a result could not be written as JSON");
	return status;
}

void cli_hex(char *text, const uint8_t *bytes, size_t size)
{
	static const char digit[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		*text++ = digit[bytes[i] >> 4];
		*text++ = digit[bytes[i] & 15];
	}
	*text = 0;
}

json_t *cli_json_hex(const uint8_t *bytes, size_t size)
{
	char text[2 * LINEUP_DIGEST_BYTES + 1];

	cli_hex(text, bytes, size);
	return json_string(text);
}

const char *cli_size(char *text, uint64_t bytes)
{
	static const char *const unit[] = { "KiB", "MiB", "GiB", "TiB" };
	double n = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		snprintf(text, CLI_SIZE_TEXT, "%" PRIu64 " bytes", bytes);
		return text;
	}
	for (; n >= 1024 && i + 1 < ARRAY_SIZE(unit); i++)
		n /= 1024;
	snprintf(text, CLI_SIZE_TEXT, "%.1f %s", n, unit[i]);
	return text;
}

unsigned int cli_columns(const char *text)
{
	unsigned int columns = 0;

	for (; *text; text++)
		columns += ((unsigned char)*text & 0xc0) != 0x80;
	return columns;
}

void cli_print_padded(const char *text, unsigned int width)
{
	unsigned int columns = cli_columns(text);

	printf("%s%*s", text, columns < width ? (int)(width - columns) : 0, "");
}

void cli_print_tsv(uint64_t probe, const struct lineup_candidate *candidates, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		printf("%" PRIu64 "\t%" PRIu32 "\t%s\t%" PRIu64 "\t%.6f\n", probe, i + 1, candidates[i].subject,
		       candidates[i].template_id, (double)candidates[i].score);
}

void cli_print_table(uint64_t probe, const struct lineup_candidate *candidates, uint32_t count, bool threshold)
{
	unsigned int width = cli_columns("subject");

	if (!count) {
		printf("probe %" PRIu64 ": no candidate%s\n\n", probe, threshold ? " above the threshold" : "");
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		unsigned int columns = cli_columns(candidates[i].subject);

		width = columns > width ? columns : width;
	}
	printf("probe %" PRIu64 ": %" PRIu32 " candidate%s\n  rank  ", probe, count, count == 1 ? "" : "s");
	cli_print_padded("subject", width);
	printf("    template     score\n");
	for (uint32_t i = 0; i < count; i++) {
		printf("  %4" PRIu32 "  ", i + 1);
		cli_print_padded(candidates[i].subject, width);
		printf("  %10" PRIu64 "  %8.6f\n", candidates[i].template_id, (double)candidates[i].score);
	}
	putchar('\n');
}
