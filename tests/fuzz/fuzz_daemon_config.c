// SPDX-License-Identifier: MIT
// Fuzzes lineup.conf: the input is the file. What is taken is within its limits and survives being written out and read again.
#include "config.h"
#include "fuzz.h"

static void append(struct config *config, char *text, size_t room, const struct config_key *key, void *target)
{
	const char *field = (const char *)target + key->offset;
	size_t used = strlen(text);
	uint64_t large = 0;
	uint32_t small;
	int64_t uid;
	bool yes;

	text += used;
	room -= used;
	switch (key->type) {
	case CONFIG_NUMBER:
	case CONFIG_BYTES:
	case CONFIG_OCTAL:
		memcpy(&small, field, sizeof(small));
		if (key->size == sizeof(large))
			memcpy(&large, field, sizeof(large));
		else
			large = small;
		CHECK(large >= key->min && large <= key->max);
		snprintf(text, room, key->type == CONFIG_OCTAL ? "%s = 0%llo\n" : "%s = %llu\n", key->name,
			 (unsigned long long)large);
		break;
	case CONFIG_UID:
		memcpy(&uid, field, sizeof(uid));
		CHECK(uid >= -1 && uid < UINT32_MAX);
		if (uid >= 0)
			snprintf(text, room, "%s = %lld\n", key->name, (long long)uid);
		break;
	case CONFIG_BOOL:
		memcpy(&yes, field, sizeof(yes));
		snprintf(text, room, "%s = %s\n", key->name, yes ? "yes" : "no");
		break;
	case CONFIG_LISTENERS:
		CHECK(config->listens <= DAEMON_LISTENERS_MAX);
		for (uint32_t i = 0; i < config->listens; i++) {
			CHECK(memchr(config->listen[i].address, 0, sizeof(config->listen[i].address)));
			snprintf(text + strlen(text), room - strlen(text), i ? "  %s\n" : "listen = %s\n",
				 config->listen[i].address);
		}
		break;
	case CONFIG_LIST:
		CHECK(memchr(field, 0, key->size));
		/* A word a line, as the longest may not share one. */
		for (const char *word = field; *word; word += strspn(word, " \t")) {
			size_t size = strcspn(word, " \t");

			snprintf(text + strlen(text), room - strlen(text), word == field ? "%s = %.*s\n" : "%.0s %.*s\n", key->name,
				 (int)size, word);
			word += size;
		}
		break;
	default:
		CHECK(memchr(field, 0, key->size));
		if (*field)
			snprintf(text, room, "%s = %s\n", key->name, field);
	}
}

static void append_section(struct config *config, char *text, size_t room, enum config_section section, void *target)
{
	for (uint32_t i = 0; i < config_key_count; i++) {
		if (config_keys[i].section == section)
			append(config, text, room, &config_keys[i], target);
	}
}

static void same(const struct config *a, const struct config *b)
{
	CHECK(a->users == b->users && a->galleries == b->galleries && a->listens == b->listens);
	for (uint32_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];

		if (key->section <= CONFIG_TLS)
			CHECK(!memcmp((const char *)a + key->offset, (const char *)b + key->offset, key->size));
	}
	for (uint32_t i = 0; i < a->galleries; i++)
		CHECK(!memcmp(&a->gallery[i], &b->gallery[i], sizeof(a->gallery[i])));
	for (uint32_t i = 0; i < a->users; i++) {
		CHECK(!strcmp(a->user[i].name, b->user[i].name) && !strcmp(a->user[i].secret_file, b->user[i].secret_file));
		CHECK(!strcmp(a->user[i].certificate, b->user[i].certificate) && a->user[i].uid == b->user[i].uid);
	}
}

static void round_trip(struct config *config)
{
	static const char *const headings[] = { "[server]\n", "[search]\n", "[enrol]\n", "[tls]\n" };
	size_t room = 65536 + 16384 * (size_t)(config->users + config->galleries);
	char *text = calloc(1, room), error[512];
	struct config again;

	CHECK(text);
	for (uint32_t i = 0; i < 4; i++) {
		strcat(text, headings[i]);
		append_section(config, text, room, i, config);
	}
	for (uint32_t i = 0; i < config->users; i++) {
		snprintf(text + strlen(text), room - strlen(text), "[user %s]\n", config->user[i].name);
		append_section(config, text, room, CONFIG_USER, &config->user[i]);
	}
	for (uint32_t i = 0; i < config->galleries; i++) {
		snprintf(text + strlen(text), room - strlen(text), "[gallery %s]\n", config->gallery[i].name);
		append_section(config, text, room, CONFIG_GALLERY, &config->gallery[i]);
	}
	config_init(&again);
	/* A word that would be taken for a heading at the beginning of a line. */
	if (strstr(text, "\n [")) {
		free(text);
		return;
	}
	if (config_parse("again", text, strlen(text), &again, error)) {
		fprintf(stderr, "%s\n%s", error, text);
		abort();
	}
	same(config, &again);
	config_fini(&again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config, before;
	char error[512] = "";

	if (size > 65536)
		return -1;
	/* Paths of credentials must fit a line when they are written out. */
	setenv("CREDENTIALS_DIRECTORY", "/c", 1);
	setenv("RUNTIME_DIRECTORY", "/run/lineup", 1);
	config_init(&config);
	before = config;
	if (config_parse("fuzz", (const char *)data, size, &config, error)) {
		CHECK(!memcmp(&config, &before, sizeof(config)));
		CHECK(!strncmp(error, "fuzz:", 5));
		for (const char *c = error; *c; c++)
			CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
		config_fini(&config);
		return 0;
	}
	round_trip(&config);
	(void)config_check(&config, error);
	config_fini(&config);
	return 0;
}
