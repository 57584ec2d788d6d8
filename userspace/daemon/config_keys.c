// SPDX-License-Identifier: MIT
// The table of the configuration's keys: their units, defaults and limits, how values are read, and how all that is told.
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IN(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)
#define K(n) ((uint64_t)(n) << 10)
#define M(n) ((uint64_t)(n) << 20)
#define G(n) ((uint64_t)(n) << 30)

const char *const config_section_names[CONFIG_SECTIONS] = { "server", "search", "enrol", "tls", "user NAME", "gallery NAME" };

const struct config_key config_keys[] = {
	{ CONFIG_SERVER, "listen", CONFIG_LISTENERS, IN(config, listen), NULL, 0, 0, "addresses separated by blanks", NULL,
	  "Where clients connect: unix:/PATH, tcp:ADDRESS:PORT on loopback addresses only, tls:ADDRESS:PORT. Without it, and "
	  "without sockets from the service manager: "
	  "lineup.sock in $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR or /run/lineup." },
	{ CONFIG_SERVER, "directory", CONFIG_DIRECTORY, IN(config, directory), NULL, 0, 0, "a directory", NULL,
	  "Every gallery in it is served under the name of its directory, and new ones are made there." },
	{ CONFIG_SERVER, "metrics", CONFIG_TEXT, IN(config, metrics), NULL, 0, 0, "ADDRESS:PORT", NULL,
	  "Where /metrics and /healthz are served over HTTP: a loopback address. Without it they are not." },
	{ CONFIG_SERVER, "log_level", CONFIG_CHOICE, IN(config, log_level), "info", 0, 0, NULL, "error, warn, info, debug",
	  "The least severe messages that are logged." },
	{ CONFIG_SERVER, "clients_max", CONFIG_NUMBER, IN(config, clients_max), "16384", 1, 1000000, "connections", NULL,
	  "More are told so and closed. Each needs a file descriptor." },
	{ CONFIG_SERVER, "client_idle_s", CONFIG_NUMBER, IN(config, client_idle_s), "0", 0, 31536000, "seconds", NULL,
	  "A connection without a request for so long is closed. 0: never." },
	{ CONFIG_SERVER, "client_rate", CONFIG_NUMBER, IN(config, client_rate), "0", 0, 10000000, "requests a second", NULL,
	  "Of one connection: what is above it waits. 0: no limit." },
	{ CONFIG_SERVER, "client_pipeline_max", CONFIG_NUMBER, IN(config, client_pipeline_max), "1024", 1, 65536, "requests", NULL,
	  "Of one connection under way at once; more are not read until one has been answered." },
	{ CONFIG_SERVER, "request_bytes_max", CONFIG_BYTES, IN(config, request_bytes_max), "64M", K(64), G(1), "bytes", NULL,
	  "Of one request. A larger one is a protocol error, which ends the connection." },
	{ CONFIG_SERVER, "client_output_bytes_max", CONFIG_BYTES, IN(config, client_output_bytes_max), "16M", K(64), G(1), "bytes",
	  NULL, "Of replies that a client has not read. Above it its requests wait; at ten times as much it is closed." },
	{ CONFIG_SERVER, "unix_mode", CONFIG_OCTAL, IN(config, unix_mode), "0660", 0, 0777, "the mode of Unix sockets", NULL,
	  "Who may connect to them at all; what they may do there is told by [user NAME]." },
	{ CONFIG_SERVER, "drain_s", CONFIG_NUMBER, IN(config, drain_s), "10", 0, 3600, "seconds", NULL,
	  "How long requests under way may still take after SIGTERM." },
	{ CONFIG_SERVER, "create", CONFIG_BOOL, IN(config, create), "yes", 0, 0, NULL, NULL,
	  "Whether VADD to a gallery that there is not makes one in the directory." },
	{ CONFIG_SERVER, "create_model", CONFIG_TEXT, IN(config, create_model), "unspecified", 0, 0, "a model's id", NULL,
	  "The model of galleries that VADD makes." },

	{ CONFIG_SEARCH, "threads", CONFIG_NUMBER, IN(config, threads), "0", 0, LINEUP_THREADS_MAX, "threads", NULL,
	  "That scan, for all galleries together. 0: one per CPU that the daemon may use." },
	{ CONFIG_SEARCH, "backend", CONFIG_CHOICE, IN(config, backend), "auto", 0, 0, NULL,
	  "auto, scalar, avx2, avx512, neon, vulkan, vulkan-scalar, vulkan-dot, vulkan-coopmat, vulkan-coopmat-nv, vulkan-emulated",
	  "What computes scores. Every one gives the same answers. auto: GPUs if there are any, else the fastest for this CPU." },
	{ CONFIG_SEARCH, "devices", CONFIG_TEXT, IN(config, devices), NULL, 0, 0, "GPUs separated by commas", NULL,
	  "The GPUs that are used, by index, UUID or PCI address as lineup devices lists them. Without it: all." },
	{ CONFIG_SEARCH, "residency", CONFIG_CHOICE, IN(config, residency), "auto", 0, 0, NULL, "auto, resident, streamed",
	  "Whether galleries are kept in memory: always, never (every pass reads the disk), or where they fit." },
	{ CONFIG_SEARCH, "memory_max", CONFIG_BYTES, IN(config, memory_max), "0", 0, UINT64_MAX >> 1, "bytes", NULL,
	  "That each resident gallery may take. 0: 80 % of what is available." },
	{ CONFIG_SEARCH, "device_memory_max", CONFIG_BYTES, IN(config, device_memory_max), "0", 0, UINT64_MAX >> 1, "bytes", NULL,
	  "That rows may take of each GPU. 0: 80 % of what is available there." },
	{ CONFIG_SEARCH, "probes_max", CONFIG_NUMBER, IN(config, probes_max), "256", 1, LINEUP_PROBES_MAX, "probes", NULL,
	  "Of one gallery that scan together." },
	{ CONFIG_SEARCH, "waiting_max", CONFIG_NUMBER, IN(config, waiting_max), "4096", 1, 1000000, "probes", NULL,
	  "Of one gallery that wait for room among those. More are answered with BUSY at once." },
	{ CONFIG_SEARCH, "k_max", CONFIG_NUMBER, IN(config, k_max), "1024", 1, LINEUP_K_MAX, "candidates", NULL,
	  "Of one probe. Memory for so many is kept for each probe." },
	{ CONFIG_SEARCH, "deadline_ms", CONFIG_NUMBER, IN(config, deadline_ms), "0", 0, 3600000, "milliseconds", NULL,
	  "A search that has waited so long for room is answered with an error. 0: it may wait any time." },

	{ CONFIG_ENROL, "group_max", CONFIG_NUMBER, IN(config, group_max), "1024", 1, LINEUP_GROUP_OPERATIONS_MAX, "operations",
	  NULL, "That share one sync of the disk." },
	{ CONFIG_ENROL, "waiting_operations_max", CONFIG_NUMBER, IN(config, waiting_operations_max), "16384", 1, 1000000,
	  "operations", NULL, "Of one gallery. More are answered with BUSY at once." },
	{ CONFIG_ENROL, "maintain_bytes_per_second", CONFIG_BYTES, IN(config, maintain_bytes_per_second), "128M", 0,
	  UINT64_MAX >> 1, "bytes a second", NULL, "That sealing and compaction read and write beside searches. 0: no limit." },
	{ CONFIG_ENROL, "compact_percent", CONFIG_NUMBER, IN(config, compact_percent), "20", 0, 100, "percent", NULL,
	  "Of a gallery's rows that are deleted, from which they are dropped from the disk. 0: only when LINEUP.MAINTAIN asks." },

	{ CONFIG_TLS, "certificate", CONFIG_FILE, IN(config, certificate), NULL, 0, 0, "a PEM file", NULL,
	  "The daemon's certificate, with its chain. TLS listeners need it." },
	{ CONFIG_TLS, "key", CONFIG_FILE, IN(config, key), NULL, 0, 0, "a PEM file", NULL, "The certificate's private key." },
	{ CONFIG_TLS, "ca", CONFIG_FILE, IN(config, ca), NULL, 0, 0, "a PEM file", NULL,
	  "Authorities that sign clients' certificates: with it, a client without such a certificate is refused. Without it, TLS "
	  "clients use AUTH." },

	{ CONFIG_USER, "secret_file", CONFIG_FILE, IN(config_user, secret_file), NULL, 0, 0, "a file", NULL,
	  "Holds the line that lineupd --hash-secret prints of the secret that AUTH is given. Others must not be able to read it. "
	  "Without it: no AUTH." },
	{ CONFIG_USER, "certificate", CONFIG_TEXT, IN(config_user, certificate), NULL, 0, 0, "a common name, or sha256:HEX", NULL,
	  "Whose TLS client certificate has this common name, or this SHA-256 digest, is this user." },
	{ CONFIG_USER, "uid", CONFIG_UID, IN(config_user, uid), NULL, 0, UINT32_MAX - 1, "a number", NULL,
	  "Who connects to a Unix socket as this Unix user is this user." },
	{ CONFIG_USER, "roles", CONFIG_LIST, IN(config_user, roles), NULL, 0, 0, "roles separated by blanks", NULL,
	  "searcher, enroller, auditor, admin; with :PATTERN for the galleries that match it (* stands for any text, ? for one "
	  "character), for all without." },

	{ CONFIG_GALLERY, "path", CONFIG_DIRECTORY, IN(config_gallery, path), NULL, 0, 0, "a gallery's directory", NULL,
	  "Where the gallery is. It is needed, and the daemon does not start if the gallery cannot be opened." },
};

