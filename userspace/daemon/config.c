// SPDX-License-Identifier: MIT
// The configuration file: headings, keys and values as libinih takes them apart, every line accounted for.
#include "config.h"

#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * libinih hands out neither line numbers nor empty sections, and shortens long lines and headings without a word. So the lines
 * are fed to it one by one, by next_line, which knows where it is, refuses what would not come out whole, and reads headings
 * itself.
 */
struct reading {
	const char *name;	/* of the file, for messages */
	const char *text, *end; /* what is left */
	struct config *config;
	int line;
	bool indented;		     /* the present line */
	enum config_section section; /* CONFIG_SECTIONS: before the first heading */
	void *target;		     /* what the section's keys belong to */
	uint32_t sections_seen;
	uint64_t keys_seen; /* in this section, by place in config_keys */
	const struct config_key *last;
	int fault_line; /* 0: no fault so far */
	char *error;	/* [512] */
};

static int fault(struct reading *r, const char *format, ...) DAEMON_PRINTF(2, 3);

/* Notes the first fault of the file. */
static int fault(struct reading *r, const char *format, ...)
{
	char what[512];
	va_list list;

	if (r->fault_line)
		return -EINVAL;
	r->fault_line = r->line;
	va_start(list, format);
	vsnprintf(what, sizeof(what), format, list);
	va_end(list);
	snprintf(r->error, 512, "%.200s:%d: %.290s", r->name, r->line, what);
	for (char *c = r->error; *c; c++) {
		/* Of what the file says, tabs may have got here. */
		if (*c == '\t')
			*c = ' ';
	}
	return -EINVAL;
}

/* ---- headings ---- */

static bool name_is_good(const char *name, size_t size, size_t most, const char *more)
{
	if (!size || size > most || *name == '.')
		return false;
	for (size_t i = 0; i < size; i++) {
		char c = name[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && !strchr(more, c))
			return false;
	}
	return true;
}

static int add_user(struct reading *r, const char *name, size_t size)
{
	struct config *config = r->config;
	struct config_user *user;

	if (!name_is_good(name, size, sizeof(user->name) - 1, "_.-@"))
		return fault(r, "'%.*s' is no name of a user: 1 to %zu of A-Z a-z 0-9 _ . - @, not beginning with .",
			     (int)(size < 80 ? size : 80), name, sizeof(user->name) - 1);
	for (uint32_t i = 0; i < config->users; i++) {
		if (strlen(config->user[i].name) == size && !memcmp(config->user[i].name, name, size))
			return fault(r, "[user %s] is there twice", config->user[i].name);
	}
	if (config->users == DAEMON_USERS_MAX)
		return fault(r, "more than %d users", DAEMON_USERS_MAX);
	user = realloc(config->user, (config->users + 1) * sizeof(*user));
	if (!user)
		return fault(r, "out of memory");
	config->user = user;
	user = &user[config->users++];
	memset(user, 0, sizeof(*user));
	memcpy(user->name, name, size);
	user->uid = -1;
	r->target = user;
	return 0;
}

static int add_gallery(struct reading *r, const char *name, size_t size)
{
	struct config *config = r->config;
	struct config_gallery *gallery;

	if (!name_is_good(name, size, DAEMON_NAME_BYTES_MAX, "_.-:"))
		return fault(r, "'%.*s' is no name of a gallery: 1 to %d of A-Z a-z 0-9 _ . - :, not beginning with .",
			     (int)(size < 80 ? size : 80), name, DAEMON_NAME_BYTES_MAX);
	for (uint32_t i = 0; i < config->galleries; i++) {
		if (strlen(config->gallery[i].name) == size && !memcmp(config->gallery[i].name, name, size))
			return fault(r, "[gallery %s] is there twice", config->gallery[i].name);
	}
	if (config->galleries == DAEMON_GALLERIES_MAX)
		return fault(r, "more than %d galleries", DAEMON_GALLERIES_MAX);
	gallery = realloc(config->gallery, (config->galleries + 1) * sizeof(*gallery));
	if (!gallery)
		return fault(r, "out of memory");
	config->gallery = gallery;
	gallery = &gallery[config->galleries++];
	memset(gallery, 0, sizeof(*gallery));
	memcpy(gallery->name, name, size);
	r->target = gallery;
	return 0;
}

/* What must be in a section that ends here. */
static int section_end(struct reading *r)
{
	if (r->section == CONFIG_GALLERY && !r->last)
		return fault(r, "[gallery %s] before this line has no path", ((struct config_gallery *)r->target)->name);
	if (r->section == CONFIG_USER && !*((struct config_user *)r->target)->roles)
		return fault(r, "[user %s] before this line has no roles", ((struct config_user *)r->target)->name);
	return 0;
}

