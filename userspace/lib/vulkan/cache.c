// SPDX-License-Identifier: MIT
// The cache of compiled pipelines on disk. Nothing depends on it but time.
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vk.h"

/*
 * One file a device, driver and set of shaders, named by a hash of all three: struct cache_head, then what the driver gave. A driver trusts
 * what it is given, so a file that is not exactly as it was written, or not ours, is ignored, and replaced at the next save.
 */
struct cache_head {
	char magic[8];
	uint8_t key[32];
	uint8_t digest[32]; /* BLAKE2b-256 of the data */
	uint64_t bytes;     /* of the data */
};
_Static_assert(sizeof(struct cache_head) == 80, "cache_head");

static const char cache_magic[8] = "LINEUPVC";

enum { CACHE_BYTES_MAX = 64 << 20, DRIVER_HEAD_BYTES = sizeof(VkPipelineCacheHeaderVersionOne) };

/* The directory exists, is the user's own, and others cannot write to it. */
static int make_directory(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	if (stat(path, &st))
		return -errno;
	return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)) ? 0 : -EPERM;
}

static int cache_dir(const struct lineup_ctx *ctx, char *dir, size_t size)
{
	const char *given = ctx->gpu_test.cache_dir, *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	const char *base = xdg && xdg[0] == '/' ? xdg : home && home[0] == '/' ? home : NULL, *below = base == xdg ? "" : "/.cache";
	char parent[PATH_MAX];

	if (given)
		return (size_t)snprintf(dir, size, "%s", given) < size ? 0 : -ENAMETOOLONG;
	if (!base)
		return -ENOENT;
	if ((size_t)snprintf(parent, sizeof(parent), "%s%s", base, below) >= sizeof(parent) ||
	    (size_t)snprintf(dir, size, "%s%s/lineup", base, below) >= size)
		return -ENAMETOOLONG;
	mkdir(parent, 0700); /* if this fails, so does the next */
	return make_directory(dir);
}

int lineup_vk_cache_path(struct lineup_vk_device *d, const char *suffix, char *path, size_t size)
{
	char dir[PATH_MAX], hex[33];
	int err = cache_dir(d->ctx, dir, sizeof(dir));

	if (err)
		return err;
	sodium_bin2hex(hex, sizeof(hex), d->cache_key, 16);
	return (size_t)snprintf(path, size, "%s/pipelines-%s%s", dir, hex, suffix) < size ? 0 : -ENAMETOOLONG;
}

static void make_key(struct lineup_vk_device *d, const uint8_t hash[32])
{
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, sizeof(d->cache_key));
	crypto_generichash_update(&state, d->pipeline_cache_uuid, sizeof(d->pipeline_cache_uuid));
	crypto_generichash_update(&state, d->info.uuid, sizeof(d->info.uuid));
	crypto_generichash_update(&state, (const uint8_t *)&d->driver_version, sizeof(d->driver_version));
	crypto_generichash_update(&state, hash, 32);
	crypto_generichash_final(&state, d->cache_key, sizeof(d->cache_key));
}

static bool read_all(int fd, void *data, size_t size)
{
	uint8_t *p = data;

	while (size) {
		ssize_t n = read(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		size -= (size_t)n;
	}
	return true;
}

static bool write_all(int fd, const void *data, size_t size)
{
	const uint8_t *p = data;

	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		size -= (size_t)n;
	}
	return true;
}

/* The driver checks its header as well, but drivers have been wrong there. */
static bool is_this_driver(const struct lineup_vk_device *d, const uint8_t *data)
{
	VkPipelineCacheHeaderVersionOne head;

	memcpy(&head, data, sizeof(head));
	return head.headerSize >= sizeof(head) && head.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE &&
	       !memcmp(head.pipelineCacheUUID, d->pipeline_cache_uuid, VK_UUID_SIZE);
}

