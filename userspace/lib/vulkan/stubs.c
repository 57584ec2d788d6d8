// SPDX-License-Identifier: MIT
// What answers for the GPUs in a library that was built without Vulkan: there are none.
#include "gpu.h"
#include "score.h"

static const char built_without[] = "this build of lineup has no Vulkan";

int lineup_devices(struct lineup_ctx *ctx, uint32_t flags, void (*each)(void *arg, const struct lineup_device *device), void *arg,
		   const char **why_none)
{
	(void)each;
	(void)arg;
	if (flags & ~(uint32_t)(LINEUP_DEVICES_PROBE | LINEUP_DEVICES_MEASURE))
		return lineup_fail(ctx, -EINVAL, "devices: unknown flags");
	if (why_none)
		*why_none = built_without;
	return 0;
}

int lineup_gpus_create(struct lineup_ctx *ctx, const struct lineup_gpus_setup *setup, struct lineup_gpus **gpus)
{
	(void)gpus;
	if (setup->named || setup->devices)
		return lineup_fail(ctx, -ENODEV, "devices: %s", built_without);
	return -ENODEV;
}

/* The others are never called: there is no object to call them with. */

void lineup_gpus_destroy(struct lineup_gpus *gpus)
{
	(void)gpus;
}

int lineup_gpus_attach(struct lineup_gpus *gpus, struct lineup_stream *stream)
{
	(void)gpus;
	(void)stream;
	return -ENODEV;
}

int lineup_gpus_node(const struct lineup_gpus *gpus)
{
	(void)gpus;
	return -1;
}

void lineup_gpus_run_on_node(int node)
{
	(void)node;
}

uint32_t lineup_gpus_probes_max(const struct lineup_gpus *gpus)
{
	(void)gpus;
	return 0;
}

bool lineup_gpus_fits(const struct lineup_gpus *gpus)
{
	(void)gpus;
	return false;
}

bool lineup_gpus_wants(void *gpus, uint32_t segment, uint64_t block)
{
	(void)gpus;
	(void)segment;
	(void)block;
	return true;
}

int lineup_gpus_begin(struct lineup_gpus *gpus, const struct lineup_gpus_pass *pass)
{
	(void)gpus;
	(void)pass;
	return -ENODEV;
}

int lineup_gpus_feed(struct lineup_gpus *gpus, const struct lineup_stream_block *block)
{
	(void)gpus;
	(void)block;
	return -ENODEV;
}

int lineup_gpus_finish(struct lineup_gpus *gpus, struct lineup_pool *pool)
{
	(void)gpus;
	(void)pool;
	return -ENODEV;
}

int lineup_gpus_recover(struct lineup_gpus *gpus)
{
	(void)gpus;
	return -ENODEV;
}

void lineup_gpus_facts(const struct lineup_gpus *gpus, struct lineup_gpus_facts *facts)
{
	(void)gpus;
	*facts = (struct lineup_gpus_facts){ .backend = "none", .staging = "none" };
}

const char *lineup_gpus_why_not(struct lineup_ctx *ctx)
{
	(void)ctx;
	return built_without;
}
