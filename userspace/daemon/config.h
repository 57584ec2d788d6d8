/* SPDX-License-Identifier: MIT */
/*
 * The configuration: one table of keys with unit, default and limits; read from an ini file; lineup.conf(5) is written from the
 * same table.
 */
#ifndef LINEUPD_CONFIG_H
#define LINEUPD_CONFIG_H

#include <sys/socket.h>

#include "daemon.h"

/*
 * The file, as libinih takes it apart: [section] headings, key = value lines, comments that begin with ; or # on a line of
 * their own or with a blank and ; after a value, at most CONFIG_LINE_BYTES_MAX bytes a line. Keys whose values are lists may go
 * on in indented lines. Files may be given as "credential:NAME", which stands for $CREDENTIALS_DIRECTORY/NAME.
 */
enum {
	CONFIG_LINE_BYTES_MAX = 198,    /* libinih splits longer ones in silence, so they are refused */
	CONFIG_FILE_BYTES_MAX = 4 << 20,
	CONFIG_SECRET_BYTES_MAX = 1024, /* of what AUTH is given */
};

struct config_listener {
	char address[128]; /* separated by blanks in the file; "unix:/run/lineup/lineup.sock", "tcp:127.0.0.1:6379", "tcp:[::1]:6379", "tls:0.0.0.0:6380" */
};

struct config_gallery {
	char name[DAEMON_NAME_BYTES_MAX + 1];
	char path[4096];
};

struct config_user {
	char name[64];
	char secret_file[4096];  /* holds the secret's line as `lineupd --hash-secret` prints it: crypto_pwhash_str of libsodium; "": no AUTH */
	char certificate[256];   /* subject CN, or "sha256:..." fingerprint; "": none */
	int64_t uid;             /* of a peer on the Unix socket; -1: none */
	char roles[1024];        /* "searcher", "enroller:staff-*", ...: separated by spaces; access.h */
};

struct config {
	/* [server] */
	struct config_listener listen[DAEMON_LISTENERS_MAX];
	uint32_t listens;
	bool listens_default;    /* nothing was said: .listen is the Unix socket, for when the service manager hands over none */
	char directory[4096];    /* every gallery in it is served, and VADD to a missing key creates one there; "": none */
	char metrics[128];       /* "127.0.0.1:9464", "": no HTTP; loopback addresses only */
	char log_level[16];
	uint32_t clients_max;
	uint32_t client_idle_s;  /* closed without a request for so long; 0: never */
	uint64_t request_bytes_max; /* of one request */
	uint64_t client_output_bytes_max; /* replies a client has not read: more, and its requests wait; ten times: closed */
	uint32_t client_pipeline_max; /* requests of one client under way */
	uint32_t client_rate;    /* requests a second and client, 0: no limit */
	uint32_t unix_mode;      /* of the socket, octal */
	uint32_t drain_s;        /* SIGTERM: how long running requests may take */
	char create_model[LINEUP_MODEL_BYTES_MAX + 1]; /* of galleries that VADD creates */
	bool create;             /* whether VADD may create one */
	/* [search] */
	uint32_t threads;
	char backend[32];
	char devices[256];
	char residency[16];      /* auto, resident, streamed */
	uint64_t memory_max, device_memory_max;
	uint32_t probes_max, waiting_max;
	uint32_t k_max;
	uint32_t deadline_ms;    /* waiting for room in a scan; 0: any time */
	/* [enrol] */
	uint32_t group_max;      /* operations of one sync */
	uint32_t waiting_operations_max; /* of one gallery */
	uint64_t maintain_bytes_per_second;
	uint32_t compact_percent; /* of deleted rows, from which a gallery is compacted; 0: never by itself */
	/* [tls] */
	char certificate[4096], key[4096], ca[4096]; /* PEM files; ca: clients must have a certificate it signed */
	/* [user NAME], [gallery NAME] */
	struct config_user *user;
	uint32_t users;
	struct config_gallery *gallery;
	uint32_t galleries;
};

