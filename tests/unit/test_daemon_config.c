// SPDX-License-Identifier: MIT
// The configuration: what is read, what is refused and where, what must hold between keys, and that lineup.conf(5) tells the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config.h"

#define CONF "lineup.conf"

static char message[512];

static int parse(const char *text, struct config *config)
{
	memset(message, 0, sizeof(message));
	return config_parse(CONF, text, strlen(text), config, message);
}

static void taken(const char *text, struct config *config)
{
	config_init(config);
	if (parse(text, config))
		fail_msg("refused: %s", message);
}

/* @text is refused with a message that begins with @start and holds @part; the configuration stays as it was, byte for byte. */
static void refused(const char *text, const char *start, const char *part)
{
	struct config config, before;

	config_init(&config);
	before = config;
	assert_int_equal(parse(text, &config), -EINVAL);
	if (strncmp(message, start, strlen(start)) || !strstr(message, part))
		fail_msg("\"%s\" gave \"%s\"", text, message);
	assert_null(strchr(message, '\n'));
	assert_memory_equal(&config, &before, sizeof(config));
	config_fini(&config);
}

static void every_kind_of_value_is_read(void **state)
{
	struct config c;

	(void)state;
	setenv("CREDENTIALS_DIRECTORY", "/run/credentials/lineupd.service", 1);
	taken("\xef\xbb\xbf# a comment\n"
	      "; another\n"
	      "\n"
	      "[server]\n"
	      "  listen = unix:/run/a.sock tcp:127.0.0.1:6379\n"
	      "\ttls:[2001:db8::1]:6380   ; goes on\n"
	      "\n"
	      "directory=/srv/galleries with blanks\n"
	      "clients_max = 12 ; a comment\n"
	      "request_bytes_max = 2M\r\n"
	      "unix_mode = 0600\n"
	      "create = no\n"
	      "[tls]\n"
	      "key = credential:server.key\n"
	      "  [search] # comment\n"
	      "backend: scalar\n"
	      "memory_max = 3G\n"
	      "[user al.ice@example-1]\n"
	      "roles = searcher\n"
	      "  enroller:staff-*\n"
	      "\tauditor\n"
	      "uid = 0\n"
	      "[gallery staff:1]\n"
	      "path = /srv/staff\n"
	      "[gallery a-name-that-is-longer-than-the-forty-nine-bytes-libinih-keeps-of-a-heading]\npath = /srv/x",
	      &c);
	assert_int_equal(c.listens, 3);
	assert_false(c.listens_default);
	assert_string_equal(c.listen[0].address, "unix:/run/a.sock");
	assert_string_equal(c.listen[1].address, "tcp:127.0.0.1:6379");
	assert_string_equal(c.listen[2].address, "tls:[2001:db8::1]:6380");
	assert_string_equal(c.directory, "/srv/galleries with blanks");
	assert_int_equal(c.clients_max, 12);
	assert_int_equal(c.request_bytes_max, 2 << 20);
	assert_int_equal(c.unix_mode, 0600);
	assert_false(c.create);
	assert_string_equal(c.key, "/run/credentials/lineupd.service/server.key");
	assert_string_equal(c.backend, "scalar");
	assert_int_equal(c.memory_max, 3ull << 30);
	assert_int_equal(c.users, 1);
	assert_string_equal(c.user[0].name, "al.ice@example-1");
	assert_string_equal(c.user[0].roles, "searcher enroller:staff-* auditor");
	assert_int_equal(c.user[0].uid, 0);
	assert_int_equal(c.galleries, 2);
	assert_string_equal(c.gallery[0].name, "staff:1");
	assert_string_equal(c.gallery[0].path, "/srv/staff");
	assert_string_equal(c.gallery[1].name, "a-name-that-is-longer-than-the-forty-nine-bytes-libinih-keeps-of-a-heading");
	/* What was not named has its default. */
	assert_int_equal(c.probes_max, 256);
	assert_string_equal(c.residency, "auto");
	config_fini(&c);
}

