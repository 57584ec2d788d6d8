// SPDX-License-Identifier: MIT
// Users, how they prove who they are, and their roles.
#include "access.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* Roles for the galleries that match a pattern. */
struct grant {
	uint32_t roles;
	bool all;
	char pattern[DAEMON_NAME_BYTES_MAX + 1];
};

struct user {
	char name[64];				       /* padded with NUL: compared as a whole */
	char hash[crypto_pwhash_STRBYTES];	       /* "": no secret */
	char cn[256];				       /* "": none */
	char digest[2 * crypto_hash_sha256_BYTES + 1]; /* of a certificate, in hex; "": none */
	int64_t uid;				       /* -1: none */
	struct grant grant[ACCESS_GRANTS_MAX];
	uint32_t grants;
};

struct access {
	atomic_uint references;
	uint32_t users;
	struct user user[];
};

/*
 * Stands in for the hash of a user that there is not, or who has no secret: it takes as long to verify. Nothing is known to
 * match it.
 */
static const char no_hash[crypto_pwhash_STRBYTES] =
	"$argon2id$v=19$m=65536,t=2,p=1$bm8gc3VjaCB1c2VyIQAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static int refuse(char error[512], const char *format, ...) DAEMON_PRINTF(2, 3);

static int refuse(char error[512], const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(error, 512, format, list);
	va_end(list);
	return -EINVAL;
}

/* ---- roles ---- */

static int read_grant(const char *word, size_t size, struct grant *grant, char error[512])
{
	static const struct {
		const char *name;
		uint32_t roles;
	} roles[] = {
		{ "searcher", ACCESS_SEARCHER },
		{ "enroller", ACCESS_ENROLLER },
		{ "auditor", ACCESS_AUDITOR },
		{ "admin", ACCESS_SEARCHER | ACCESS_ENROLLER | ACCESS_AUDITOR | ACCESS_ADMIN },
	};
	const char *colon = memchr(word, ':', size);
	size_t role_size = colon ? (size_t)(colon - word) : size;

	memset(grant, 0, sizeof(*grant));
	for (uint32_t i = 0; i < ARRAY_SIZE(roles); i++) {
		if (strlen(roles[i].name) == role_size && !memcmp(roles[i].name, word, role_size))
			grant->roles = roles[i].roles;
	}
	if (!grant->roles)
		return refuse(error, "roles: '%.*s' is none of searcher, enroller, auditor, admin",
			      (int)(role_size < 60 ? role_size : 60), word);
	grant->all = !colon;
	if (grant->all)
		return 0;
	size -= role_size + 1;
	if (!size || size >= sizeof(grant->pattern))
		return refuse(error, "roles: %.*s: takes a pattern of 1 to %zu bytes after the colon", (int)role_size, word,
			      sizeof(grant->pattern) - 1);
	memcpy(grant->pattern, colon + 1, size);
	for (const char *c = grant->pattern; *c; c++) {
		if (!isalnum((unsigned char)*c) && !strchr("_.-:*?", *c))
			return refuse(error, "roles: %.*s: a pattern is of A-Z a-z 0-9 _ . - : and * ?",
				      (int)(role_size + 1 + size), word);
	}
	return 0;
}

static int read_grants(const char *text, struct grant *grant, uint32_t *count, char error[512])
{
	struct grant one;
	uint32_t grants = 0;
	size_t size;
	int err;

	for (text += strspn(text, " \t"); *text; text += size + strspn(text + size, " \t")) {
		size = strcspn(text, " \t");
		err = read_grant(text, size, &one, error);
		if (err)
			return err;
		if (grants == ACCESS_GRANTS_MAX)
			return refuse(error, "roles: more than %d", ACCESS_GRANTS_MAX);
		if (grant)
			grant[grants] = one;
		grants++;
	}
	if (!grants)
		return refuse(error, "roles: none are named");
	if (count)
		*count = grants;
	return 0;
}

int access_parse_roles(const char *text, char error[512])
{
	return read_grants(text, NULL, NULL, error);
}

/*
 * Whether @name matches @pattern: * stands for any text, ? for one byte. Only the last * is ever given more text, so that the
 * time is at most the product of both lengths; fnmatch's is not, and depends on the locale.
 */
