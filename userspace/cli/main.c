// SPDX-License-Identifier: MIT
// The program lineup: the table of commands, messages, and what every command needs before it runs.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli.h"

/*
 * A newcomer's map:
 *
 *	main.c        this table
 *	cmd_*.c       one command each
 *	options.c     reading the command line
 *	vectors.c     reading vectors, memory that is erased
 *	progress.c    progress bar, interruption
 *	output.c      tables, tab-separated lines, JSON
 *	remote*.c     galleries that lineupd serves
 *
 * Everything else is the library's: lineup.h.
 */
static const struct command {
	const char *name;
	const char *alias;
	int (*run)(struct cli *cli, int argc, char **argv);
	const char *summary;
} commands[] = {
	{ "enrol", "enroll", cmd_enrol, "add templates to a gallery, which is created if need be" },
	{ "search", NULL, cmd_search, "find the best candidates for each probe (1:N)" },
	{ "capture", NULL, cmd_capture, "search the faces in a device's frames as they come" },
	{ "verify", NULL, cmd_verify, "score each probe against one subject (1:1)" },
	{ "delete", NULL, cmd_delete, "delete a subject or one template" },
	{ "compact", NULL, cmd_compact, "remove deleted templates from the disk" },
	{ "info", NULL, cmd_info, "describe a gallery, or this build" },
	{ "check", NULL, cmd_check, "read and verify every byte of a gallery" },
	{ "export", NULL, cmd_export, "write a gallery's templates to files" },
	{ "devices", NULL, cmd_devices, "list the GPUs that searches can use" },
	{ "pool", NULL, cmd_pool, "show the kernel module's frame pools and quota" },
	{ "bench", NULL, cmd_bench, "measure speed beside the limits of this machine" },
	{ "load", NULL, cmd_load, "measure what lineupd carries, by requests at random times" },
	{ "top", NULL, cmd_top, "watch what lineupd does" },
};

static void print_message(const char *prefix, const char *message)
{
	cli_progress_clear();
	fprintf(stderr, "lineup: %s%s\n", prefix, message);
}

/* The library's messages; from any thread. */
static void log_message(void *arg, enum lineup_log_level level, const char *message)
{
	struct cli *cli = arg;

	if (level == LINEUP_LOG_ERROR) {
		__atomic_add_fetch(&cli->errors, 1, __ATOMIC_RELAXED);
		print_message("", message);
	} else if (level == LINEUP_LOG_WARNING) {
		print_message("warning: ", message);
	}
}

/* Like the library's: what comes from outside may not forge a line or move the cursor. */
static void format_message(char *message, size_t size, const char *format, va_list args)
{
	vsnprintf(message, size, format, args);
	for (char *c = message; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

enum { MESSAGE_BYTES_MAX = 1024 };

int cli_fail(struct cli *cli, const char *format, ...)
{
	char message[MESSAGE_BYTES_MAX];
	va_list args;

	va_start(args, format);
	format_message(message, sizeof(message), format, args);
	va_end(args);
	cli->errors++;
	print_message("", message);
	return CLI_FAILED;
}

int cli_usage(struct cli *cli, const char *format, ...)
{
	char message[MESSAGE_BYTES_MAX];
	va_list args;

	va_start(args, format);
	format_message(message, sizeof(message), format, args);
	va_end(args);
	cli->errors++;
	if (cli->command)
		fprintf(stderr, "lineup: %s: %s\nTry 'lineup help %s'.\n", cli->command, message, cli->command);
	else
		fprintf(stderr, "lineup: %s\nTry 'lineup help'.\n", message);
	return CLI_USAGE;
}

int cli_status(struct cli *cli, int err)
{
	if (!err)
		return CLI_DONE;
	if (err == -ECANCELED && cli_interrupted())
		return cli_fail(cli, "interrupted: nothing was changed");
	if (!cli->errors)
		cli_fail(cli, "%s", strerror(-err));
	return CLI_FAILED;
}

static int print_overview(struct cli *cli)
{
	printf("Usage: lineup COMMAND [ARGUMENT]...\n"
	       "Exact search of face embeddings in a watchlist.\n"
	       "A score is never a decision: candidates are for a person to judge.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-8s  %s\n", commands[i].name, commands[i].summary);
	printf("\n'lineup help COMMAND' says more, lineup(1) says all. Exit status: 0 done, 1 failed, 2 usage.\n");
	return cli_flush(cli, NULL);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name) || (commands[i].alias && !strcmp(name, commands[i].alias)))
			return &commands[i];
	return NULL;
}

static int run_command(struct cli *cli, const char *name, int argc, char **argv)
{
	const struct command *command = find_command(name);

	if (!command)
		return cli_usage(cli, "there is no command '%s'", name);
	cli->command = command->name;
	return command->run(cli, argc, argv);
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;

	if (!word)
		return cli_usage(cli, "which command?");
	if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
		printf("lineup %s\n", lineup_version());
		return cli_flush(cli, NULL);
	}
	if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
		char help[] = "--help", *help_argv[] = { argc > 2 ? argv[2] : NULL, help, NULL };

		return argc > 2 ? run_command(cli, argv[2], 2, help_argv) : print_overview(cli);
	}
	if (word[0] == '-')
		return cli_usage(cli, "unknown option '%s'", word);
	return run_command(cli, word, argc - 1, argv + 1);
}

/*
 * A file that we open must never become standard output: results would be printed into a gallery. A closed descriptor is filled by
 * one that fails when it is used the way the closed one would have been.
 */
static void fill_standard_descriptors(void)
{
	static const int flags[] = { O_WRONLY, O_RDONLY, O_RDWR };

	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", flags[fd]) != fd)
			_exit(CLI_FAILED);
}

/*
 * No core dumps: they would hold probes and templates. A limit of 0 still lets the kernel feed a dump to a core_pattern's program;
 * 1 stops that as well, and is too small for a file.
 */
static void forbid_core_dumps(void)
{
	setrlimit(RLIMIT_CORE, &(struct rlimit){ .rlim_cur = 1, .rlim_max = 1 });
}

int main(int argc, char **argv)
{
	struct cli cli = { 0 };
	struct lineup_ctx_options options = { .size = sizeof(options), .log = log_message, .log_arg = &cli };
	int status;

	fill_standard_descriptors();
	forbid_core_dumps();
	cli_signals_init();
	status = cli_status(&cli, lineup_ctx_create(&options, &cli.ctx));
	if (!status)
		status = run(&cli, argc, argv);
	lineup_ctx_destroy(cli.ctx);
	return status;
}