static void what_is_not_known_is_refused_where_it_stands(void **state)
{
	(void)state;
	refused("[server]\nport = 6379\n", CONF ":2: port: ", "no such key in [server]");
	refused("[server]\nthreads = 2\n", CONF ":2: threads: ", "no such key in [server]");
	refused("\n\n[sever]\n", CONF ":3: [sever]: ", "no such section");
	refused("[servers]\n", CONF ":1: ", "no such section");
	refused("[]\n", CONF ":1: ", "no such section");
	refused("[server x]\n", CONF ":1: [server] takes no name", "");
	refused("threads = 2\n", CONF ":1: threads: ", "before the first [section]");
	refused("[server]\nlisten\n", CONF ":2: ", "neither a [section], nor key = value");
	refused("[server\n", CONF ":1: ", "no ]");
	refused("[server] clients_max = 3\n", CONF ":1: ", "behind the heading's ]");
	refused("[user]\nroles = admin\n", CONF ":1: ", "no name of a user");
	refused("[user a b]\nroles = admin\n", CONF ":1: ", "no name of a user");
	refused("[gallery ../x]\npath = /x\n", CONF ":1: ", "no name of a gallery");
	refused("[gallery .x]\npath = /x\n", CONF ":1: ", "no name of a gallery");
}

static void what_is_there_twice_is_refused(void **state)
{
	(void)state;
	refused("[server]\nclients_max = 2\n\nclients_max = 2\n", CONF ":4: clients_max: ", "twice");
	refused("[server]\n[search]\n[server]\n", CONF ":3: [server] is there twice", "");
	refused("[user a]\nroles = admin\n[user a]\n", CONF ":3: [user a] is there twice", "");
	refused("[gallery a]\npath = /x\n[gallery a]\n", CONF ":3: [gallery a] is there twice", "");
	refused("[server]\nlisten = unix:/a\nlisten = unix:/b\n", CONF ":3: listen: ", "twice");
	refused("[user a]\nroles = admin\nuid = 1\n  auditor\n", CONF ":4: uid: ", "indented");
}

static void an_indented_line_is_no_key(void **state)
{
	(void)state;
	refused("[server]\nclients_max = 2\n  client_idle_s = 3\n", CONF ":3: clients_max: ", "indented");
	refused("[server]\nlisten = unix:/a\n  clients_max = 3\n", CONF ":3: listen: ", "neither unix:");
}

static void values_that_are_not_allowed_are_refused(void **state)
{
	static const char *const lines[] = {
		"clients_max = 0", "clients_max = 1000001", "clients_max = -1", "clients_max = 1K", "clients_max = 0x10",
		"clients_max = 1.5", "clients_max = ", "clients_max = 99999999999999999999", "clients_max = 5 # five",
		"request_bytes_max = 64KB", "request_bytes_max = 1", "request_bytes_max = 2G",
		"request_bytes_max = 18446744073709551616", "request_bytes_max = 99999999999T", "unix_mode = 0800",
		"unix_mode = 1000", "create = true", "create = 1", "log_level = loud", "log_level = error, warn",
		"directory = galleries", "listen = 6379", "listen = tcp:localhost:6379", "listen = tcp:127.0.0.1",
		"listen = tcp:127.0.0.1:0", "listen = tcp:127.0.0.1:65536", "listen = tcp:::1:6379",
		"listen = unix:lineup.sock", "listen = unix:/a udp:127.0.0.1:1",
		"create_model = 0123456789012345678901234567890123456789012345678901234567890123456",
	};
	char text[256], start[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		snprintf(text, sizeof(text), "[server]\n%s\n", lines[i]);
		snprintf(start, sizeof(start), CONF ":2: %.*s: ", (int)strcspn(lines[i], " "), lines[i]);
		refused(text, start, "");
	}
}