static bool matches(const char *pattern, const char *name)
{
	const char *star = NULL, *resume = NULL;

	while (*name) {
		if (*pattern == '*') {
			star = pattern++;
			resume = name;
		} else if (*pattern == '?' || *pattern == *name) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

bool access_allows(const struct session *session, uint32_t roles, const char *gallery)
{
	const struct user *user;

	if (!roles)
		return true;
	if (!session->known || !session->access)
		return false;
	user = &session->access->user[session->user];
	for (uint32_t i = 0; i < user->grants; i++) {
		const struct grant *grant = &user->grant[i];

		if (grant->roles & roles && (grant->all || (gallery && matches(grant->pattern, gallery))))
			return true;
	}
	return false;
}

bool access_allows_any(const struct session *session, uint32_t roles)
{
	const struct user *user;

	if (!session->known || !session->access)
		return false;
	user = &session->access->user[session->user];
	for (uint32_t i = 0; i < user->grants; i++)
		if (user->grant[i].roles & roles)
			return true;
	return false;
}

/* ---- users ---- */

/* The first line of a file that others cannot read. */
static int read_secret(const struct config_user *from, struct user *user, char error[512])
{
	char line[sizeof(user->hash) + 2] = "";
	const char *path = from->secret_file;
	struct stat stat;
	int err = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &stat))
		err = errno;
	else if (!S_ISREG(stat.st_mode) || stat.st_mode & (S_IWGRP | S_IRWXO))
		err = EPERM;
	else if (pread(fd, line, sizeof(line) - 1, 0) < 0)
		err = errno;
	if (fd >= 0)
		close(fd);
	if (err == EPERM) {
		refuse(error,
		       "[user %s]: secret_file: %.250s: must be a file that others can neither read nor write, nor its group "
		       "write: chmod 640",
		       from->name, path);
		return -EPERM;
	}
	if (err) {
		refuse(error, "[user %s]: secret_file: %.250s: %s", from->name, path, strerror(err));
		return -err;
	}
	line[strcspn(line, "\r\n")] = 0;
	if (strlen(line) >= sizeof(user->hash) || strncmp(line, crypto_pwhash_STRPREFIX, strlen(crypto_pwhash_STRPREFIX)) ||
	    crypto_pwhash_str_needs_rehash(line, crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE)) {
		explicit_bzero(line, sizeof(line));
		return refuse(error,
			      "[user %s]: secret_file: %.250s: its first line is none that this lineupd --hash-secret prints",
			      from->name, path);
	}
	memcpy(user->hash, line, strlen(line) + 1);
	explicit_bzero(line, sizeof(line));
	return 0;
}

/* "sha256:" and 64 hex digits, with colons between them or not; anything else is a common name. */
static int read_certificate(const struct config_user *from, struct user *user, char error[512])
{
	static const char prefix[] = "sha256:";
	size_t digits = 0;

	if (strncmp(from->certificate, prefix, strlen(prefix))) {
		memcpy(user->cn, from->certificate, sizeof(user->cn));
		return 0;
	}
	for (const char *c = from->certificate + strlen(prefix); *c; c++) {
		if (*c == ':')
			continue;
		if (!isxdigit((unsigned char)*c) || digits == sizeof(user->digest) - 1)
			break;
		user->digest[digits++] = (char)tolower((unsigned char)*c);
		if (!c[1] && digits == sizeof(user->digest) - 1)
			return 0;
	}
	return refuse(error, "[user %s]: certificate: sha256: takes %zu hex digits", from->name, sizeof(user->digest) - 1);
}

static int add_user(const struct config_user *from, struct user *user, char error[512])
{
	char what[512];
	int err;

	memcpy(user->name, from->name, sizeof(user->name));
	user->uid = from->uid;
	if (read_grants(from->roles, user->grant, &user->grants, what))
		return refuse(error, "[user %s]: %.400s", from->name, what);
	err = *from->secret_file ? read_secret(from, user, error) : 0;
	if (!err && *from->certificate)
		err = read_certificate(from, user, error);
	return err;
}

/* Without any [user]: who runs the daemon, and root. */
static void add_owners(struct access *access)
{
	static const struct grant all = { .roles = ACCESS_SEARCHER | ACCESS_ENROLLER | ACCESS_AUDITOR | ACCESS_ADMIN, .all = true };
	uid_t uid = geteuid();

	for (uint32_t i = 0; i < access->users; i++) {
		struct user *user = &access->user[i];

		user->uid = i ? (int64_t)uid : 0;
		snprintf(user->name, sizeof(user->name), "uid:%lld", (long long)user->uid);
		user->grant[0] = all;
		user->grants = 1;
	}
}

int access_create(const struct config *config, struct access **access, char error[512])
{
	uint32_t users = config->users ? config->users : 2;
	struct access *a = sodium_init() < 0 ? NULL : calloc(1, sizeof(*a) + users * sizeof(*a->user));
	int err = 0;

	if (!a) {
		refuse(error, "users: out of memory, or no random numbers");
		return -ENOMEM;
	}
	assert(!crypto_pwhash_str_needs_rehash(no_hash, crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE));
	atomic_init(&a->references, 1);
	a->users = users;
	if (!config->users)
		add_owners(a);
	for (uint32_t i = 0; i < config->users && !err; i++)
		err = add_user(&config->user[i], &a->user[i], error);
	if (err) {
		access_put(a);
		return err;
	}
	*access = a;
	return 0;
}

struct access *access_get(struct access *access)
{
	atomic_fetch_add(&access->references, 1);
	return access;
}

void access_put(struct access *access)
{
	if (!access || atomic_fetch_sub(&access->references, 1) != 1)
		return;
	explicit_bzero(access->user, access->users * sizeof(*access->user));
	free(access);
}

/* ---- sessions ---- */

