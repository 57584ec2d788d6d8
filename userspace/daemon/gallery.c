// SPDX-License-Identifier: MIT
// The galleries that are served, by name: attached, detached, created, and what requests hold of them meanwhile.
#include "gallery.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum gallery_state { GALLERY_OPENING, GALLERY_READY, GALLERY_CLOSING, GALLERY_FAILED };

struct waiter {
	struct waiter *next;
	gallery_done_fn *done;
	void *arg;
	bool exists;             /* wanted to create or attach it: is told that it is there */
};

struct gallery {
	struct task task;        /* of its thread, when it has ended: first */
	struct gallery *next;
	struct galleries *galleries;
	char name[DAEMON_NAME_BYTES_MAX + 1];
	char *path;
	enum gallery_state state;
	bool configured;         /* by a [gallery] of the configuration */
	bool known;              /* it is there, whether or not it can be opened */
	uint32_t references;
	struct keeper *keeper;
	struct waiter *waiters;
	/* The thread that opens or closes it, and what it works with. */
	pthread_t thread;
	bool has_thread;
	struct keeper_setup setup;
	char model[LINEUP_MODEL_BYTES_MAX + 1];
	int err;
	char message[MESSAGE_BYTES];
};

struct galleries {
	struct lineup_ctx *ctx;
	struct lineup_crew *crew;
	struct loop *loop;
	const struct config *config;
	struct gallery *first;
	uint32_t count;
	bool stopped;
};

bool gallery_name_ok(const char *name, size_t size)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-:";

	if (!size || size > DAEMON_NAME_BYTES_MAX || name[0] == '.')
		return false;
	for (size_t i = 0; i < size; i++)
		if (!memchr(allowed, name[i], sizeof(allowed) - 1))
			return false;
	return true;
}

const char *gallery_name(const struct gallery *g)
{
	return g->name;
}

static struct gallery *find(const struct galleries *gs, const char *name, size_t size)
{
	for (struct gallery *g = gs->first; g; g = g->next)
		if (strlen(g->name) == size && !memcmp(g->name, name, size))
			return g;
	return NULL;
}

const char *gallery_failure(struct galleries *gs, const char *name, size_t size)
{
	const struct gallery *g = find(gs, name, size);

	return g && g->state == GALLERY_FAILED ? g->message : NULL;
}

static void gallery_free(struct gallery *g)
{
	free(g->path);
	free(g);
}

static void unlink_gallery(struct gallery *g)
{
	struct gallery **at = &g->galleries->first;

	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	g->galleries->count--;
}

static int gallery_new(struct galleries *gs, const char *name, size_t size, const char *path, struct gallery **gallery)
{
	struct gallery *g = calloc(1, sizeof(*g));
	int bytes;

	if (!g)
		return -ENOMEM;
	g->galleries = gs;
	memcpy(g->name, name, size);
	if (path)
		g->path = strdup(path);
	else if (bytes = asprintf(&g->path, "%s/%s", gs->config->directory, g->name), bytes < 0)
		g->path = NULL;
	if (!g->path) {
		free(g);
		return -ENOMEM;
	}
	g->setup = (struct keeper_setup){ .ctx = gs->ctx, .crew = gs->crew, .loop = gs->loop,
		.config = gs->config, .name = g->name, .path = g->path };
	*gallery = g;
	return 0;
}

static void link_gallery(struct gallery *g)
{
	g->next = g->galleries->first;
	g->galleries->first = g;
	g->galleries->count++;
}

static void log_failure(struct gallery *g, const char *event)
{
	char name[2 * DAEMON_NAME_BYTES_MAX], text[2 * MESSAGE_BYTES];

	if (!g->message[0])
		snprintf(g->message, sizeof(g->message), "%s", strerror(-g->err));
	log_event(LOG_ERROR, event, "gallery=%s error=%s", log_quote(name, sizeof(name), g->name),
		  log_quote(text, sizeof(text), g->message));
}

/* It stays known, with the reason, for who asks and for the health check. */
static void fail(struct gallery *g)
{
	struct metrics_gallery m = { 0 };

	g->state = GALLERY_FAILED;
	log_failure(g, "gallery_not_served");
	snprintf(m.name, sizeof(m.name), "%s", g->name);
	snprintf(m.refuses, sizeof(m.refuses), "it cannot be opened");
	metrics_set_gallery(&m);
}