static void what_looks_like_a_comment_is_no_value(void **state)
{
	(void)state;
	refused("[server]\nclients_max = 5 # five\n", CONF ":2: clients_max: a word of the value begins with #", "");
	refused("[user a]\nroles =; admin\n", CONF ":2: roles: a word of the value begins with ;", "");
	refused("[user\ta\tb]\nroles = admin\n", CONF ":1: 'a b' is no name of a user", "");
}

static void the_message_says_what_is_allowed(void **state)
{
	(void)state;
	refused("[search]\nprobes_max = 4000\n",
		CONF ":2: probes_max: '4000' is not taken. Default: 256. Limits: 1 to 1024. Unit: probes.", "");
	refused("[search]\nresidency = disk\n", CONF ":2: residency: ", "Allowed: auto, resident, streamed.");
}

static void limits_are_taken_themselves(void **state)
{
	char text[128], error[512], facts[512];

	(void)state;
	for (uint32_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];
		struct config c;
		struct config_user user;
		void *target = key->section == CONFIG_USER ? (void *)&user : &c;

		if (key->type != CONFIG_NUMBER && key->type != CONFIG_BYTES && key->type != CONFIG_UID)
			continue;
		assert_non_null(key->unit);
		snprintf(text, sizeof(text), "%llu", (unsigned long long)key->min);
		assert_int_equal(config_key_set(key, target, text, error), 0);
		snprintf(text, sizeof(text), "%llu", (unsigned long long)key->max);
		assert_int_equal(config_key_set(key, target, text, error), 0);
		snprintf(text, sizeof(text), "%llu", (unsigned long long)key->max + 1);
		assert_int_equal(config_key_set(key, target, text, error), -EINVAL);
		assert_non_null(strstr(error, config_key_facts(key, facts)));
	}
}

static void a_line_that_would_be_split_is_refused(void **state)
{
	char text[512];
	struct config c;

	(void)state;
	memset(text, 0, sizeof(text));
	strcpy(text, "[server]\ndirectory = /");
	memset(text + strlen(text), 'x', 9 + CONFIG_LINE_BYTES_MAX - strlen(text));
	taken(text, &c);
	assert_int_equal(strlen(c.directory), CONFIG_LINE_BYTES_MAX - strlen("directory = "));
	config_fini(&c);
	strcat(text, "x");
	refused(text, CONF ":2: ", "more than 198 bytes");
	/* A comment as well: its end would be read as a line. */
	memset(text, ';', 300);
	text[300] = 0;
	refused(text, CONF ":1: ", "more than 198 bytes");
}

static void control_characters_are_refused(void **state)
{
	static const char nul[] = "[server]\ncreate = yes\0no\n";
	struct config c;
	char error[512];

	(void)state;
	refused("[server]\ndirectory = /a\x1b[1m\n", CONF ":2: ", "control character");
	refused("[server]\ndirectory = /a\rb\n", CONF ":2: ", "control character");
	config_init(&c);
	assert_int_equal(config_parse(CONF, nul, sizeof(nul) - 1, &c, error), -EINVAL);
	assert_non_null(strstr(error, CONF ":2: "));
	assert_true(c.create);
}

static void the_first_fault_is_told(void **state)
{
	(void)state;
	refused("[server]\nnonsense\nclients_max = 0\n", CONF ":2: ", "neither");
	refused("[server]\nclients_max = 0\nnonsense\n", CONF ":2: clients_max", "");
	refused("[server]\nnonsense\n[what]\n", CONF ":2: ", "neither");
}

static void sections_must_hold_what_they_are_for(void **state)
{
	(void)state;
	refused("[gallery a]\n[server]\n", CONF ":2: [gallery a] before this line has no path", "");
	refused("[gallery a]\n", CONF ":2: [gallery a] before this line has no path", "");
	refused("[user a]\nuid = 1\n", CONF ":3: [user a] before this line has no roles", "");
}

