/* SPDX-License-Identifier: MIT */
/* What the commands of the program lineup share: exit statuses, messages, options, vectors, progress, output. Grouped by file. */
#ifndef LINEUP_CLI_H
#define LINEUP_CLI_H

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lineup.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CLI_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Exit statuses, and what functions here that return an int return unless their comment says otherwise: 0 or one of these. */
enum cli_exit {
	CLI_DONE = 0,
	CLI_FAILED = 1, /* refused or failed; said on standard error */
	CLI_USAGE = 2,  /* the command line is malformed; said, with a hint */
};

struct cli {
	struct lineup_ctx *ctx; /* logs to standard error, see main.c */
	const char *command;    /* its name in the table, for messages */
	unsigned int errors;    /* messages of errors printed so far */
};

/* main.c */

/* Prints "lineup: MESSAGE" on standard error; returns CLI_FAILED. */
int cli_fail(struct cli *cli, const char *format, ...) CLI_PRINTF(2, 3);
/* Prints "lineup: COMMAND: MESSAGE" and where help is; returns CLI_USAGE. */
int cli_usage(struct cli *cli, const char *format, ...) CLI_PRINTF(2, 3);
/*
 * The exit status for the library's @err (0 or -errno). The library has said what was wrong; this says the rest: that the user
 * interrupted, or the errno's text if nobody has said anything.
 */
int cli_status(struct cli *cli, int err);

/* The commands. argv[0] is the command's name; each answers --help itself. */
int cmd_bench(struct cli *cli, int argc, char **argv);
int cmd_capture(struct cli *cli, int argc, char **argv);
int cmd_check(struct cli *cli, int argc, char **argv);
int cmd_compact(struct cli *cli, int argc, char **argv);
int cmd_delete(struct cli *cli, int argc, char **argv);
int cmd_devices(struct cli *cli, int argc, char **argv);
int cmd_enrol(struct cli *cli, int argc, char **argv);
int cmd_export(struct cli *cli, int argc, char **argv);
int cmd_info(struct cli *cli, int argc, char **argv);
int cmd_load(struct cli *cli, int argc, char **argv);
int cmd_pool(struct cli *cli, int argc, char **argv);
int cmd_search(struct cli *cli, int argc, char **argv);
int cmd_top(struct cli *cli, int argc, char **argv);
int cmd_verify(struct cli *cli, int argc, char **argv);

/* options.c */

/* Values of options without a letter start here, so that they cannot be taken for one. */
enum { CLI_OPTION_FIRST = 256 };

/*
 * getopt_long, with errors said by cli_usage: the option's value, -1 after the last, '?' after an error was said. @letters starts
 * with ':'. Call it until it returns -1 or '?'; then argv[optind] is the first positional argument.
 */
int cli_option(struct cli *cli, int argc, char **argv, const char *letters, const struct option *options);
/* Takes the only positional argument, called @what in messages. */
int cli_positional(struct cli *cli, int argc, char **argv, const char *what, const char **value);

/*
 * Parsers of option values; @option is the option's name for messages. Text that is not such a value at all is CLI_USAGE, a value
 * outside its limits is CLI_FAILED.
 */
int cli_parse_count(struct cli *cli, const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *value);
int cli_parse_size(struct cli *cli, const char *option, const char *text, uint64_t *bytes); /* "512M", "24G", "1000000"; not 0 */
int cli_parse_number(struct cli *cli, const char *option, const char *text, double *value);
int cli_parse_time(struct cli *cli, const char *option, const char *text, int64_t *value);
int cli_parse_now(struct cli *cli, const char *option, const char *text, int64_t *value); /* as cli_parse_time, not 0 */
int cli_parse_op_id(struct cli *cli, const char *option, const char *text, uint8_t op_id[LINEUP_OP_ID_BYTES]);
/* One of @words (ended by NULL); *@index says which. */
int cli_parse_word(struct cli *cli, const char *option, const char *text, const char *const *words, unsigned int *index);

/* Of every command that searches: a cosine, and --resident or --stream. */
int cli_parse_threshold(struct cli *cli, const char *text, struct lineup_search_options *search);
int cli_parse_residency(struct cli *cli, enum lineup_residency residency, struct lineup_search_setup *setup);

/* Names of lists, as of "--lists a,b --lists c". */
struct cli_names {
	uint32_t count;
	char name[LINEUP_LISTS_MAX][LINEUP_LIST_NAME_BYTES_MAX + 1];
};

