// SPDX-License-Identifier: MIT
// Users: how they are known, what they may do, and which files of secrets are taken.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "access.h"

#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static char message[512];
static char directory[256], secret_path[300];
static char line[crypto_pwhash_STRBYTES];

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "%s/access-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(directory) || sodium_init() < 0)
		return -1;
	snprintf(secret_path, sizeof(secret_path), "%s/secret", directory);
	return crypto_pwhash_str(line, "open sesame", 11, crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE);
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(secret_path);
	return rmdir(directory);
}

static void write_secret(const char *text, mode_t mode)
{
	FILE *file = fopen(secret_path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(secret_path, mode), 0);
}

static int create(const char *text, struct access **access)
{
	struct config config;
	int err;

	config_init(&config);
	if (config_parse("lineup.conf", text, strlen(text), &config, message))
		fail_msg("%s", message);
	err = access_create(&config, access, message);
	config_fini(&config);
	return err;
}

static struct access *made(const char *text)
{
	struct access *access = NULL;

	if (create(text, &access))
		fail_msg("%s", message);
	return access;
}

static void refused(const char *text, int err, const char *part)
{
	struct access *access = NULL;

	assert_int_equal(create(text, &access), err);
	assert_null(access);
	if (!strstr(message, part))
		fail_msg("\"%s\" gave \"%s\"", text, message);
}

/* ---- peers of the Unix socket ---- */

static void without_users_the_owner_and_root_may_do_all(void **state)
{
	struct access *access = made("");
	struct session root = { 0 }, owner = { 0 }, other = { 0 };
	uint32_t all[] = { ACCESS_SEARCHER, ACCESS_ENROLLER, ACCESS_AUDITOR, ACCESS_ADMIN };

	(void)state;
	assert_int_equal(access_peer(access, 0, &root), 0);
	assert_int_equal(access_peer(access, geteuid(), &owner), 0);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		assert_true(access_allows(&root, all[i], "any"));
		assert_true(access_allows(&owner, all[i], NULL));
	}
	assert_string_equal(root.name, "uid:0");
	assert_int_equal(access_peer(access, geteuid() + 1, &other), -EACCES);
	assert_false(other.known);
	assert_int_equal(access_secret(access, "uid:0", "", 0, &other), -EACCES);
	assert_int_equal(access_certificate(access, "", "", &other), -EACCES);
	session_end(&root);
	session_end(&owner);
	access_put(access);
}

static void with_users_only_their_uids_are_known(void **state)
{
	struct access *access = made("[user a]\nuid = 7\nroles = searcher\n[user b]\nroles = admin\ncertificate = b\n");
	struct session session = { 0 };

	(void)state;
	assert_int_equal(access_peer(access, 0, &session), -EACCES);
	assert_int_equal(access_peer(access, geteuid(), &session), -EACCES);
	assert_int_equal(access_peer(access, UINT32_MAX, &session), -EACCES);
	assert_int_equal(access_peer(access, 7, &session), 0);
	assert_string_equal(session.name, "a");
	assert_true(access_allows(&session, ACCESS_SEARCHER, NULL));
	assert_false(access_allows(&session, ACCESS_ENROLLER | ACCESS_AUDITOR | ACCESS_ADMIN, NULL));
	session_end(&session);
	assert_false(session.known);
	access_put(access);
}

static void nobody_may_do_nothing(void **state)
{
	struct session nobody = { 0 };

	(void)state;
	assert_false(access_allows(&nobody, ACCESS_SEARCHER | ACCESS_ENROLLER | ACCESS_AUDITOR | ACCESS_ADMIN, NULL));
	assert_false(access_allows(&nobody, ACCESS_SEARCHER, "g"));
	assert_true(access_allows(&nobody, 0, NULL));
}

/* ---- roles ---- */

static bool may(const char *roles, uint32_t role, const char *gallery)
{
	char text[1200];
	struct access *access;
	struct session session = { 0 };
	bool allowed;

	snprintf(text, sizeof(text), "[user a]\nuid = 1\nroles = %s\n", roles);
	access = made(text);
	assert_int_equal(access_peer(access, 1, &session), 0);
	allowed = access_allows(&session, role, gallery);
	session_end(&session);
	access_put(access);
	return allowed;
}