const uint32_t config_key_count = ARRAY_SIZE(config_keys);
_Static_assert(ARRAY_SIZE(config_keys) <= 64, "config.c has a bit for each");

const struct config_key *config_key_find(enum config_section section, const char *name)
{
	for (uint32_t i = 0; i < config_key_count; i++) {
		if (config_keys[i].section == section && !strcmp(config_keys[i].name, name))
			return &config_keys[i];
	}
	return NULL;
}

/* ---- values ---- */

static int not_one(const struct config_key *key, const char *value, char error[512])
{
	char facts[512];

	snprintf(error, 512, "%s: '%.100s' is not taken. %.360s", key->name, value, config_key_facts(key, facts));
	return -EINVAL;
}

/* A whole number in @base with nothing around it, and with a unit's letter if @units. */
static int read_number(const char *text, int base, bool units, uint64_t *number)
{
	static const char letters[] = "KMGT";
	size_t digits = strspn(text, base == 8 ? "01234567" : "0123456789");
	const char *letter = text[digits] ? strchr(letters, text[digits]) : NULL;
	unsigned int shift = letter ? 10 * (unsigned int)(letter - letters + 1) : 0;
	unsigned long long n;

	if (!digits || (text[digits] && (!units || !letter || text[digits + 1])))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, NULL, base);
	if (errno || n > UINT64_MAX >> shift)
		return -EINVAL;
	*number = (uint64_t)n << shift;
	return 0;
}