static void credentials_need_their_directory(void **state)
{
	(void)state;
	unsetenv("CREDENTIALS_DIRECTORY");
	refused("[tls]\nkey = credential:key\n", CONF ":2: key: ", "LoadCredential");
	setenv("CREDENTIALS_DIRECTORY", "/run/credentials/lineupd.service", 1);
	refused("[tls]\nkey = credential:../key\n", CONF ":2: key: ", "");
	refused("[tls]\nkey = credential:\n", CONF ":2: key: ", "");
	refused("[server]\ndirectory = credential:x\n", CONF ":2: directory: ", "");
}

static void a_fault_keeps_users_and_galleries(void **state)
{
	struct config c;

	(void)state;
	taken("[user a]\nroles = admin\nuid = 1\n[gallery g]\npath = /g\n", &c);
	assert_int_equal(parse("[user b]\nroles = admin\nuid = 2\n[gallery h]\npath = /h\n[nothing]\n", &c), -EINVAL);
	assert_int_equal(c.users, 1);
	assert_string_equal(c.user[0].name, "a");
	assert_int_equal(c.galleries, 1);
	assert_string_equal(c.gallery[0].path, "/g");
	config_fini(&c);
}

static void without_a_listener_there_is_the_unix_socket(void **state)
{
	struct config c;

	(void)state;
	setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1);
	setenv("RUNTIME_DIRECTORY", "/run/lineup:/run/other", 1);
	taken("", &c);
	assert_int_equal(c.listens, 1);
	assert_string_equal(c.listen[0].address, "unix:/run/lineup/lineup.sock");
	assert_true(c.listens_default);
	unsetenv("RUNTIME_DIRECTORY");
	taken("", &c);
	assert_string_equal(c.listen[0].address, "unix:/run/user/1000/lineup.sock");
	unsetenv("XDG_RUNTIME_DIR");
	if (!geteuid()) {
		taken("", &c);
		assert_string_equal(c.listen[0].address, "unix:/run/lineup/lineup.sock");
	}
	setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1);
	assert_int_equal(config_for_directory("tests/../tests", &c, message), 0);
	assert_string_equal(strrchr(c.directory, '/'), "/tests");
	assert_int_equal(*c.directory, '/');
	assert_int_equal(config_for_directory("/nonexistent", &c, message), -ENOENT);
	assert_string_equal(message, "/nonexistent: No such file or directory");
}

static void files_that_cannot_be_read_are_named(void **state)
{
	struct config c;

	(void)state;
	config_init(&c);
	assert_int_equal(config_read("/nonexistent", &c, message), -ENOENT);
	assert_string_equal(message, "/nonexistent: No such file or directory");
	assert_int_equal(config_read("/", &c, message), -EINVAL);
	assert_string_equal(message, "/: is no file");
}

/* ---- what holds between keys ---- */

static void checked(const char *text, const char *part)
{
	struct config c;
	int err;

	taken(text, &c);
	err = config_check(&c, message);
	if (part ? err != -EINVAL || !strstr(message, part) : err)
		fail_msg("\"%s\" gave %d, \"%s\"", text, err, message);
	config_fini(&c);
}

#define SECRET "[user a]\nroles = admin\nsecret_file = /etc/lineup/a\n"
#define TLS "[tls]\ncertificate = /c\nkey = /k\n"