static int begin(struct access *access, uint32_t index, struct session *session)
{
	memset(session, 0, sizeof(*session));
	session->access = access_get(access);
	session->user = index;
	memcpy(session->name, access->user[index].name, sizeof(session->name));
	session->known = true;
	return 0;
}

int access_peer(struct access *access, uint32_t uid, struct session *session)
{
	for (uint32_t i = 0; i < access->users; i++) {
		if (access->user[i].uid == (int64_t)uid)
			return begin(access, i, session);
	}
	return -EACCES;
}

int access_certificate(struct access *access, const char *cn, const char *sha256, struct session *session)
{
	/* A digest is told apart first: it names one certificate, a common name all that bear it. */
	for (uint32_t i = 0; i < access->users; i++) {
		if (*access->user[i].digest && !strcasecmp(access->user[i].digest, sha256))
			return begin(access, i, session);
	}
	for (uint32_t i = 0; i < access->users; i++) {
		if (*access->user[i].cn && !strcmp(access->user[i].cn, cn))
			return begin(access, i, session);
	}
	return -EACCES;
}

int access_secret(struct access *access, const char *user, const char *secret, size_t secret_bytes, struct session *session)
{
	char name[sizeof(access->user->name)] = "", hash[crypto_pwhash_STRBYTES] = "";
	uint32_t found = access->users;
	bool good = strlen(user) < sizeof(name);
	int err;

	memcpy(name, user, good ? strlen(user) : 0);
	/* All are compared, as a whole, whichever it is. */
	for (uint32_t i = 0; i < access->users; i++) {
		if (!sodium_memcmp(access->user[i].name, name, sizeof(name)))
			found = i;
	}
	good = good && found < access->users && *access->user[found].hash && secret_bytes <= CONFIG_SECRET_BYTES_MAX;
	if (good)
		memcpy(hash, access->user[found].hash, sizeof(hash));
	else
		memcpy(hash, no_hash, sizeof(hash));
	if (secret_bytes > CONFIG_SECRET_BYTES_MAX)
		secret_bytes = CONFIG_SECRET_BYTES_MAX;
	err = crypto_pwhash_str_verify(hash, secret, secret_bytes);
	explicit_bzero(hash, sizeof(hash));
	explicit_bzero(name, sizeof(name));
	return err || !good ? -EACCES : begin(access, found, session);
}

int access_renew(struct access *access, struct session *session)
{
	char name[sizeof(session->name)];

	if (!session->known)
		return -EACCES;
	memcpy(name, session->name, sizeof(name));
	session_end(session);
	for (uint32_t i = 0; i < access->users; i++) {
		if (!memcmp(access->user[i].name, name, sizeof(name)))
			return begin(access, i, session);
	}
	return -EACCES;
}

void session_end(struct session *session)
{
	access_put(session->access);
	explicit_bzero(session, sizeof(*session));
}

/* ---- --hash-secret ---- */

/* One line of standard input into @secret[CONFIG_SECRET_BYTES_MAX + 2], without its end; at a terminal unseen. */
static int read_line(const char *prompt, char *secret)
{
	struct termios was, now;
	bool terminal = !tcgetattr(STDIN_FILENO, &was);
	size_t size = 0;
	ssize_t got;

	if (terminal) {
		now = was;
		now.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &now);
		fputs(prompt, stderr);
	}
	/* A byte at a time: stdio would keep a copy in its buffer. */
	while ((got = read(STDIN_FILENO, secret + size, 1)) == 1 && secret[size] != '\n' && size <= CONFIG_SECRET_BYTES_MAX)
		size++;
	if (terminal) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
		fputc('\n', stderr);
	}
	secret[size] = 0;
	if (got < 0)
		return -errno;
	if (!size || size > CONFIG_SECRET_BYTES_MAX || strlen(secret) != size)
		return -EINVAL;
	return terminal;
}

int access_hash_secret(void)
{
	enum { SIZE = CONFIG_SECRET_BYTES_MAX + 2 };
	char *secret = sodium_init() < 0 ? NULL : sodium_malloc(2 * SIZE), hash[crypto_pwhash_STRBYTES];
	int err = secret ? read_line("Secret: ", secret) : -ENOMEM;

	if (err == 1) {
		err = read_line("Again: ", secret + SIZE);
		if (err >= 0 && strcmp(secret, secret + SIZE)) {
			fputs("lineupd: --hash-secret: the two are not the same\n", stderr);
			sodium_free(secret);
			return -EINVAL;
		}
	}
	if (err >= 0)
		err = crypto_pwhash_str(hash, secret, strlen(secret), crypto_pwhash_OPSLIMIT_INTERACTIVE,
					crypto_pwhash_MEMLIMIT_INTERACTIVE)
			      ? -ENOMEM
			      : 0;
	if (!err && (puts(hash) < 0 || fflush(stdout)))
		err = -EIO;
	if (err == -EINVAL)
		fprintf(stderr, "lineupd: --hash-secret: a secret is a line of 1 to %d bytes\n", CONFIG_SECRET_BYTES_MAX);
	else if (err)
		fprintf(stderr, "lineupd: --hash-secret: %s\n", strerror(-err));
	sodium_free(secret);
	return err;
}