/* "[server]" or "[user NAME]", with a comment behind it at most. */
static int heading(struct reading *r, const char *line, size_t size)
{
	const char *close = memchr(line, ']', size), *word = line + 1, *name;
	size_t word_size, name_size, after;

	if (section_end(r))
		return -EINVAL;
	if (!close)
		return fault(r, "the heading has no ]");
	after = strspn(close + 1, " \t");
	if (close + 1 + after < line + size && !strchr(";#\n", close[1 + after]))
		return fault(r, "there is something behind the heading's ]");
	word_size = strcspn(word, " \t]");
	name = word + word_size + strspn(word + word_size, " \t");
	name_size = (size_t)(close - name);
	r->keys_seen = 0;
	r->last = NULL;
	for (uint32_t i = 0; i < CONFIG_SECTIONS; i++) {
		if (strcspn(config_section_names[i], " ") != word_size || memcmp(config_section_names[i], word, word_size))
			continue;
		r->section = i;
		r->target = r->config;
		if (i == CONFIG_USER)
			return add_user(r, name, name_size);
		if (i == CONFIG_GALLERY)
			return add_gallery(r, name, name_size);
		if (name_size)
			return fault(r, "[%.*s] takes no name", (int)word_size, word);
		if (r->sections_seen & 1u << i)
			return fault(r, "[%.*s] is there twice", (int)word_size, word);
		r->sections_seen |= 1u << i;
		return 0;
	}
	return fault(r,
		     "[%.*s]: there is no such section; there are [server], [search], [enrol], [tls], [user NAME], [gallery NAME]",
		     (int)(word_size < 40 ? word_size : 40), word);
}

/* ---- lines ---- */

static int line_check(struct reading *r, const char *line, size_t size, size_t size_max)
{
	if (size > size_max)
		return fault(r, "the line has more than %zu bytes; lists may go on in indented lines", size_max);
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)line[i];

		if ((c < 0x20 && c != '\t' && !(c == '\r' && i + 1 == size)) || c == 0x7f)
			return fault(r, "byte %zu of the line is a control character", i + 1);
	}
	return 0;
}

/* As fgets, for libinih: the next line. NULL after a fault too: nothing behind it is looked at. */
static char *next_line(char *out, int size_max, void *arg)
{
	struct reading *r = arg;
	const char *line = r->text, *newline, *first;
	size_t size;

	if (line == r->end || r->fault_line)
		return NULL;
	newline = memchr(line, '\n', (size_t)(r->end - line));
	size = (size_t)((newline ? newline : r->end) - line);
	r->text = newline ? newline + 1 : r->end;
	r->line++;
	if (r->line == 1 && size >= 3 && !memcmp(line, "\xef\xbb\xbf", 3)) {
		line += 3;
		size -= 3;
	}
	if (line_check(r, line, size, size_max - 2 < CONFIG_LINE_BYTES_MAX ? (size_t)size_max - 2 : CONFIG_LINE_BYTES_MAX))
		return NULL;
	for (first = line; first < line + size && (*first == ' ' || *first == '\t'); first++)
		;
	r->indented = first > line;
	if (first < line + size && *first == '[') {
		/* A heading wherever it stands: libinih would take an indented one for more of the value above. */
		size -= (size_t)(first - line);
		line = first;
	}
	memcpy(out, line, size);
	out[size] = '\n';
	out[size + 1] = 0;
	if (*out == '[' && heading(r, out, size))
		return NULL;
	return out;
}

/* libinih has found @name = @value, or in an indented line more of the value above, which is called the same. */
static int take(void *arg, const char *section, const char *name, const char *value)
{
	struct reading *r = arg;
	const struct config_key *key;
	char error[512], more[CONFIG_LINE_BYTES_MAX + 2];
	uint64_t bit;

	(void)section;
	if (r->fault_line)
		return 0;
	if (r->section == CONFIG_SECTIONS) {
		fault(r, "%.60s: stands before the first [section]", name);
		return 0;
	}
	key = config_key_find(r->section, name);
	if (!key) {
		fault(r, "%.60s: there is no such key in [%s]; lineupd --help-config lists them", name,
		      config_section_names[r->section]);
		return 0;
	}
	bit = 1ull << (key - config_keys);
	if (r->keys_seen & bit && !(r->indented && r->last == key)) {
		fault(r, "%s: is there twice", key->name);
		return 0;
	}
	if (r->keys_seen & bit && key->type != CONFIG_LIST && key->type != CONFIG_LISTENERS) {
		fault(r, "%s: an indented line continues the one above, and this key has one value", key->name);
		return 0;
	}
	if (r->keys_seen & bit) {
		/* libinih cuts a comment off behind a key's own value only. */
		snprintf(more, sizeof(more), "%s", value);
		for (char *c = strchr(more, ';'); c; c = strchr(c + 1, ';')) {
			if (c > more && (c[-1] == ' ' || c[-1] == '\t')) {
				*c = 0;
				break;
			}
		}
		value = more;
	}
	for (const char *word = value; *word; word += strspn(word, " \t")) {
		if (*word == '#' || *word == ';') {
			fault(r, "%s: a word of the value begins with %c; a comment behind a value begins with a blank and ;",
			      key->name, *word);
			return 0;
		}
		word += strcspn(word, " \t");
	}
	r->keys_seen |= bit;
	r->last = key;
	if (config_key_set(key, r->target, value, error)) {
		fault(r, "%s", error);
		return 0;
	}
	return 1;
}