static void tcp_without_tls_is_for_loopback_only(void **state)
{
	(void)state;
	checked(SECRET "[server]\nlisten = tcp:127.0.0.1:6379", NULL);
	checked(SECRET "[server]\nlisten = tcp:127.255.0.9:6379", NULL);
	checked(SECRET "[server]\nlisten = tcp:[::1]:6379", NULL);
	checked(SECRET "[server]\nlisten = tcp:[::ffff:127.0.0.1]:6379", NULL);
	checked(SECRET "[server]\nlisten = tcp:0.0.0.0:6379", "loopback");
	checked(SECRET "[server]\nlisten = tcp:192.0.2.1:6379", "loopback");
	checked(SECRET "[server]\nlisten = tcp:[::]:6379", "loopback");
	checked(SECRET "[server]\nlisten = tcp:[::ffff:192.0.2.1]:6379", "loopback");
	checked(SECRET "[server]\nlisten = tcp:128.0.0.1:6379", "loopback");
	checked("[server]\nlisten = tcp:127.0.0.1:6379", "nobody");
}

static void tls_needs_a_certificate_and_somebody_who_can_use_it(void **state)
{
	(void)state;
	checked(SECRET TLS "[server]\nlisten = tls:0.0.0.0:6380", NULL);
	checked(TLS "ca = /ca\n[user a]\nroles = admin\ncertificate = a\n[server]\nlisten = tls:0.0.0.0:6380", NULL);
	checked(SECRET "[server]\nlisten = tls:0.0.0.0:6380", "certificate");
	checked(TLS "[server]\nlisten = tls:0.0.0.0:6380", "nobody");
	checked(TLS "ca = /ca\n[server]\nlisten = tls:127.0.0.1:6380", "nobody");
	checked(TLS "[user a]\nroles = admin\nuid = 1\n[server]\nlisten = tls:127.0.0.1:6380", "nobody");
	checked("[tls]\nkey = /k\n", "certificate");
	checked("[tls]\nca = /k\n", "ca");
}

static void users_are_told_apart(void **state)
{
	(void)state;
	checked("[user a]\nroles = admin\n", "nobody could be this user");
	checked("[user a]\nroles = admin\nuid = 5\n[user b]\nroles = admin\nuid = 5\n", "uid");
	checked(TLS "ca = /ca\n[user a]\nroles = admin\ncertificate = x\n[user b]\nroles = admin\ncertificate = x\n",
		"certificate");
	checked("[user a]\nroles = admin\ncertificate = x\n", "ca in [tls]");
}

static void metrics_are_for_loopback_only(void **state)
{
	(void)state;
	checked("[server]\nmetrics = 127.0.0.1:9464", NULL);
	checked("[server]\nmetrics = [::1]:9464", NULL);
	checked("[server]\nmetrics = 0.0.0.0:9464", "loopback");
	checked("[server]\nmetrics = 9464", "loopback");
}

static void the_same_twice_is_refused(void **state)
{
	(void)state;
	checked("[server]\nlisten = unix:/a unix:/a", "twice");
	checked(SECRET TLS "[server]\nlisten = tcp:127.0.0.1:1 tls:127.0.0.1:1", "twice");
	checked("[gallery a]\npath = /x\n[gallery b]\npath = /x\n", "path");
}

/* ---- the manual page ---- */

/* What a line of roff says: without \-, \&, \fB and the like, and quotes. */
static void plain(char *line)
{
	char *out = line;

	for (const char *in = line; *in; in++) {
		if (*in == '\\' && in[1] == 'f')
			in += 2;
		else if (*in == '\\' && in[1] == '&')
			in++;
		else if (*in != '\\' && *in != '"' && *in != '\n')
			*out++ = *in;
	}
	*out = 0;
}