static bool one_of(const char *value, const char *choices)
{
	size_t size = strlen(value);

	for (const char *c = choices; c; c = strchr(c, ',')) {
		c += strspn(c, ", ");
		if (strcspn(c, ",") == size && !memcmp(c, value, size))
			return true;
	}
	return false;
}

static int set_text(const struct config_key *key, void *field, const char *value, char error[512])
{
	if (strlen(value) >= key->size) {
		snprintf(error, 512, "%s: has %zu bytes; at most %zu", key->name, strlen(value), key->size - 1);
		return -EINVAL;
	}
	memset(field, 0, key->size);
	memcpy(field, value, strlen(value));
	return 0;
}

/* Words of a list, put behind those that are there. */
static int add_words(const struct config_key *key, char *field, const char *value, char error[512])
{
	size_t have = strlen(field), more = strlen(value);

	if (have + !!have + more >= key->size) {
		snprintf(error, 512, "%s: has more than %zu bytes", key->name, key->size - 1);
		return -EINVAL;
	}
	if (have)
		field[have++] = ' ';
	memcpy(field + have, value, more + 1);
	return 0;
}

static int add_listeners(struct config *config, const char *value, char error[512])
{
	uint32_t count = config->listens;

	for (value += strspn(value, " \t"); *value; value += strspn(value, " \t")) {
		size_t size = strcspn(value, " \t");
		struct config_endpoint endpoint;
		char *address;

		if (count == DAEMON_LISTENERS_MAX) {
			snprintf(error, 512, "listen: more than %d addresses", DAEMON_LISTENERS_MAX);
			return -EINVAL;
		}
		address = config->listen[count].address;
		if (size >= sizeof(config->listen[count].address)) {
			snprintf(error, 512, "listen: '%.40s...' is longer than %zu bytes", value,
				 sizeof(config->listen[count].address) - 1);
			return -EINVAL;
		}
		memset(address, 0, sizeof(config->listen[count].address));
		memcpy(address, value, size);
		if (config_endpoint(address, &endpoint, error))
			return -EINVAL;
		count++;
		value += size;
	}
	config->listens = count;
	config->listens_default = false;
	return 0;
}