/* Forgets one that could not be opened. */
static void forget(struct gallery *g)
{
	metrics_drop_gallery(g->name);
	unlink_gallery(g);
	gallery_free(g);
}

static void tell(struct waiter *w, int err, const char *message)
{
	struct waiter *next;

	for (; w; w = next) {
		next = w->next;
		if (!err && w->exists)
			w->done(w->arg, -EEXIST, "there is a gallery of this name");
		else
			w->done(w->arg, err, message);
		free(w);
	}
}

static int add_waiter(struct gallery *g, gallery_done_fn *done, void *arg, bool exists)
{
	struct waiter *w = malloc(sizeof(*w)), **at = &g->waiters;

	if (!w)
		return -ENOMEM;
	*w = (struct waiter){ .done = done, .arg = arg, .exists = exists };
	while (*at)
		at = &(*at)->next;
	*at = w;
	return 0;
}

/* The loop thread: the gallery's thread has ended. */
static void ended(struct task *task)
{
	struct gallery *g = (struct gallery *)task;
	struct waiter *waiters = g->waiters;
	char message[MESSAGE_BYTES];
	int err = g->err;

	if (g->galleries->stopped)
		return;
	pthread_join(g->thread, NULL);
	g->has_thread = false;
	g->waiters = NULL;
	snprintf(message, sizeof(message), "%s", g->message);
	if (g->state == GALLERY_OPENING && !err) {
		g->state = GALLERY_READY;
	} else if (g->state == GALLERY_OPENING && g->known) {
		fail(g);
	} else {
		if (g->state == GALLERY_OPENING)
			log_failure(g, "gallery_failed");
		unlink_gallery(g);
		gallery_free(g);
	}
	tell(waiters, err, message);
}

static void *open_thread(void *arg)
{
	struct gallery *g = arg;

	message_catch(g->message);
	g->err = keeper_create(&g->setup, &g->keeper);
	message_catch(NULL);
	if (g->err && !g->message[0])
		snprintf(g->message, sizeof(g->message), "%s", strerror(-g->err));
	loop_post(g->galleries->loop, &g->task);
	return NULL;
}

static void *close_thread(void *arg)
{
	struct gallery *g = arg;
	char name[2 * DAEMON_NAME_BYTES_MAX];

	keeper_destroy(g->keeper);
	log_event(LOG_INFO, "gallery_closed", "gallery=%s", log_quote(name, sizeof(name), g->name));
	loop_post(g->galleries->loop, &g->task);
	return NULL;
}

static int start(struct gallery *g, void *(*thread)(void *arg))
{
	g->task.run = ended;
	g->err = 0;
	g->message[0] = '\0';
	g->has_thread = !pthread_create(&g->thread, NULL, thread, g);
	return g->has_thread ? 0 : -EAGAIN;
}

struct gallery *gallery_get(struct galleries *gs, const char *name, size_t size)
{
	struct gallery *g = find(gs, name, size);

	if (!g || g->state != GALLERY_READY)
		return NULL;
	g->references++;
	return g;
}

struct keeper *gallery_keeper(struct gallery *g)
{
	return g->keeper;
}

/* It is being detached, and nobody uses it any more. */
static void close_now(struct gallery *g)
{
	metrics_drop_gallery(g->name);
	if (start(g, close_thread)) {
		struct waiter *waiters = g->waiters;

		g->waiters = NULL;
		g->state = GALLERY_READY;
		tell(waiters, -EAGAIN, "no thread to close it");
	}
}

void gallery_put(struct gallery *g)
{
	if (!--g->references && g->state == GALLERY_CLOSING && !g->galleries->stopped)
		close_now(g);
}

bool gallery_wait(struct galleries *gs, const char *name, size_t size, gallery_done_fn *done, void *arg)
{
	struct gallery *g = find(gs, name, size);

	return g && (g->state == GALLERY_OPENING || g->state == GALLERY_CLOSING) && !add_waiter(g, done, arg, false);
}

