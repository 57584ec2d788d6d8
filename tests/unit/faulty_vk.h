/* SPDX-License-Identifier: MIT */
/* A Vulkan that stands between the library and the real one: counts calls, fails the n-th, lies, misses no object. */
#ifndef FAULTY_VK_H
#define FAULTY_VK_H

#include "vulkan/vk.h"

/*
 * Vulkan's functions carry no argument of ours, so there is one of these per program. It hands all calls on, except that
 *
 *	a call of a kind in fail_mask, number fail_at (from 1), returns fail_result and is not carried out. An import of host memory
 *	is a kind of its own, though it is an AllocateMemory too;
 *	VK_ERROR_DEVICE_LOST is final for its VkDevice, as in life: all that can return it does so from then on. The real device,
 *	which knows nothing of that, is brought to rest first, for the library will free what it may still be using;
 *	a dispatch can be left out, and push constants can be other ones: a driver that computes wrongly;
 *	CreateComputePipelines in a forked child can end or stop it: a driver that crashes or hangs.
 *
 * Objects are counted from creation to destruction; see faulty_vk_leak. All of it may be called by any thread.
 */
#define FAULTY_VK_KINDS(F) \
	F(QueueSubmit2) F(WaitSemaphores) F(GetSemaphoreCounterValue) F(DeviceWaitIdle) F(AllocateMemory) F(Import) F(MapMemory) \
	F(CreateBuffer) F(BindBufferMemory2) F(CreateSemaphore) F(CreateCommandPool) F(AllocateCommandBuffers) F(ResetCommandPool) \
	F(BeginCommandBuffer) F(EndCommandBuffer) F(CreateQueryPool) F(GetQueryPoolResults) F(CreateShaderModule) \
	F(CreatePipelineLayout) F(CreateComputePipelines) F(CreatePipelineCache) F(GetPipelineCacheData) \
	F(SetDebugUtilsObjectNameEXT) F(GetMemoryHostPointerPropertiesEXT)

enum faulty_vk_kind {
#define FAULTY_VK_ENUM(name) FAULTY_VK_##name,
	FAULTY_VK_KINDS(FAULTY_VK_ENUM)
#undef FAULTY_VK_ENUM
	FAULTY_VK_KIND_COUNT,
};

extern const char *const faulty_vk_name[FAULTY_VK_KIND_COUNT];

#define FAULTY_VK(name) (1u << FAULTY_VK_##name)
#define FAULTY_VK_ALL ((1u << FAULTY_VK_KIND_COUNT) - 1)
/* What a real device may lose itself in. */
#define FAULTY_VK_LOSES (FAULTY_VK(QueueSubmit2) | FAULTY_VK(WaitSemaphores) | FAULTY_VK(GetSemaphoreCounterValue))

enum faulty_vk_child {
	FAULTY_VK_CHILD_WORKS = 0,
	FAULTY_VK_CHILD_CRASHES, /* SIGSEGV */
	FAULTY_VK_CHILD_HANGS,
	FAULTY_VK_CHILD_EXITS, /* with status 0, before it has compiled */
};

struct faulty_vk_plan {
	uint32_t fail_mask;
	uint64_t fail_at; /* 0: none */
	bool fail_for_ever; /* and every such call after it */
	VkResult fail_result;
	uint64_t skip_at; /* dispatch number skip_at (from 1) is left out; UINT64_MAX: all are */
	/* Called with a copy of the push constants before they are taken, in the thread that records. */
	void (*push)(void *values, uint32_t size);
	enum faulty_vk_child child;
	void (*freeing)(const void *map, uint64_t size); /* called for mapped memory that is about to be freed */
};

/* Puts itself between @ctx and every device it opens from now on. */
void faulty_vk_attach(struct lineup_ctx *ctx);
/* What happens from now on; NULL: nothing. Counters begin at 0. */
void faulty_vk_set(const struct faulty_vk_plan *plan);

/* Since the last faulty_vk_set: */
uint64_t faulty_vk_calls(uint32_t mask);
uint64_t faulty_vk_dispatches(void);
uint32_t faulty_vk_failed(void); /* calls that were made to fail, those of a lost device not counted */
const char *faulty_vk_failed_name(void); /* of the last one; "" */

/* Devices that exist. Once there are none: NULL, or an object that has not been destroyed. Static. */
uint32_t faulty_vk_devices(void);
const char *faulty_vk_leak(void);

/* Calls @each for every mapping of device memory there is; imported memory is not among them. */
void faulty_vk_mappings(void (*each)(void *arg, const void *map, uint64_t size), void *arg);

#endif