/*
 * Absolute paths, so that where the daemon was started changes nothing; credentials by the directory that the service manager
 * tells.
 */
static int set_path(const struct config_key *key, char *field, const char *value, char error[512])
{
	static const char prefix[] = "credential:";
	char path[4096];
	const char *name, *directory;

	if (key->type == CONFIG_FILE && !strncmp(value, prefix, strlen(prefix))) {
		name = value + strlen(prefix);
		directory = getenv("CREDENTIALS_DIRECTORY");
		if (!*name || strchr(name, '/') || *name == '.')
			return not_one(key, value, error);
		if (!directory) {
			snprintf(error, 512,
				 "%s: %.100s: there is no $CREDENTIALS_DIRECTORY: the service manager was not told LoadCredential=",
				 key->name, value);
			return -EINVAL;
		}
		if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
			return not_one(key, value, error);
		return set_text(key, field, path, error);
	}
	if (*value != '/')
		return not_one(key, value, error);
	return set_text(key, field, value, error);
}

static int set_number(const struct config_key *key, void *field, const char *value, char error[512])
{
	uint64_t number;
	uint32_t small;

	if (read_number(value, key->type == CONFIG_OCTAL ? 8 : 10, key->type == CONFIG_BYTES, &number) || number < key->min ||
	    number > key->max)
		return not_one(key, value, error);
	small = (uint32_t)number;
	if (key->size == sizeof(small))
		memcpy(field, &small, sizeof(small));
	else
		memcpy(field, &number, sizeof(number));
	return 0;
}

int config_key_set(const struct config_key *key, void *target, const char *value, char error[512])
{
	char *field = (char *)target + key->offset;
	bool yes = !strcmp(value, "yes");

	if (!*value) {
		snprintf(error, 512, "%s: has no value; without the line there is the default", key->name);
		return -EINVAL;
	}
	switch (key->type) {
	case CONFIG_NUMBER:
	case CONFIG_BYTES:
	case CONFIG_OCTAL:
	case CONFIG_UID:
		return set_number(key, field, value, error);
	case CONFIG_BOOL:
		if (!yes && strcmp(value, "no"))
			return not_one(key, value, error);
		memcpy(field, &yes, sizeof(yes));
		return 0;
	case CONFIG_CHOICE:
		return one_of(value, key->choices) ? set_text(key, field, value, error) : not_one(key, value, error);
	case CONFIG_TEXT:
		return set_text(key, field, value, error);
	case CONFIG_LIST:
		return add_words(key, field, value, error);
	case CONFIG_LISTENERS:
		return add_listeners(target, value, error);
	case CONFIG_DIRECTORY:
	case CONFIG_FILE:
		return set_path(key, field, value, error);
	}
	return -EINVAL;
}