/* Opens a gallery by a thread; answers by itself what cannot begin. */
static struct gallery *begin(struct galleries *gs, const char *name, size_t size, const char *path,
			     gallery_done_fn *done, void *arg)
{
	struct gallery *g = find(gs, name, size);
	bool known = g && g->state == GALLERY_FAILED;
	int err;

	if (known && path) {
		forget(g); /* another attempt */
		g = NULL;
	}
	if (!gallery_name_ok(name, size)) {
		done(arg, -EINVAL, "a gallery's name is 1 to 128 of A-Z a-z 0-9 _ . - : and does not begin with '.'");
	} else if (g && (g->state == GALLERY_READY || g->state == GALLERY_FAILED || add_waiter(g, done, arg, true))) {
		done(arg, -EEXIST, "there is a gallery of this name");
	} else if (!g && gs->count >= DAEMON_GALLERIES_MAX) {
		done(arg, -ENOSPC, "1024 galleries are open, which is the limit");
	} else if (!g) {
		err = gallery_new(gs, name, size, path, &g);
		if (!err) {
			g->known = known;
			return g;
		}
		done(arg, err, strerror(-err));
	}
	return NULL;
}

static void finish(struct gallery *g, gallery_done_fn *done, void *arg)
{
	int err = add_waiter(g, done, arg, false);

	if (!err)
		link_gallery(g);
	if (!err && !start(g, open_thread))
		return;
	if (!err) {
		unlink_gallery(g);
		tell(g->waiters, -EAGAIN, "no thread to open it");
	} else {
		done(arg, err, strerror(-err));
	}
	gallery_free(g);
}

void gallery_create(struct galleries *gs, const char *name, size_t size, uint32_t dim, enum lineup_store store, const char *model,
		    gallery_done_fn *done, void *arg)
{
	struct gallery *g;

	if (!gs->config->directory[0]) {
		done(arg, -EINVAL, "no directory is configured to create galleries in");
		return;
	}
	g = begin(gs, name, size, NULL, done, arg);
	if (!g)
		return;
	snprintf(g->model, sizeof(g->model), "%s", model);
	g->setup.create = true;
	g->setup.dim = dim;
	g->setup.store = store;
	g->setup.model = g->model[0] ? g->model : NULL;
	finish(g, done, arg);
}

void gallery_attach(struct galleries *gs, const char *name, size_t size, const char *path, gallery_done_fn *done, void *arg)
{
	struct gallery *g = begin(gs, name, size, path, done, arg);

	if (g)
		finish(g, done, arg);
}

void gallery_detach(struct galleries *gs, const char *name, size_t size, gallery_done_fn *done, void *arg)
{
	struct gallery *g = find(gs, name, size);
	int err;

	if (g && g->state == GALLERY_FAILED) {
		forget(g);
		done(arg, 0, "");
		return;
	}
	if (!g || g->state != GALLERY_READY) {
		done(arg, -ENOENT, "there is no such gallery");
		return;
	}
	err = add_waiter(g, done, arg, false);
	if (err) {
		done(arg, err, strerror(-err));
		return;
	}
	g->state = GALLERY_CLOSING;
	if (!g->references)
		close_now(g);
}

void galleries_each(struct galleries *gs, void (*each)(void *arg, struct gallery *gallery), void *arg)
{
	for (struct gallery *g = gs->first, *next; g; g = next) {
		next = g->next;
		if (g->state == GALLERY_READY)
			each(arg, g);
	}
}

uint32_t galleries_count(const struct galleries *gs)
{
	uint32_t count = 0;

	for (const struct gallery *g = gs->first; g; g = g->next)
		count += g->state == GALLERY_READY;
	return count;
}

int galleries_create(struct lineup_ctx *ctx, struct lineup_crew *crew, struct loop *loop,
		     const struct config *config, struct galleries **galleries)
{
	struct galleries *gs = calloc(1, sizeof(*gs));

	if (!gs)
		return -ENOMEM;
	*gs = (struct galleries){ .ctx = ctx, .crew = crew, .loop = loop, .config = config };
	*galleries = gs;
	return 0;
}