static void a_pattern_limits_a_role_to_galleries(void **state)
{
	(void)state;
	assert_true(may("searcher:staff", ACCESS_SEARCHER, "staff"));
	assert_false(may("searcher:staff", ACCESS_SEARCHER, "staff2"));
	assert_false(may("searcher:staff", ACCESS_SEARCHER, "staf"));
	assert_false(may("searcher:staff", ACCESS_SEARCHER, NULL));
	assert_false(may("searcher:*", ACCESS_SEARCHER, NULL));
	assert_true(may("searcher:*", ACCESS_SEARCHER, "x"));
	assert_true(may("searcher", ACCESS_SEARCHER, NULL));
	assert_true(may("searcher:a searcher:b*", ACCESS_SEARCHER, "bee"));
	assert_false(may("searcher:a enroller:b*", ACCESS_SEARCHER, "bee"));
	assert_true(may("searcher:a:b", ACCESS_SEARCHER, "a:b"));
	assert_true(may("admin:lab-*", ACCESS_ENROLLER, "lab-1"));
	assert_false(may("admin:lab-*", ACCESS_ADMIN, NULL));
	assert_false(may("auditor", ACCESS_SEARCHER | ACCESS_ENROLLER | ACCESS_ADMIN, "x"));
}

/* What a pattern means, said by recursion. */
static bool matches(const char *pattern, const char *name)
{
	if (!*pattern)
		return !*name;
	if (*pattern == '*')
		return matches(pattern + 1, name) || (*name && matches(pattern, name + 1));
	return *name && (*pattern == '?' || *pattern == *name) && matches(pattern + 1, name + 1);
}

static void patterns_mean_what_they_say(void **state)
{
	static const char letters[] = "ab*?";
	struct session session = { 0 };
	char text[200], pattern[6], name[7];

	(void)state;
	for (unsigned int p = 0; p < 4 * 4 * 4 * 4 * 4; p += 3) {
		struct access *access;
		uint32_t size = 1 + p % 5;

		for (uint32_t i = 0; i < size; i++)
			pattern[i] = letters[p >> 2 * i & 3];
		pattern[size] = 0;
		snprintf(text, sizeof(text), "[user a]\nuid = 1\nroles = searcher:%s\n", pattern);
		access = made(text);
		assert_int_equal(access_peer(access, 1, &session), 0);
		for (unsigned int n = 0; n < 7 * 64; n++) {
			for (uint32_t i = 0; i < n / 64; i++)
				name[i] = letters[n >> i & 1];
			name[n / 64] = 0;
			if (access_allows(&session, ACCESS_SEARCHER, name) != matches(pattern, name))
				fail_msg("%s, %s", pattern, name);
		}
		session_end(&session);
		access_put(access);
	}
}

static void a_pattern_full_of_stars_takes_no_time(void **state)
{
	char name[DAEMON_NAME_BYTES_MAX + 1];

	(void)state;
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	assert_false(may("searcher:*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", ACCESS_SEARCHER, name));
}

static void roles_that_are_none_are_refused(void **state)
{
	static const char *const roles[] = { "root", "searcher:", "searcher:a/b", "searcher:[a]", "Searcher", "searcher,enroller",
					     ":",    "admin:a\\b" };
	char text[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		assert_int_equal(access_parse_roles(roles[i], message), -EINVAL);
		snprintf(text, sizeof(text), "[user a]\nuid = 1\nroles = auditor %s\n", roles[i]);
		refused(text, -EINVAL, "[user a]: roles: ");
	}
	assert_int_equal(access_parse_roles("", message), -EINVAL);
	assert_int_equal(access_parse_roles(" searcher  enroller:x* ", message), 0);
}

/* ---- AUTH ---- */

static void a_secret_is_known_by_its_hash(void **state)
{
	char text[600];
	struct access *access;
	struct session session = { 0 };

	(void)state;
	write_secret(line, 0640);
	snprintf(text, sizeof(text), "[user a]\nroles = searcher\nsecret_file = %s\n[user b]\nroles = admin\nuid = 3\n",
		 secret_path);
	access = made(text);
	assert_int_equal(access_secret(access, "a", "open sesame", 11, &session), 0);
	assert_true(session.known);
	assert_string_equal(session.name, "a");
	assert_true(access_allows(&session, ACCESS_SEARCHER, "g"));
	assert_false(access_allows(&session, ACCESS_ADMIN, "g"));
	session_end(&session);
	assert_int_equal(access_secret(access, "a", "open sesame", 10, &session), -EACCES);
	assert_int_equal(access_secret(access, "a", "open sesame!", 12, &session), -EACCES);
	assert_int_equal(access_secret(access, "a", "", 0, &session), -EACCES);
	assert_int_equal(access_secret(access, "A", "open sesame", 11, &session), -EACCES);
	assert_int_equal(access_secret(access, "", "open sesame", 11, &session), -EACCES);
	/* One who has no secret, and names longer than any. */
	assert_int_equal(access_secret(access, "b", "open sesame", 11, &session), -EACCES);
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	assert_int_equal(access_secret(access, text, "open sesame", 11, &session), -EACCES);
	assert_false(session.known);
	access_put(access);
}

