/* SPDX-License-Identifier: MIT */
/* The configuration: one table of keys with unit, default and limits; read from an ini file; lineup.conf(5) is written from the same table. */
#ifndef LINEUPD_CONFIG_H
#define LINEUPD_CONFIG_H

#include "daemon.h"

struct config_listener {
	char address[128]; /* "unix:/run/lineup/lineup.sock", "tcp:127.0.0.1:6379", "tcp:[::1]:6379", "tls:0.0.0.0:6380" */
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

/* Defaults. */
void config_init(struct config *config);
/*
 * Reads @path over what @config holds. -EINVAL, with one line in @error for the first fault: "FILE:LINE: KEY: what is wrong and what is allowed"; -ENOENT ...
 * Unknown sections and keys, repeated keys and values out of range are faults.
 */
int config_read(const char *path, struct config *config, char error[512]);
/* For `lineupd DIR` without a file: one Unix socket in $XDG_RUNTIME_DIR (or /run/lineup as root), @directory. */
int config_for_directory(const char *directory, struct config *config, char error[512]);
/* What holds between keys: TCP beyond loopback needs TLS with certificates or users with secrets, and so on. */
int config_check(const struct config *config, char error[512]);
/* Prints every key with unit, default and limit: --help-config. */
void config_print_keys(void);
void config_fini(struct config *config);

#endif
