/* SPDX-License-Identifier: MIT */
/* The galleries that are served, by name: attached, detached, created, and what requests hold of them meanwhile. */
#ifndef LINEUPD_GALLERY_H
#define LINEUPD_GALLERY_H

#include "keeper.h"

/*
 * Loop thread, all of it. A gallery is attached, created and detached by a thread of its own, so that the loop goes
 * on; requests for a gallery that is being created or attached wait for it. Who uses a keeper across a return to the
 * loop holds it (gallery_get, gallery_put); a detach waits for them.
 */
struct galleries;
struct gallery;

int galleries_create(struct lineup_ctx *ctx, struct lineup_crew *crew, struct loop *loop,
		     const struct config *config, struct galleries **galleries);
/*
 * Attaches what the configuration and its directory name; blocks: before clients are served. What cannot be opened is
 * logged, and a failure only if a [gallery] names it.
 */
int galleries_open(struct galleries *galleries);
/* Whether @name may be a gallery's. */
bool gallery_name_ok(const char *name, size_t size);
const char *gallery_name(const struct gallery *gallery);
/*
 * Why a gallery that is known could not be opened: valid until the next attach, detach or reload; NULL: it could, or
 * is unknown. It must not look like one that is missing.
 */
const char *gallery_failure(struct galleries *galleries, const char *name, size_t size);
/*
 * Ends all keepers: their operations and searches come back, and galleries may still be put. Blocks: not while
 * clients are served.
 */
void galleries_stop(struct galleries *galleries);
void galleries_destroy(struct galleries *galleries); /* after galleries_stop; takes NULL */
void galleries_reload(struct galleries *galleries, const struct config *config);

struct gallery *gallery_get(struct galleries *galleries, const char *name, size_t size); /* NULL: none, or not ready */
struct keeper *gallery_keeper(struct gallery *gallery);
void gallery_put(struct gallery *gallery);

/* @done comes on the loop thread, later or before the function returns: 0, or -errno with a message. */
typedef void gallery_done_fn(void *arg, int err, const char *message);
/* If a gallery of this name is being opened or closed: @done comes when that has ended, whatever came of it. false: none is. */
bool gallery_wait(struct galleries *galleries, const char *name, size_t size, gallery_done_fn *done, void *arg);
/*
 * -EINVAL: not a gallery's name, or no directory to create it in. -EEXIST: there is one, or it was under way (@done
 * then comes when that has ended).
 */
void gallery_create(struct galleries *galleries, const char *name, size_t size, uint32_t dim,
		    enum lineup_store store, const char *model, gallery_done_fn *done, void *arg);
void gallery_attach(struct galleries *galleries, const char *name, size_t size, const char *path, gallery_done_fn *done, void *arg);
void gallery_detach(struct galleries *galleries, const char *name, size_t size, gallery_done_fn *done, void *arg);
void galleries_each(struct galleries *galleries, void (*each)(void *arg, struct gallery *gallery), void *arg);
uint32_t galleries_count(const struct galleries *galleries);

#endif