/* Opens one before there are clients. */
static int open_now(struct galleries *gs, const char *name, const char *path, bool configured)
{
	struct gallery *g;
	int err;

	if (!gallery_name_ok(name, strlen(name)) || gs->count >= DAEMON_GALLERIES_MAX) {
		char text[2 * 256];

		log_event(LOG_WARN, "gallery_skipped", "name=%s reason=\"not a gallery's name, or too many\"",
			  log_quote(text, sizeof(text), name));
		return -EINVAL;
	}
	err = gallery_new(gs, name, strlen(name), path, &g);
	if (err)
		return err;
	g->configured = configured;
	message_catch(g->message);
	g->err = keeper_create(&g->setup, &g->keeper);
	message_catch(NULL);
	link_gallery(g);
	if (g->err)
		fail(g);
	else
		g->state = GALLERY_READY;
	return g->err;
}

/* Calls @each for the galleries in the configured directory. */
static int each_in_directory(struct galleries *gs, void (*each)(struct galleries *gs, const char *name, const char *path))
{
	const char *directory = gs->config->directory;
	struct dirent *entry;
	DIR *dir;

	if (!directory[0])
		return 0;
	dir = opendir(directory);
	if (!dir) {
		char text[512];
		int err = -errno;

		log_event(LOG_ERROR, "directory_failed", "path=%s error=\"%s\"", log_quote(text, sizeof(text), directory), strerror(-err));
		return err;
	}
	while (entry = readdir(dir), entry) {
		char path[4096 + 300];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s/MANIFEST", directory, entry->d_name);
		if (access(path, F_OK))
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		each(gs, entry->d_name, path);
	}
	closedir(dir);
	return 0;
}

static void open_found(struct galleries *gs, const char *name, const char *path)
{
	if (!find(gs, name, strlen(name)))
		open_now(gs, name, path, false); /* what goes wrong is logged, and the others are served */
}

int galleries_open(struct galleries *gs)
{
	const struct config *config = gs->config;
	int err = 0;

	for (uint32_t i = 0; !err && i < config->galleries; i++)
		err = open_now(gs, config->gallery[i].name, config->gallery[i].path, true);
	return err ? err : each_in_directory(gs, open_found);
}

/* The end of an attach or detach by a reload: keeper.c has logged it. */
static void reloaded(void *arg, int err, const char *message)
{
	char text[2 * MESSAGE_BYTES];

	(void)arg;
	if (err && err != -EEXIST)
		log_event(LOG_ERROR, "gallery_failed", "error=%s", log_quote(text, sizeof(text), message));
}

/* Attaches one that is there, unless it is served. */
static void attach_known(struct galleries *gs, const char *name, const char *path)
{
	struct gallery *g = find(gs, name, strlen(name));

	if (g && g->state != GALLERY_FAILED)
		return;
	gallery_attach(gs, name, strlen(name), path, reloaded, NULL);
	g = find(gs, name, strlen(name));
	if (g)
		g->known = true;
}

void galleries_reload(struct galleries *gs, const struct config *config)
{
	gs->config = config;
	for (struct gallery *g = gs->first, *next; g; g = next) {
		bool named = false;

		next = g->next;
		for (uint32_t i = 0; i < config->galleries; i++)
			named |= !strcmp(config->gallery[i].name, g->name);
		if (g->state == GALLERY_READY)
			keeper_reload(g->keeper, config);
		if (g->state == GALLERY_READY && g->configured && !named)
			gallery_detach(gs, g->name, strlen(g->name), reloaded, NULL);
	}
	for (uint32_t i = 0; i < config->galleries; i++) {
		const struct config_gallery *c = &config->gallery[i];
		struct gallery *g;

		attach_known(gs, c->name, c->path);
		g = find(gs, c->name, strlen(c->name));
		if (g)
			g->configured = true;
	}
	each_in_directory(gs, attach_known);
}

void galleries_stop(struct galleries *gs)
{
	gs->stopped = true;
	for (struct gallery *g = gs->first; g; g = g->next) {
		struct waiter *waiters = g->waiters;

		if (g->has_thread)
			pthread_join(g->thread, NULL);
		if (g->state != GALLERY_CLOSING || !g->has_thread)
			keeper_destroy(g->keeper);
		g->keeper = NULL;
		g->state = GALLERY_CLOSING;
		g->waiters = NULL;
		tell(waiters, -ECANCELED, NULL);
	}
}

void galleries_destroy(struct galleries *gs)
{
	if (!gs)
		return;
	for (struct gallery *g = gs->first, *next; g; g = next) {
		next = g->next;
		gallery_free(g);
	}
	free(gs);
}