/* ---- the whole ---- */

void config_init(struct config *config)
{
	char error[512];

	memset(config, 0, sizeof(*config));
	for (uint32_t i = 0; i < config_key_count; i++) {
		if (config_keys[i].section <= CONFIG_TLS && config_keys[i].fallback)
			(void)config_key_set(&config_keys[i], config, config_keys[i].fallback, error);
	}
}

void config_fini(struct config *config)
{
	if (!config)
		return;
	free(config->user);
	free(config->gallery);
	memset(config, 0, sizeof(*config));
}

/* Where the Unix socket is if nothing is said: as root, and for a service, in /run. */
static int default_listener(struct config *config, char error[512])
{
	const char *directory = getenv("RUNTIME_DIRECTORY"); /* of a service; with colons between them if there are more */
	struct config_endpoint endpoint;
	int size;

	if (!directory)
		directory = getenv("XDG_RUNTIME_DIR");
	if (!directory && !geteuid())
		directory = "/run/lineup";
	if (!directory || *directory != '/') {
		snprintf(error, 512,
			 "listen: neither $RUNTIME_DIRECTORY nor $XDG_RUNTIME_DIR names a directory for the Unix socket: give "
			 "listen = unix:/PATH");
		return -EINVAL;
	}
	size = snprintf(config->listen[0].address, sizeof(config->listen[0].address), "unix:%.*s/lineup.sock",
			(int)strcspn(directory, ":"), directory);
	if (size >= (int)sizeof(config->listen[0].address)) {
		snprintf(error, 512, "listen: %.200s: the path is too long for a Unix socket: give listen = unix:/PATH", directory);
		return -EINVAL;
	}
	config->listens = 1;
	config->listens_default = true;
	return config_endpoint(config->listen[0].address, &endpoint, error);
}

static void *copy(const void *from, size_t size)
{
	void *to = size ? malloc(size) : NULL;

	return to ? memcpy(to, from, size) : NULL;
}

int config_parse(const char *name, const char *text, size_t size, struct config *config, char error[512])
{
	struct config next = *config;
	struct reading r = {
		.name = name, .text = text, .end = text + size, .config = &next, .section = CONFIG_SECTIONS, .error = error
	};
	int line;

	next.user = copy(config->user, config->users * sizeof(*config->user));
	next.gallery = copy(config->gallery, config->galleries * sizeof(*config->gallery));
	if ((config->users && !next.user) || (config->galleries && !next.gallery)) {
		snprintf(error, 512, "%.400s: out of memory", name);
		goto bad;
	}
	line = ini_parse_stream(next_line, &r, take, &r);
	if (line > 0 && (!r.fault_line || line < r.fault_line)) {
		snprintf(error, 512, "%.400s:%d: is neither a [section], nor key = value, nor a comment", name, line);
		goto bad;
	}
	r.line++;
	if (r.fault_line || section_end(&r))
		goto bad;
	if (line < 0) {
		snprintf(error, 512, "%.400s: out of memory", name);
		goto bad;
	}
	if (!next.listens && default_listener(&next, error))
		goto bad;
	free(config->user);
	free(config->gallery);
	*config = next;
	return 0;
bad:
	free(next.user);
	free(next.gallery);
	return -EINVAL;
}

int config_read(const char *path, struct config *config, char error[512])
{
	struct stat stat = { 0 };
	char *text = NULL;
	ssize_t got;
	int err = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &stat))
		err = -errno;
	else if (!S_ISREG(stat.st_mode) || stat.st_size > CONFIG_FILE_BYTES_MAX)
		err = S_ISREG(stat.st_mode) ? -EFBIG : -EINVAL;
	else if (!(text = malloc((size_t)stat.st_size + 1)))
		err = -ENOMEM;
	else if ((got = pread(fd, text, (size_t)stat.st_size, 0)) != stat.st_size)
		err = got < 0 ? -errno : -EAGAIN;
	if (fd >= 0)
		close(fd);
	if (err)
		snprintf(error, 512, "%.400s: %s", path,
			 err == -EINVAL	  ? "is no file"
			 : err == -EAGAIN ? "changed while it was read"
					  : strerror(-err));
	else
		err = config_parse(path, text, (size_t)stat.st_size, config, error);
	free(text);
	return err;
}

int config_for_directory(const char *directory, struct config *config, char error[512])
{
	char *path = realpath(directory, NULL);
	int err = 0;

	if (!path || strlen(path) >= sizeof(config->directory)) {
		err = path ? -ENAMETOOLONG : -errno;
		snprintf(error, 512, "%.400s: %s", directory, strerror(-err));
	} else {
		err = default_listener(config, error);
	}
	if (!err && path)
		memcpy(config->directory, path, strlen(path) + 1);
	free(path);
	return err;
}
