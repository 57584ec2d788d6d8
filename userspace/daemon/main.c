// SPDX-License-Identifier: MIT
// lineupd: reads the command line and the configuration, and runs the server.
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server.h"
#include "tls.h"

/*
 * Where to find what:
 *	config config_keys config_check	the configuration	access	users and roles
 *	log message buffer histogram metrics	what all use
 *	loop client tls resp		bytes from and to clients	http	metrics and health
 *	keeper keeper_group keeper_maintain	one gallery: its changes, its maintenance	attributes filter
 *	gallery				the galleries by name
 *	command				the table of commands; job args: what they are made of
 *	command_*			the commands	search search_reply	searches
 *	server server_stats		all of it together	notify seccomp	systemd and confinement
 */

#define DEFAULT_CONFIG "/etc/lineup/lineup.conf"

/* A configuration that is refused is usage: starting again does not help. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int usage(FILE *out)
{
	fprintf(out, "usage: lineupd [--config FILE] [--check-config]   serve what FILE says (without it: " DEFAULT_CONFIG ")\n"
		     "       lineupd DIR                                serve every gallery in DIR on $XDG_RUNTIME_DIR/lineup.sock\n"
		     "       lineupd --help-config                      every key of FILE, with unit, default and limit\n"
		     "       lineupd --hash-secret                      read a secret, print the line for a user's secret_file\n"
		     "       lineupd --version\n");
	return out == stderr ? EXIT_USAGE : EXIT_DONE;
}

struct arguments {
	const char *config, *directory;
	bool check;
};

static int read_config(const struct arguments *a, struct config *config)
{
	char error[512] = "";
	int err;

	config_init(config);
	err = a->directory ? config_for_directory(a->directory, config, error) : config_read(a->config, config, error);
	if (!err)
		err = config_check(config, error);
	if (err)
		fprintf(stderr, "lineupd: %s\n", error[0] ? error : strerror(-err));
	return err;
}

/* What the files say that it names. */
static int check_files(const struct config *config)
{
	char error[512] = "";
	struct access *access = NULL;
	struct tls *tls = NULL;
	int err = access_create(config, &access, error);

	if (!err)
		err = tls_create(config, &tls, error);
	if (err)
		fprintf(stderr, "lineupd: %s\n", error[0] ? error : strerror(-err));
	access_put(access);
	tls_put(tls);
	return err;
}

static int serve(const struct arguments *a)
{
	struct config *config = calloc(1, sizeof(*config));
	struct server *server;
	int err;

	if (!config) {
		fprintf(stderr, "lineupd: out of memory\n");
		return EXIT_FAILED;
	}
	err = read_config(a, config);
	if (!err)
		err = check_files(config);
	if (err || a->check) {
		if (!err)
			printf("%s: ok\n", a->config ? a->config : a->directory);
		config_fini(config);
		free(config);
		return err ? EXIT_USAGE : EXIT_DONE;
	}
	err = server_create(config, a->config ? a->config : "", &server);
	if (err) {
		fprintf(stderr, "lineupd: it could not start: %s\n", strerror(-err));
		return EXIT_FAILED;
	}
	err = server_run(server);
	server_destroy(server);
	return err ? EXIT_FAILED : EXIT_DONE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' }, { "check-config", no_argument, NULL, 'k' },
		{ "help-config", no_argument, NULL, 'H' },  { "hash-secret", no_argument, NULL, 's' },
		{ "version", no_argument, NULL, 'V' },      { "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct arguments a = { 0 };
	int c;

	while (c = getopt_long(argc, argv, "c:hV", options, NULL), c >= 0) {
		switch (c) {
		case 'c':
			a.config = optarg;
			break;
		case 'k':
			a.check = true;
			break;
		case 'H':
			config_print_keys();
			return EXIT_DONE;
		case 's':
			return access_hash_secret() ? EXIT_FAILED : EXIT_DONE;
		case 'V':
			printf("lineupd %s\n", lineup_version());
			return EXIT_DONE;
		case 'h':
			return usage(stdout);
		default:
			return usage(stderr);
		}
	}
	if (optind < argc)
		a.directory = argv[optind++];
	if (optind < argc || (a.directory && a.config))
		return usage(stderr);
	if (!a.directory && !a.config) {
		if (access(DEFAULT_CONFIG, F_OK))
			return usage(stderr);
		a.config = DEFAULT_CONFIG;
	}
	return serve(&a);
}