static void a_session_outlives_what_knew_it(void **state)
{
	struct access *access = made("[user a]\nuid = 1\nroles = searcher:x\n");
	struct session session = { 0 };

	(void)state;
	assert_int_equal(access_peer(access, 1, &session), 0);
	access_put(access);
	assert_true(access_allows(&session, ACCESS_SEARCHER, "x"));
	assert_false(access_allows(&session, ACCESS_SEARCHER, "y"));
	session_end(&session);
}

static void after_a_reload_a_session_has_the_rights_of_now(void **state)
{
	struct access *before = made("[user a]\nuid = 1\nroles = searcher admin\n[user b]\nuid = 2\nroles = admin\n");
	struct access *after = made("[user c]\nuid = 3\nroles = admin\n[user a]\nuid = 4\nroles = auditor\n");
	struct session a = { 0 }, b = { 0 }, nobody = { 0 };

	(void)state;
	assert_int_equal(access_peer(before, 1, &a), 0);
	assert_int_equal(access_peer(before, 2, &b), 0);
	assert_int_equal(access_renew(after, &a), 0);
	assert_string_equal(a.name, "a");
	assert_true(access_allows(&a, ACCESS_AUDITOR, NULL));
	assert_false(access_allows(&a, ACCESS_SEARCHER | ACCESS_ADMIN, NULL));
	assert_int_equal(access_renew(after, &b), -EACCES);
	assert_false(b.known);
	assert_null(b.access);
	assert_int_equal(access_renew(after, &nobody), -EACCES);
	access_put(access_get(after));
	access_put(before);
	access_put(after);
	assert_true(access_allows(&a, ACCESS_AUDITOR, NULL));
	session_end(&a);
}

static void files_that_others_can_read_are_refused(void **state)
{
	char text[400];
	static const mode_t modes[] = { 0644, 0602, 0601, 0660, 0666 };

	(void)state;
	snprintf(text, sizeof(text), "[user a]\nroles = searcher\nsecret_file = %s\n", secret_path);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		write_secret(line, modes[i]);
		refused(text, -EPERM, "must be a file that others");
	}
	write_secret(line, 0400);
	access_put(made(text));
	refused("[user a]\nroles = searcher\nsecret_file = /nonexistent/secret\n", -ENOENT,
		"[user a]: secret_file: /nonexistent/secret: No such file");
	refused("[user a]\nroles = searcher\nsecret_file = /tmp\n", -EPERM, "must be a file");
}

static void what_is_no_hash_of_ours_is_refused_and_not_shown(void **state)
{
	char text[400], weak[crypto_pwhash_STRBYTES], strong[crypto_pwhash_STRBYTES];
	const char *lines[] = { "", "\n", "hunter2", "$argon2id$v=19$m=65536,t=2,p=1$", weak, strong };

	(void)state;
	/* Hashes with other limits would take another time to verify. */
	assert_int_equal(crypto_pwhash_str(weak, "x", 1, crypto_pwhash_OPSLIMIT_MIN, crypto_pwhash_MEMLIMIT_MIN), 0);
	assert_int_equal(
		crypto_pwhash_str(strong, "x", 1, crypto_pwhash_OPSLIMIT_INTERACTIVE + 1, crypto_pwhash_MEMLIMIT_INTERACTIVE), 0);
	snprintf(text, sizeof(text), "[user a]\nroles = searcher\nsecret_file = %s\n", secret_path);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		write_secret(lines[i], 0600);
		refused(text, -EINVAL, "--hash-secret");
		assert_true(!*lines[i] || *lines[i] == '\n' || !strstr(message, lines[i]));
	}
	/* Only the first line counts. */
	snprintf(text, sizeof(text), "%s\r\nwhose it is\n", line);
	write_secret(text, 0600);
	snprintf(text, sizeof(text), "[user a]\nroles = searcher\nsecret_file = %s\n", secret_path);
	access_put(made(text));
}

/* ---- certificates ---- */

static void certificates_are_known_by_digest_first_then_by_name(void **state)
{
	struct access *access = made(
		"[user a]\nroles = admin\ncertificate = gate\n[user b]\nroles = searcher\ncertificate = sha256:" DIGEST "\n");
	struct session session = { 0 };

	(void)state;
	assert_int_equal(access_certificate(access, "gate", DIGEST, &session), 0);
	assert_string_equal(session.name, "b");
	session_end(&session);
	assert_int_equal(access_certificate(access, "gate", "ff" DIGEST, &session), 0);
	assert_string_equal(session.name, "a");
	session_end(&session);
	assert_int_equal(access_certificate(access, "Gate", "", &session), -EACCES);
	assert_int_equal(access_certificate(access, "", "", &session), -EACCES);
	assert_int_equal(access_certificate(access, "sha256:" DIGEST, "", &session), -EACCES);
	assert_false(session.known);
	access_put(access);
}

