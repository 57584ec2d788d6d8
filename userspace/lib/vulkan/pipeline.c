// SPDX-License-Identifier: MIT
// Compute pipelines and the cache of compiled ones on disk.
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vk.h"

/*
 * The cache is one file a device, driver and set of shaders, named by a hash of all three: struct cache_head, then what the driver gave. A file that is not
 * exactly so is ignored and replaced at the next save. Nothing depends on it but time.
 */
struct cache_head {
	char magic[8];
	uint8_t key[32];
	uint8_t digest[32]; /* BLAKE2b-256 of the data */
	uint64_t bytes;
};
_Static_assert(sizeof(struct cache_head) == 80, "cache_head");

static const char cache_magic[8] = "LINEUPVC";

enum { CACHE_BYTES_MAX = 64 << 20, CONSTANTS_MAX = 16 };

/* The directory, made if need be; "" if there is none to be had. */
int lineup_vk_cache_dir(const struct lineup_ctx *ctx, char *dir, size_t size)
{
	const char *given = ctx->gpu_test.cache_dir, *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char parent[512];

	if (given) {
		snprintf(dir, size, "%s", given);
		return 0;
	}
	if (xdg && xdg[0] == '/')
		snprintf(parent, sizeof(parent), "%s", xdg);
	else if (home && home[0] == '/')
		snprintf(parent, sizeof(parent), "%s/.cache", home);
	else
		return -ENOENT;
	mkdir(parent, 0700);
	if ((size_t)snprintf(dir, size, "%s/lineup", parent) >= size)
		return -ENAMETOOLONG;
	return mkdir(dir, 0700) && errno != EEXIST ? -errno : 0;
}

