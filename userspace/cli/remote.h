/* SPDX-License-Identifier: MIT */
/* Galleries that lineupd serves, as the commands see them; remote_none.c stands in where the program is built without. */
#ifndef LINEUP_CLI_REMOTE_H
#define LINEUP_CLI_REMOTE_H

#include "cli.h"

/* How to reach lineupd; zeroed: as the environment says. The strings are the command line's. */
struct remote_options {
	const char *socket;      /* a path, or tcp:HOST:PORT. NULL: $LINEUP_SOCKET, $XDG_RUNTIME_DIR/lineup.sock, /run/lineup/lineup.sock */
	const char *user;
	const char *secret_file; /* the secret is its first line */
};

enum { REMOTE_SOCKET = CLI_OPTION_FIRST + 256, REMOTE_USER, REMOTE_SECRET_FILE };

#define REMOTE_OPTIONS                                                                                                           \
	{ "socket", required_argument, NULL, REMOTE_SOCKET }, { "user", required_argument, NULL, REMOTE_USER },                  \
	{ "secret-file", required_argument, NULL, REMOTE_SECRET_FILE }

#define REMOTE_HELP                                                                                                              \
	"GALLERY is a directory, or lineup://NAME: one that lineupd serves, which does the work. Then also:\n" \
	"  --socket ADDRESS      where lineupd listens: a path or tcp:HOST:PORT ($LINEUP_SOCKET); GALLERY may then be NAME\n" \
	"  --user NAME, --secret-file FILE   who asks, and the file whose first line is the secret\n"

/* Takes the value of an option of these; false: it is none. */
bool remote_option(struct remote_options *options, int c);
/* The name that @gallery has with lineupd; NULL: it is a directory, or a name that no gallery has. */
const char *remote_name(const struct remote_options *options, const char *gallery);
/* For a directory: options for lineupd were given in vain. */
int remote_check_local(struct cli *cli, const struct remote_options *options, const char *gallery);

struct remote;

/* Connects and says who asks. @name (NULL: of no gallery) is borrowed, as @options is. */
int remote_open(struct cli *cli, const struct remote_options *options, const char *name, struct remote **remote);
void remote_close(struct remote *remote); /* takes NULL */

/* What `lineup info` says of it. @model: refuse a gallery of another model, as opening does; may be NULL. */
int remote_info(struct remote *remote, const char *model, struct lineup_gallery_info *info);
/* Whether lineupd serves it. */
int remote_exists(struct remote *remote, bool *exists);
int remote_create(struct remote *remote, uint32_t dim, enum lineup_store store, const char *model);

struct remote_query {
	const struct lineup_matrix *probes;
	const struct lineup_search_options *options; /* but .lists */
	const struct cli_names *lists;
	const uint8_t *model_digest; /* that the gallery is to have */
};

/* Sends a search; several may be under way. Answers come in the order of the questions. */
int remote_search_send(struct remote *remote, const struct remote_query *query);
/* @candidates is [rows][k]. The strings of @facts are the remote's. */
int remote_search_receive(struct remote *remote, uint64_t rows, uint32_t k, struct lineup_candidate *candidates, uint32_t *counts,
			  struct lineup_search_facts *facts);
int remote_verify(struct remote *remote, const struct lineup_matrix *probes, const char *subject, int64_t now,
		  const uint8_t *model_digest, struct lineup_candidate *candidates);

/* Rows of one operation. Retried, with the same id, when the connection is lost or lineupd is busy. */
struct remote_rows {
	struct lineup_matrix vectors;
	const uint8_t *op_id, *model_digest;
	const struct cli_names *lists;   /* of all rows */
	const char *const *subjects;     /* [rows]; NULL: named by their template ids */
	const char *const *row_lists;    /* [rows], separated by ';'; NULL: none */
	const int64_t *expires;          /* [rows]; 0: never */
};

int remote_enrol(struct remote *remote, const struct remote_rows *rows, struct lineup_enrol_result *result);
/* Retried likewise; without an id in @options it gets one. */
int remote_delete(struct remote *remote, const struct lineup_delete_options *options, struct lineup_delete_result *result);
int remote_compact(struct remote *remote, struct lineup_compact_result *result);

#endif