static void digests_may_have_colons_and_capitals(void **state)
{
	struct access *access = made(
		"[user b]\nroles = searcher\ncertificate = sha256:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:"
		"00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\n");
	struct session session = { 0 };

	(void)state;
	assert_int_equal(access_certificate(access, "", DIGEST, &session), 0);
	session_end(&session);
	access_put(access);
	refused("[user b]\nroles = searcher\ncertificate = sha256:0011\n", -EINVAL, "64 hex digits");
	refused("[user b]\nroles = searcher\ncertificate = sha256:" DIGEST "0\n", -EINVAL, "64 hex digits");
	refused("[user b]\nroles = searcher\ncertificate = sha256:\n", -EINVAL, "64 hex digits");
}

/* ---- --hash-secret ---- */

/* Runs it on @input; what it printed goes to @out. */
static int hash_secret(const char *input, size_t size, char out[256])
{
	int in_was = dup(STDIN_FILENO), out_was = dup(STDOUT_FILENO), in[2], from[2], err;
	ssize_t got;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(from), 0);
	assert_int_equal(write(in[1], input, size), (ssize_t)size);
	close(in[1]);
	fflush(stdout);
	dup2(in[0], STDIN_FILENO);
	dup2(from[1], STDOUT_FILENO);
	err = access_hash_secret();
	fflush(stdout);
	dup2(in_was, STDIN_FILENO);
	dup2(out_was, STDOUT_FILENO);
	close(from[1]);
	got = read(from[0], out, 255);
	out[got > 0 ? got : 0] = 0;
	close(in[0]);
	close(from[0]);
	close(in_was);
	close(out_was);
	return err;
}

static void a_printed_hash_is_taken(void **state)
{
	char text[400], out[256];
	struct access *access;
	struct session session = { 0 };

	(void)state;
	assert_int_equal(hash_secret("pass word \n more", 16, out), 0);
	write_secret(out, 0600);
	snprintf(text, sizeof(text), "[user a]\nroles = searcher\nsecret_file = %s\n", secret_path);
	access = made(text);
	assert_int_equal(access_secret(access, "a", "pass word ", 10, &session), 0);
	session_end(&session);
	access_put(access);
	assert_int_equal(hash_secret("no end", 6, out), 0);
	assert_memory_equal(out, "$argon2id$", 10);
	assert_int_equal(hash_secret("\n", 1, out), -EINVAL);
	assert_int_equal(hash_secret("", 0, out), -EINVAL);
	assert_int_equal(hash_secret("a\0b\n", 4, out), -EINVAL);
	assert_string_equal(out, "");
}

static void secrets_have_a_longest(void **state)
{
	char input[CONFIG_SECRET_BYTES_MAX + 2], out[256];

	(void)state;
	memset(input, 'x', sizeof(input));
	assert_int_equal(hash_secret(input, CONFIG_SECRET_BYTES_MAX, out), 0);
	assert_int_equal(hash_secret(input, CONFIG_SECRET_BYTES_MAX + 1, out), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_users_the_owner_and_root_may_do_all),
		cmocka_unit_test(with_users_only_their_uids_are_known),
		cmocka_unit_test(nobody_may_do_nothing),
		cmocka_unit_test(a_pattern_limits_a_role_to_galleries),
		cmocka_unit_test(patterns_mean_what_they_say),
		cmocka_unit_test(a_pattern_full_of_stars_takes_no_time),
		cmocka_unit_test(roles_that_are_none_are_refused),
		cmocka_unit_test(a_secret_is_known_by_its_hash),
		cmocka_unit_test(a_session_outlives_what_knew_it),
		cmocka_unit_test(after_a_reload_a_session_has_the_rights_of_now),
		cmocka_unit_test(files_that_others_can_read_are_refused),
		cmocka_unit_test(what_is_no_hash_of_ours_is_refused_and_not_shown),
		cmocka_unit_test(certificates_are_known_by_digest_first_then_by_name),
		cmocka_unit_test(digests_may_have_colons_and_capitals),
		cmocka_unit_test(a_printed_hash_is_taken),
		cmocka_unit_test(secrets_have_a_longest),
	};

	setenv("RUNTIME_DIRECTORY", "/run/lineup", 1);
	return cmocka_run_group_tests_name("access", tests, make_directory, remove_directory);
}