int lineup_vk_cache_path(struct lineup_vk_device *d, const char *suffix, char *path, size_t size)
{
	char dir[560], hex[33];
	int err = lineup_vk_cache_dir(d->ctx, dir, sizeof(dir));

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

/* The driver's part of a file that is whole and ours; NULL: there is none. */
static uint8_t *cache_read(const struct lineup_vk_device *d, const char *path, size_t *size)
{
	struct cache_head head;
	uint8_t digest[32], *data = NULL;
	FILE *f = fopen(path, "re");

	if (!f)
		return NULL;
	if (fread(&head, sizeof(head), 1, f) != 1 || memcmp(head.magic, cache_magic, sizeof(head.magic)) != 0 ||
	    memcmp(head.key, d->cache_key, sizeof(head.key)) != 0 || head.bytes > CACHE_BYTES_MAX || head.bytes < 32)
		goto out;
	data = malloc(head.bytes);
	if (!data)
		goto out;
	*size = head.bytes;
	if (fread(data, 1, *size, f) == *size && fgetc(f) == EOF) {
		crypto_generichash(digest, sizeof(digest), data, *size, NULL, 0);
		/* The driver's own header: its length, version 1, and the UUID at byte 16. */
		if (!memcmp(digest, head.digest, sizeof(digest)) && !memcmp(data + 16, d->pipeline_cache_uuid, VK_UUID_SIZE))
			goto out;
	}
	free(data);
	data = NULL;
out:
	fclose(f);
	return data;
}

int lineup_vk_cache_open(struct lineup_vk_device *d, const uint8_t hash[32])
{
	VkPipelineCacheCreateInfo info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO };
	uint8_t *data = NULL;
	char path[640];
	size_t size = 0;
	int err;

	make_key(d, hash);
	if (!lineup_vk_cache_path(d, "", path, sizeof(path)))
		data = cache_read(d, path, &size);
	info.pInitialData = data;
	info.initialDataSize = data ? size : 0;
	err = lineup_vk_result(d, d->api.CreatePipelineCache(d->device, &info, NULL, &d->cache), "making a pipeline cache");
	if (err && err != -ENODEV && data) {
		info.pInitialData = NULL;
		info.initialDataSize = 0;
		err = lineup_vk_result(d, d->api.CreatePipelineCache(d->device, &info, NULL, &d->cache), "making a pipeline cache");
	}
	free(data);
	if (!err)
		lineup_vk_name(d, VK_OBJECT_TYPE_PIPELINE_CACHE, (uint64_t)d->cache, "lineup pipeline cache");
	return err;
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

void lineup_vk_cache_save(struct lineup_vk_device *d)
{
	struct cache_head head = { 0 };
	char path[640], temporary[660];
	uint8_t *data = NULL;
	size_t size = 0;
	bool done;
	int fd;

	if (!d->cache || atomic_load(&d->lost) || lineup_vk_cache_path(d, "", path, sizeof(path)))
		return;
	if (d->api.GetPipelineCacheData(d->device, d->cache, &size, NULL) != VK_SUCCESS || size < 32 || size > CACHE_BYTES_MAX)
		return;
	data = malloc(size);
	if (!data)
		return;
	if (d->api.GetPipelineCacheData(d->device, d->cache, &size, data) != VK_SUCCESS)
		goto out;
	memcpy(head.magic, cache_magic, sizeof(head.magic));
	memcpy(head.key, d->cache_key, sizeof(head.key));
	head.bytes = size;
	crypto_generichash(head.digest, sizeof(head.digest), data, size, NULL, 0);
	snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		goto out;
	done = write_all(fd, &head, sizeof(head)) && write_all(fd, data, size);
	if (close(fd) || !done || rename(temporary, path))
		unlink(temporary);
out:
	free(data);
}

int lineup_vk_pipeline_create(struct lineup_vk_device *d, const struct lineup_vk_spirv *spirv, const uint32_t *constants, uint32_t count,
			      uint32_t push_bytes, uint32_t subgroup, struct lineup_vk_pipeline *pipeline)
{
	VkSpecializationMapEntry map[CONSTANTS_MAX];
	VkSpecializationInfo special = { .mapEntryCount = count, .pMapEntries = map, .dataSize = 4 * (size_t)count, .pData = constants };
	VkPipelineShaderStageRequiredSubgroupSizeCreateInfo required = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
		.requiredSubgroupSize = subgroup,
	};
	VkPushConstantRange range = { .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = push_bytes };
	VkPipelineLayoutCreateInfo layout = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
		.pushConstantRangeCount = 1,
		.pPushConstantRanges = &range,
	};
	VkShaderModuleCreateInfo module = {
		.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
		.codeSize = spirv->bytes,
		.pCode = spirv->words,
	};
	VkComputePipelineCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
		.stage = {
			.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
			.pNext = subgroup ? &required : NULL,
			.flags = subgroup && d->full_subgroups ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
			.stage = VK_SHADER_STAGE_COMPUTE_BIT,
			.pName = "main",
			.pSpecializationInfo = &special,
		},
	};
	struct lineup_vk_pipeline p = { .push_bytes = push_bytes };
	int err;

	if (atomic_load(&d->lost))
		return -ENODEV;
	if (count > CONSTANTS_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++)
		map[i] = (VkSpecializationMapEntry){ .constantID = i, .offset = 4 * i, .size = 4 };
	err = lineup_vk_result(d, d->api.CreateShaderModule(d->device, &module, NULL, &info.stage.module), "reading a shader");
	if (!err)
		err = lineup_vk_result(d, d->api.CreatePipelineLayout(d->device, &layout, NULL, &p.layout), "making a pipeline");
	info.layout = p.layout;
	if (!err)
		err = lineup_vk_result(d, d->api.CreateComputePipelines(d->device, d->cache, 1, &info, NULL, &p.pipeline), "making a pipeline");
	if (info.stage.module) {
		lineup_vk_name(d, VK_OBJECT_TYPE_SHADER_MODULE, (uint64_t)info.stage.module, "lineup %s module", spirv->name);
		d->api.DestroyShaderModule(d->device, info.stage.module, NULL);
	}
	if (err) {
		lineup_vk_pipeline_destroy(d, &p);
		return err == -ENODEV || err == -ENOMEM ? err : -EIO;
	}
	lineup_vk_name(d, VK_OBJECT_TYPE_PIPELINE, (uint64_t)p.pipeline, "lineup %s", spirv->name);
	lineup_vk_name(d, VK_OBJECT_TYPE_PIPELINE_LAYOUT, (uint64_t)p.layout, "lineup %s layout", spirv->name);
	*pipeline = p;
	return 0;
}

void lineup_vk_pipeline_destroy(struct lineup_vk_device *d, struct lineup_vk_pipeline *pipeline)
{
	if (pipeline->pipeline)
		d->api.DestroyPipeline(d->device, pipeline->pipeline, NULL);
	if (pipeline->layout)
		d->api.DestroyPipelineLayout(d->device, pipeline->layout, NULL);
	*pipeline = (struct lineup_vk_pipeline){ 0 };
}

void lineup_vk_dispatch(struct lineup_vk_device *d, struct lineup_vk_commands *commands, const struct lineup_vk_pipeline *pipeline,
			const void *push, uint32_t x, uint32_t y)
{
	d->api.CmdBindPipeline(commands->buffer, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->pipeline);
	d->api.CmdPushConstants(commands->buffer, pipeline->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, pipeline->push_bytes, push);
	d->api.CmdDispatch(commands->buffer, x, y, 1);
}
