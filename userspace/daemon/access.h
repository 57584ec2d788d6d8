/* SPDX-License-Identifier: MIT */
/* Who may do what: users, how they prove who they are, and their roles, which may be limited to galleries. */
#ifndef LINEUPD_ACCESS_H
#define LINEUPD_ACCESS_H

#include "config.h"

enum { ACCESS_GRANTS_MAX = 32 }; /* of one user */

/* Roles. What a role allows is told by the command table. admin includes all. */
enum access_role {
	ACCESS_SEARCHER = 1 << 0, /* searches, 1:1, reads of elements */
	ACCESS_ENROLLER = 1 << 1, /* enrols, deletes, sets attributes */
	ACCESS_AUDITOR = 1 << 2,  /* statistics, lists, information; no element and no search */
	ACCESS_ADMIN = 1 << 3,    /* attach, detach, compact, configuration, other clients */
};

struct access; /* users and rules, immutable; a reload makes another */

/* Who a connection is. A zeroed one is nobody. */
struct session {
	struct access *access;   /* reference; NULL: nobody */
	uint32_t user;           /* index in it */
	char name[64];
	bool known;
};

/*
 * From the configuration, which config_check has passed; secrets are read from their files. -EINVAL, -ENOMEM, or why a file
 * cannot be read, with @error. The caller's is the first reference; sessions, which may be copied to other threads, hold their
 * own.
 */
int access_create(const struct config *config, struct access **access, char error[512]);
struct access *access_get(struct access *access); /* another reference, for who uses it on another thread */
void access_put(struct access *access); /* takes NULL; sessions hold references */
/*
 * What knows a peer without AUTH: Unix peers are known by uid, TLS peers by certificate, plain TCP peers never. @session gets a
 * reference; it must be nobody before.
 */
/*
 * The user of a peer on the Unix socket: a [user] with its uid; without any [user] the daemon's own uid and root are admin.
 * -EACCES: nobody.
 */
int access_peer(struct access *access, uint32_t uid, struct session *session);
/* Of a verified TLS client certificate: @cn, and its SHA-256 in hex. -EACCES. */
int access_certificate(struct access *access, const char *cn, const char *sha256, struct session *session);
/*
 * AUTH. The comparison takes the same time whatever is wrong, an unknown name included. -EACCES. It costs tens of milliseconds
 * (crypto_pwhash): not on the loop thread; the outcome is taken over with the session by the caller. @secret is the caller's to
 * erase.
 */
int access_secret(struct access *access, const char *user, const char *secret, size_t secret_bytes, struct session *session);
/*
 * After a reload: a session that is known becomes the user of the same name in @access, with the rights that has now. -EACCES:
 * there is none; the session is nobody.
 */
int access_renew(struct access *access, struct session *session);
void session_end(struct session *session);
/*
 * Whether @session has one of @roles for @gallery (NULL: for all galleries: what is not about one). @roles 0: true, nothing is
 * asked.
 */
bool access_allows(const struct session *session, uint32_t roles, const char *gallery);
/* Whether it has one of @roles for any gallery at all. */
bool access_allows_any(const struct session *session, uint32_t roles);
/* Reads "searcher enroller:staff-*": roles, each for galleries that match a pattern (* and ?), all without one. -EINVAL. */
int access_parse_roles(const char *text, char error[512]);
/*
 * Prints the line for a secret_file, of a secret read from standard input: one line; asked for twice at a terminal. 0, or
 * -errno with a message on standard error.
 */
int access_hash_secret(void);

#endif