/* ---- what is told of them ---- */

static const char *size_text(uint64_t bytes, char out[32])
{
	static const char letters[] = "\0KMGT";
	uint32_t unit = 0;

	while (bytes && !(bytes & 1023) && unit < 4) {
		bytes >>= 10;
		unit++;
	}
	snprintf(out, 32, "%llu%.1s", (unsigned long long)bytes, letters + unit);
	return out;
}

const char *config_key_facts(const struct config_key *key, char out[512])
{
	const char *fallback = key->fallback ? key->fallback : "none";
	char low[32], high[32];

	switch (key->type) {
	case CONFIG_NUMBER:
	case CONFIG_UID:
		snprintf(out, 512, "Default: %s. Limits: %llu to %llu. Unit: %s.", fallback, (unsigned long long)key->min,
			 (unsigned long long)key->max, key->unit);
		break;
	case CONFIG_BYTES:
		if (key->max > G(1024) * 1024)
			snprintf(out, 512, "Default: %s. Limit: none. Unit: %s, or with K, M, G, T.", fallback, key->unit);
		else
			snprintf(out, 512, "Default: %s. Limits: %s to %s. Unit: %s, or with K, M, G, T.", fallback,
				 size_text(key->min, low), size_text(key->max, high), key->unit);
		break;
	case CONFIG_OCTAL:
		snprintf(out, 512, "Default: %s. Limits: 0 to 0%llo. Unit: %s, octal.", fallback, (unsigned long long)key->max,
			 key->unit);
		break;
	case CONFIG_BOOL:
		snprintf(out, 512, "Default: %s. Allowed: yes, no.", fallback);
		break;
	case CONFIG_CHOICE:
		snprintf(out, 512, "Default: %s. Allowed: %s.", fallback, key->choices);
		break;
	case CONFIG_LISTENERS:
		snprintf(out, 512, "Default: a Unix socket. Limit: %d. Value: %s.", DAEMON_LISTENERS_MAX, key->unit);
		break;
	case CONFIG_TEXT:
	case CONFIG_LIST:
		snprintf(out, 512, "Default: %s. Limit: %zu bytes. Value: %s.", fallback, key->size - 1, key->unit);
		break;
	case CONFIG_DIRECTORY:
		snprintf(out, 512, "Default: %s. Value: the absolute path of %s.", fallback, key->unit);
		break;
	case CONFIG_FILE:
		snprintf(out, 512, "Default: %s. Value: the absolute path of %s, or credential:NAME.", fallback, key->unit);
		break;
	}
	return out;
}

/* Prints @text in lines of at most 100 columns, each behind a blank margin. */
static void print_wrapped(const char *text)
{
	enum { MARGIN = 4, WIDTH = 100 };
	size_t column = 0;

	while (*text) {
		size_t size = strcspn(text, " ");

		if (column && column + 1 + size > WIDTH) {
			putchar('\n');
			column = 0;
		}
		column += (size_t)printf("%*s%.*s", column ? 1 : MARGIN, "", (int)size, text);
		text += size;
		text += strspn(text, " ");
	}
	putchar('\n');
}

void config_print_keys(void)
{
	char facts[512];

	for (uint32_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];

		if (!i || key->section != config_keys[i - 1].section)
			printf("%s[%s]\n", i ? "\n" : "", config_section_names[key->section]);
		printf("%s\n", key->name);
		print_wrapped(key->what);
		print_wrapped(config_key_facts(key, facts));
	}
}