/* Appends the names in @text, separated by commas. */
int cli_parse_names(struct cli *cli, const char *option, const char *text, struct cli_names *names);

/* device_choice.c */

/* Whether @choice names @device: NULL or "auto", or a list as for lineup_search_setup.devices. */
bool cli_device_chosen(const struct lineup_device *device, const char *choice);

/* vectors.c */

/* Zeroed pages kept out of core dumps; NULL after the lack of memory was said. Erased by the free, which takes NULL. */
void *cli_secret_alloc(struct cli *cli, size_t size);
void cli_secret_free(void *p, size_t size);

/* A file of vectors, read a chunk at a time into such pages. */
struct cli_vectors {
	const char *path; /* borrowed */
	struct lineup_vectors *file;
	struct lineup_matrix chunk; /* the last one read; no rows at the end of the file */
	uint64_t row;               /* in the file, of the chunk's first */
	uint64_t rows_max;          /* of a chunk */
	void *data;
	size_t data_bytes;
};

/* @v is zeroed by the caller, and closed by him even when this fails. */
int cli_vectors_open(struct cli *cli, struct cli_vectors *v, const char *path);
/* Makes the buffer for chunks of up to @rows_max rows, fewer if the file has fewer; before the first cli_vectors_next. */
int cli_vectors_prepare(struct cli *cli, struct cli_vectors *v, uint64_t rows_max);
int cli_vectors_next(struct cli *cli, struct cli_vectors *v);
void cli_vectors_close(struct cli_vectors *v);
/* Refuses vectors that do not have the @dim components of @gallery. */
int cli_vectors_check_dim(struct cli *cli, const struct cli_vectors *v, const char *gallery, uint32_t dim);

/* progress.c */

/* SIGINT and SIGTERM ask for an orderly end, a second one ends the program at once; SIGPIPE becomes an error of the write. */
void cli_signals_init(void);
bool cli_interrupted(void);

enum cli_unit { CLI_ROWS, CLI_BYTES };

struct cli_progress {
	const char *title; /* borrowed; may be changed between calls */
	enum cli_unit unit;
	uint64_t done;     /* as last told */
	double begin;      /* cli_seconds() */
	double drawn;
};

/* Seconds of the monotonic clock. */
double cli_seconds(void);
void cli_progress_begin(struct cli_progress *progress, const char *title, enum cli_unit unit);
/*
 * A lineup_progress_fn with a struct cli_progress as @arg: draws a bar on standard error if that is a terminal and a second has
 * passed; false once the user interrupted.
 */
bool cli_progress_update(void *arg, uint64_t done, uint64_t total);
/* Removes the bar, if there is one. Thread-safe; called by all that write to standard error, and before results. */
void cli_progress_clear(void);

/* output.c */

enum cli_format { CLI_TABLE, CLI_TSV, CLI_JSON };
extern const char *const cli_formats[]; /* for cli_parse_word, by enum cli_format */

/* Writes what was printed to standard output. Its failure is an error: @note, unless NULL, says what was done all the same. */
int cli_flush(struct cli *cli, const char *note);
/* Prints @text, the help of a command. */
int cli_help(struct cli *cli, const char *text);
/* Prints @json, which it takes (NULL: no memory), on one line. */
int cli_print_json(struct cli *cli, json_t *json);
/* A string for jansson of bytes in lower-case hex; the caller owns it. */
json_t *cli_json_hex(const uint8_t *bytes, size_t size);
/* @text has room for 2 * size + 1. */
void cli_hex(char *text, const uint8_t *bytes, size_t size);
/* "1.5 MiB"; @text has room for CLI_SIZE_TEXT. */
enum { CLI_SIZE_TEXT = 24 };
const char *cli_size(char *text, uint64_t bytes);
/* Prints @text and spaces up to @width columns, taking each character for one column wide. */
void cli_print_padded(const char *text, unsigned int width);
/* Columns of @text, likewise. */
unsigned int cli_columns(const char *text);
/* Prints lines "probe rank subject template score" of the format tsv. */
void cli_print_tsv(uint64_t probe, const struct lineup_candidate *candidates, uint32_t count);
/* Prints the same for people. @threshold: candidates had to reach one. */
void cli_print_table(uint64_t probe, const struct lineup_candidate *candidates, uint32_t count, bool threshold);

/* svg.c */

/* A text element at (@x, @y), in pixels; @anchor: "start", "middle", "end"; @attributes: others of the element. */
void cli_svg_text(FILE *f, double x, double y, const char *anchor, const char *attributes, const char *string);

#endif