/* Under a .SS [section] heading, each .TP of a key is followed by its facts on a line of their own; nothing else is there. */
static void the_manual_page_has_the_same_keys_and_facts(void **state)
{
	FILE *page = fopen("userspace/man/lineup.conf.5", "r");
	char line[1024], heading[64] = "", facts[512], name[64];
	const struct config_key *key = NULL;
	uint32_t found = 0, told = 0;
	bool tag = false;

	(void)state;
	assert_non_null(page);
	while (fgets(line, sizeof(line), page)) {
		plain(line);
		if (sscanf(line, ".SS [%60[a-zA-Z ]]", heading) == 1 || !strncmp(line, ".SH", 3)) {
			assert_int_equal(found, told);
			key = NULL;
			if (*line == '.' && line[2] == 'H')
				*heading = 0;
		} else if (!strcmp(line, ".TP") && *heading) {
			tag = true;
		} else if (tag) {
			tag = false;
			assert_int_equal(found, told);
			assert_int_equal(sscanf(line, ".B %60s", name), 1);
			key = NULL;
			for (uint32_t i = 0; i < CONFIG_SECTIONS && !key; i++) {
				if (!strcmp(config_section_names[i], heading))
					key = config_key_find(i, name);
			}
			if (!key || key != &config_keys[found])
				fail_msg("[%s] %s: not in this place of the table", heading, name);
			found++;
		} else if (key && !strcmp(line, config_key_facts(key, facts))) {
			told++;
		}
	}
	fclose(page);
	assert_int_equal(found, config_key_count);
	assert_int_equal(told, config_key_count);
}

/* ---- the example ---- */

/* It is taken as it is, and what it shows in comments is the default. */
static void the_example_is_taken_and_shows_defaults(void **state)
{
	FILE *example = fopen("userspace/systemd/lineup.conf", "r");
	char line[256], heading[64] = "", name[64], shown[128];
	uint32_t compared = 0;
	struct config c;

	(void)state;
	config_init(&c);
	if (config_read("userspace/systemd/lineup.conf", &c, message) || config_check(&c, message))
		fail_msg("%s", message);
	config_fini(&c);
	assert_non_null(example);
	while (fgets(line, sizeof(line), example)) {
		if (sscanf(line, "[%60[a-z]]", heading) == 1 || sscanf(line, "#[%60[a-z ]", heading) == 1)
			continue;
		if (sscanf(line, "#%60[a-z_0-9] = %120[^\n]", name, shown) != 2 || !strcmp(name, "listen"))
			continue;
		for (uint32_t i = 0; i <= CONFIG_ENROL; i++) {
			const struct config_key *key = config_key_find(i, name);

			if (strcmp(config_section_names[i], heading))
				continue;
			assert_non_null(key);
			assert_string_equal(shown, key->fallback);
			compared++;
		}
	}
	fclose(example);
	assert_true(compared >= 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_value_is_read),
		cmocka_unit_test(what_is_not_known_is_refused_where_it_stands),
		cmocka_unit_test(what_is_there_twice_is_refused),
		cmocka_unit_test(an_indented_line_is_no_key),
		cmocka_unit_test(values_that_are_not_allowed_are_refused),
		cmocka_unit_test(what_looks_like_a_comment_is_no_value),
		cmocka_unit_test(the_message_says_what_is_allowed),
		cmocka_unit_test(limits_are_taken_themselves),
		cmocka_unit_test(a_line_that_would_be_split_is_refused),
		cmocka_unit_test(control_characters_are_refused),
		cmocka_unit_test(the_first_fault_is_told),
		cmocka_unit_test(sections_must_hold_what_they_are_for),
		cmocka_unit_test(credentials_need_their_directory),
		cmocka_unit_test(a_fault_keeps_users_and_galleries),
		cmocka_unit_test(without_a_listener_there_is_the_unix_socket),
		cmocka_unit_test(files_that_cannot_be_read_are_named),
		cmocka_unit_test(tcp_without_tls_is_for_loopback_only),
		cmocka_unit_test(tls_needs_a_certificate_and_somebody_who_can_use_it),
		cmocka_unit_test(users_are_told_apart),
		cmocka_unit_test(metrics_are_for_loopback_only),
		cmocka_unit_test(the_same_twice_is_refused),
		cmocka_unit_test(the_manual_page_has_the_same_keys_and_facts),
		cmocka_unit_test(the_example_is_taken_and_shows_defaults),
	};

	setenv("RUNTIME_DIRECTORY", "/run/lineup", 1);
	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