/* The driver's part of an open file that is whole and ours; NULL: it is not. */
static uint8_t *read_file(const struct lineup_vk_device *d, int fd, size_t *size)
{
	struct cache_head head;
	struct stat st;
	uint8_t digest[32], *data;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || !read_all(fd, &head, sizeof(head)))
		return NULL;
	if (memcmp(head.magic, cache_magic, sizeof(head.magic)) != 0 || memcmp(head.key, d->cache_key, sizeof(head.key)) != 0 ||
	    head.bytes > CACHE_BYTES_MAX || head.bytes < DRIVER_HEAD_BYTES || (uint64_t)st.st_size != sizeof(head) + head.bytes)
		return NULL;
	data = malloc(head.bytes);
	if (data && read_all(fd, data, head.bytes)) {
		crypto_generichash(digest, sizeof(digest), data, head.bytes, NULL, 0);
		if (!memcmp(digest, head.digest, sizeof(digest)) && is_this_driver(d, data)) {
			*size = head.bytes;
			return data;
		}
	}
	free(data);
	return NULL;
}

static uint8_t *load(struct lineup_vk_device *d, size_t *size)
{
	uint8_t *data = NULL;
	char path[PATH_MAX];
	int fd;

	if (lineup_vk_cache_path(d, "", path, sizeof(path)))
		return NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0) {
		data = read_file(d, fd, size);
		close(fd);
	}
	return data;
}

int lineup_vk_cache_open(struct lineup_vk_device *d, const uint8_t hash[32])
{
	VkPipelineCacheCreateInfo info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO };
	VkPipelineCache cache = VK_NULL_HANDLE;
	uint8_t *data;
	int err;

	if (atomic_load(&d->lost))
		return -ENODEV;
	if (d->cache)
		return 0;
	make_key(d, hash);
	data = load(d, &info.initialDataSize);
	info.pInitialData = data;
	err = lineup_vk_result(d, d->api.CreatePipelineCache(d->device, &info, NULL, &cache), "making a pipeline cache");
	if (err && err != -ENODEV && data) {
		info.pInitialData = NULL;
		info.initialDataSize = 0;
		err = lineup_vk_result(d, d->api.CreatePipelineCache(d->device, &info, NULL, &cache), "making a pipeline cache");
	}
	free(data);
	if (err == -ENODEV)
		return err;
	if (err) /* without one, compiling takes longer */
		return 0;
	d->cache = cache;
	lineup_vk_name(d, VK_OBJECT_TYPE_PIPELINE_CACHE, (uint64_t)d->cache, "lineup pipeline cache");
	return 0;
}

/* Replaced as a whole: whoever reads at the same time, or after a crash, finds the old one or the new one. */
static void replace(const char *path, const struct cache_head *head, const uint8_t *data)
{
	char temporary[PATH_MAX];
	bool done;
	int fd;

	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= sizeof(temporary))
		return;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return;
	done = write_all(fd, head, sizeof(*head)) && write_all(fd, data, head->bytes);
	if (close(fd) || !done || rename(temporary, path))
		unlink(temporary);
}

void lineup_vk_cache_save(struct lineup_vk_device *d)
{
	struct cache_head head = { 0 };
	char path[PATH_MAX];
	uint8_t *data;
	size_t size = 0;

	if (!d->cache || atomic_load(&d->lost) || lineup_vk_cache_path(d, "", path, sizeof(path)))
		return;
	if (lineup_vk_result(d, d->api.GetPipelineCacheData(d->device, d->cache, &size, NULL), "reading its pipeline cache") ||
	    size < DRIVER_HEAD_BYTES || size > CACHE_BYTES_MAX)
		return;
	data = malloc(size);
	if (data && size >= DRIVER_HEAD_BYTES &&
	    !lineup_vk_result(d, d->api.GetPipelineCacheData(d->device, d->cache, &size, data), "reading its pipeline cache")) {
		memcpy(head.magic, cache_magic, sizeof(head.magic));
		memcpy(head.key, d->cache_key, sizeof(head.key));
		head.bytes = size;
		crypto_generichash(head.digest, sizeof(head.digest), data, size, NULL, 0);
		replace(path, &head, data);
	}
	free(data);
}