/* ---- the table of keys, config_keys.c ---- */

enum config_section { CONFIG_SERVER, CONFIG_SEARCH, CONFIG_ENROL, CONFIG_TLS, CONFIG_USER, CONFIG_GALLERY, CONFIG_SECTIONS };

enum config_type {
	CONFIG_NUMBER,    /* uint32_t, or uint64_t by .size */
	CONFIG_BYTES,     /* uint64_t, with K, M, G, T */
	CONFIG_OCTAL,     /* uint32_t */
	CONFIG_UID,       /* int64_t */
	CONFIG_BOOL,      /* yes or no */
	CONFIG_CHOICE,    /* text, one of .choices */
	CONFIG_TEXT,
	CONFIG_LIST,      /* text: words, which may go on in indented lines */
	CONFIG_LISTENERS, /* a list as well: config.listen */
	CONFIG_DIRECTORY, /* absolute path */
	CONFIG_FILE,      /* absolute path, or credential:NAME */
};

struct config_key {
	enum config_section section;
	const char *name;
	enum config_type type;
	size_t offset, size;     /* in struct config, config_user or config_gallery */
	const char *fallback;    /* the default, as it would be written; NULL: none */
	uint64_t min, max;       /* of numbers */
	const char *unit;        /* of numbers; what a text is, otherwise */
	const char *choices;     /* separated by ", " */
	const char *what;        /* a sentence or two, for --help-config and lineup.conf(5) */
};

extern const struct config_key config_keys[];
extern const uint32_t config_key_count;
/* "server", ... "user NAME", "gallery NAME". */
extern const char *const config_section_names[CONFIG_SECTIONS];

/* NULL: no such key there. */
const struct config_key *config_key_find(enum config_section section, const char *name);
/*
 * Sets the field of @key in @target, a struct config, config_user or config_gallery. -EINVAL: @error says what is wrong and
 * what is allowed, and nothing is set.
 */
int config_key_set(const struct config_key *key, void *target, const char *value, char error[512]);
/* "Default: 64M. Limits: 64K to 1G bytes.": the same words in --help-config and in the manual page. Returns @out. */
const char *config_key_facts(const struct config_key *key, char out[512]);
/* Prints every key with unit, default and limit: --help-config. */
void config_print_keys(void);

/* ---- the file, config.c ---- */

/* Defaults. */
void config_init(struct config *config);
/*
 * Reads @path over what @config holds. -EINVAL, with one line in @error for the first fault: "FILE:LINE: KEY: what is wrong and
 * what is allowed"; -ENOENT ...: @error says that it cannot be read. Unknown sections and keys, repeated ones and values out of
 * range are faults; with a fault @config stays as it was.
 */
int config_read(const char *path, struct config *config, char error[512]);
/* Likewise for text in memory, which is called @name in messages. */
int config_parse(const char *name, const char *text, size_t size, struct config *config, char error[512]);
/* For `lineupd DIR` without a file: one Unix socket in $XDG_RUNTIME_DIR (or /run/lineup as root), @directory. */
int config_for_directory(const char *directory, struct config *config, char error[512]);
void config_fini(struct config *config);

/* ---- what holds between keys, config_check.c ---- */

struct config_endpoint {
	enum { CONFIG_UNIX, CONFIG_TCP, CONFIG_TCP_TLS } kind;
	struct sockaddr_storage address;
	socklen_t address_bytes;
	bool loopback;           /* unix: true */
};

/*
 * Takes "unix:/path", "tcp:HOST:PORT" or "tls:HOST:PORT" apart; hosts are addresses, not names, [in brackets] if they hold
 * colons. -EINVAL with @error.
 */
int config_endpoint(const char *text, struct config_endpoint *endpoint, char error[512]);
/* TCP beyond loopback needs TLS with certificates or users with secrets, and so on. -EINVAL with @error. */
int config_check(const struct config *config, char error[512]);

#endif
