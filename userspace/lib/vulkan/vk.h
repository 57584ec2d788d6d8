/* SPDX-License-Identifier: MIT */
/* The device layer: Vulkan's functions as a table, one opened device, its buffers, queues and commands. For files of this folder. */
#ifndef LINEUP_VK_H
#define LINEUP_VK_H

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include "internal.h"

/*
 * Every call of Vulkan goes through this table, so that a test can stand between (internal.h: gpu_test.wrap). The library is
 * opened at run time: a program that never asks for a GPU needs no loader and loads no driver.
 */
#define LINEUP_VK_GLOBAL_FUNCTIONS(F) \
	F(CreateInstance) F(EnumerateInstanceExtensionProperties) F(EnumerateInstanceLayerProperties) F(EnumerateInstanceVersion)
#define LINEUP_VK_INSTANCE_FUNCTIONS(F) \
	F(DestroyInstance) F(EnumeratePhysicalDevices) F(GetPhysicalDeviceProperties2) F(GetPhysicalDeviceFeatures2) \
	F(GetPhysicalDeviceMemoryProperties2) F(GetPhysicalDeviceQueueFamilyProperties2) \
	F(GetPhysicalDeviceExternalBufferProperties) F(EnumerateDeviceExtensionProperties) F(CreateDevice) F(GetDeviceProcAddr)
#define LINEUP_VK_DEVICE_FUNCTIONS(F) \
	F(DestroyDevice) F(GetDeviceQueue) F(DeviceWaitIdle) F(QueueSubmit2) \
	F(AllocateMemory) F(FreeMemory) F(MapMemory) F(UnmapMemory) F(CreateBuffer) F(DestroyBuffer) F(BindBufferMemory2) \
	F(GetBufferMemoryRequirements2) F(GetBufferDeviceAddress) \
	F(CreateSemaphore) F(DestroySemaphore) F(WaitSemaphores) F(GetSemaphoreCounterValue) \
	F(CreateCommandPool) F(DestroyCommandPool) F(AllocateCommandBuffers) F(ResetCommandPool) \
	F(BeginCommandBuffer) F(EndCommandBuffer) \
	F(CmdCopyBuffer) F(CmdFillBuffer) F(CmdPipelineBarrier2) F(CmdBindPipeline) F(CmdPushConstants) F(CmdDispatch) \
	F(CmdWriteTimestamp2) F(CmdResetQueryPool) F(CreateQueryPool) F(DestroyQueryPool) F(GetQueryPoolResults) \
	F(CreateShaderModule) F(DestroyShaderModule) F(CreatePipelineLayout) F(DestroyPipelineLayout) \
	F(CreateComputePipelines) F(DestroyPipeline) F(CreatePipelineCache) F(DestroyPipelineCache) F(GetPipelineCacheData)

struct lineup_vk_api {
	PFN_vkGetInstanceProcAddr GetInstanceProcAddr;
#define LINEUP_VK_POINTER(name) PFN_vk##name name;
	LINEUP_VK_GLOBAL_FUNCTIONS(LINEUP_VK_POINTER)
	LINEUP_VK_INSTANCE_FUNCTIONS(LINEUP_VK_POINTER)
	LINEUP_VK_DEVICE_FUNCTIONS(LINEUP_VK_POINTER)
#undef LINEUP_VK_POINTER
	/* Of extensions: NULL where the device has them not. */
	PFN_vkSetDebugUtilsObjectNameEXT SetDebugUtilsObjectNameEXT;
	PFN_vkGetMemoryHostPointerPropertiesEXT GetMemoryHostPointerPropertiesEXT;
	PFN_vkGetDeviceFaultInfoEXT GetDeviceFaultInfoEXT;
	void *library; /* of dlopen */
};

/* An int8 cooperative-matrix shape that the device lists: s8 x s8 + s32 -> s32, subgroup scope, not saturating. */
struct lineup_vk_shape {
	uint32_t m, n, k;
	bool khr; /* listed by the KHR extension; else by NV's */
};

enum { LINEUP_VK_SHAPES_MAX = 16 };

struct lineup_vk_queue {
	VkQueue queue;
	uint32_t family;
	VkSemaphore timeline;
	uint64_t submitted; /* value that the newest submission signals */
	const char *name;
};

/*
 * One opened device. Made by one thread; recording, submitting and buffers: one thread at a time (the caller's lock); waiting: any
 * thread. After VK_ERROR_DEVICE_LOST .lost is set, every call returns -ENODEV at once, and only destroying and close are left.
 */
struct lineup_vk_device {
	struct lineup_ctx *ctx;
	struct lineup_vk_api api;
	struct lineup_device info;        /* lineup.h: name, ids, place, memory, why variants were refused */
	VkInstance instance;
	VkPhysicalDevice physical;
	VkDevice device;
	VkPhysicalDeviceMemoryProperties memory;
	struct lineup_vk_queue compute;
	struct lineup_vk_queue transfer;  /* .queue is VK_NULL_HANDLE where there is no queue of its own: copies go to compute */
	VkPipelineCache cache;
	uint8_t cache_key[32];            /* names its file */
	uint8_t pipeline_cache_uuid[VK_UUID_SIZE];
	uint32_t driver_version;
	uint64_t allocation_max;          /* of one buffer: maxMemoryAllocationSize, maxBufferSize */
	uint64_t import_alignment;        /* 0: no host-pointer import */
	uint32_t shared_bytes;            /* maxComputeSharedMemorySize */
	uint32_t invocations_max;         /* of a workgroup */
	uint32_t subgroup_size;           /* the default one */
	uint32_t subgroup_min, subgroup_max; /* that can be required; 0: not */
	bool full_subgroups;              /* can be required */
	bool dot;                         /* shaderIntegerDotProduct, enabled */
	bool dot_accelerated;
	bool memory_budget;
	bool coopmat_khr, coopmat_nv;     /* extension and feature, enabled */
	struct lineup_vk_shape shapes[LINEUP_VK_SHAPES_MAX];
	uint32_t shape_count;
	double timestamp_ns;              /* of one tick; 0: no timestamps */
	atomic_bool lost;
};

/* api.c: each fills its part of the table; -ENODEV, silent: there is no loader, or it lacks a function. The library stays opened. */

int lineup_vk_api_load(struct lineup_vk_api *api);
int lineup_vk_api_load_instance(struct lineup_vk_api *api, VkInstance instance);
int lineup_vk_api_load_device(struct lineup_vk_api *api, VkDevice device);
void lineup_vk_api_unload(struct lineup_vk_api *api);

/* find.c */

/*
 * Fills @devices with what there is, at most @max, in the order of indexes: GPUs first, then software devices; *@count is how many
 * there are. -ENOMEM, logged.
 * Without a loader or driver: none. @why (may be NULL) becomes the reason for none (static).
 */
int lineup_vk_list(struct lineup_ctx *ctx, struct lineup_device *devices, uint32_t max, uint32_t *count, const char **why);

/* device.c */

/* Opens the device that lineup_vk_list described. Logs. -ENODEV (gone, fails), -ENOTSUP (lacks what every variant needs), -ENOMEM. */
int lineup_vk_open(struct lineup_ctx *ctx, const struct lineup_device *which, struct lineup_vk_device **device);
void lineup_vk_close(struct lineup_vk_device *device); /* takes NULL; waits for the device, even a lost one */
/*
 * What @result is as -errno, 0 for success: the only place that knows VkResult. Marks a device as lost, and warns of that once, with what was being
 * done (@what). -ETIMEDOUT, -ENODEV, -ENOMEM, -ENOTSUP, -EIO. Any thread.
 */
int lineup_vk_result(struct lineup_vk_device *device, VkResult result, const char *what);
/* Gives @handle the debug name @name where VK_EXT_debug_utils is there. */
void lineup_vk_name(struct lineup_vk_device *device, VkObjectType type, uint64_t handle, const char *format, ...)
	LINEUP_PRINTF(4, 5);

/* drm.c */

/* Fills node, pci where it is not known yet, and numa_node of @info. */
void lineup_vk_locate(struct lineup_device *info, bool has_render, uint32_t major, uint32_t minor);
/* Whether there may be a GPU at all, by device nodes: loading drivers to find none costs much more. */
bool lineup_vk_nodes_exist(void);
/* Keeps the calling thread, and the pages of @memory, to NUMA node @node where the machine has several; -1: as they are. */
void lineup_vk_run_on_node(int node);
void lineup_vk_bind_to_node(void *memory, size_t size, int node);

/* select.c */

/*
 * The devices that @selector (lineup_search_setup.devices) names, in its order, one more than once if it says so. NULL or "auto": all that
 * are no software devices; if there are none and @software is set, the first software device. -ENODEV: none (at info level for auto
 * without @software, else as an error);
 * -EINVAL, -ENOTSUP: logged.
 */
int lineup_vk_select(struct lineup_ctx *ctx, const char *selector, bool software, struct lineup_device devices[LINEUP_DEVICES_MAX],
		     uint32_t *count);

/* memory.c */

enum lineup_vk_where {
	LINEUP_VK_DEVICE,   /* device-local */
	LINEUP_VK_UPLOAD,   /* host-visible and coherent, mapped; written by the host */
	LINEUP_VK_READBACK, /* host-visible, coherent, cached where there is such; mapped; read by the host */
};

struct lineup_vk_buffer {
	VkBuffer buffer;
	VkDeviceMemory memory;
	VkDeviceAddress address;
	void *map;          /* NULL for device-local */
	uint64_t size;
	bool imported;      /* the memory is the caller's */
};

/* Usable as storage, source and destination of copies; with a device address. -ENOMEM is silent: the caller has another way or says it. */
int lineup_vk_buffer_create(struct lineup_vk_device *device, enum lineup_vk_where where, uint64_t size, const char *name,
			    struct lineup_vk_buffer *buffer);
/* Imports @size bytes of host memory, both multiples of import_alignment. -ENOTSUP (silent): the driver does not, for this memory. */
int lineup_vk_buffer_import(struct lineup_vk_device *device, void *memory, uint64_t size, const char *name,
			    struct lineup_vk_buffer *buffer);
void lineup_vk_buffer_destroy(struct lineup_vk_device *device, struct lineup_vk_buffer *buffer); /* takes a zeroed one */
/* Bytes of device memory that can be had now, by the budget extension or the heap's size. */
uint64_t lineup_vk_memory_available(struct lineup_vk_device *device);

/* command.c */

struct lineup_vk_commands { /* one command buffer that is recorded again and again */
	VkCommandPool pool;
	VkCommandBuffer buffer;
};

int lineup_vk_commands_create(struct lineup_vk_device *device, const struct lineup_vk_queue *queue, const char *name,
			      struct lineup_vk_commands *commands);
void lineup_vk_commands_destroy(struct lineup_vk_device *device, struct lineup_vk_commands *commands);
/* The last submission of it must be done. */
int lineup_vk_begin(struct lineup_vk_device *device, struct lineup_vk_commands *commands);
void lineup_vk_copy(struct lineup_vk_device *device, struct lineup_vk_commands *commands, const struct lineup_vk_buffer *from,
		    uint64_t from_offset, const struct lineup_vk_buffer *to, uint64_t to_offset, uint64_t size);
void lineup_vk_fill(struct lineup_vk_device *device, struct lineup_vk_commands *commands, const struct lineup_vk_buffer *to,
		    uint64_t offset, uint64_t size, uint32_t word);
/* All before it (shaders, copies, fills) is visible to all after it, host reads after the submission's end included. */
void lineup_vk_barrier(struct lineup_vk_device *device, struct lineup_vk_commands *commands);
/*
 * Ends and submits; the device first waits for @after's timeline to reach @after_value (NULL: for nothing). *@value: what the queue's timeline
 * reaches when all is done.
 */
int lineup_vk_submit(struct lineup_vk_device *device, struct lineup_vk_queue *queue, struct lineup_vk_commands *commands,
		     const struct lineup_vk_queue *after, uint64_t after_value, uint64_t *value);
/* Any thread. -ETIMEDOUT (silent), -ENODEV. */
int lineup_vk_wait(struct lineup_vk_device *device, const struct lineup_vk_queue *queue, uint64_t value, uint64_t timeout_ns);

/* cache.c */

/*
 * Opens the pipeline cache of this device, with what is kept of it on disk. @hash: of all SPIR-V that is used. Once open it stays so, whatever
 * @hash, until close. That there is none, on disk or at all, costs time only. -ENODEV.
 */
int lineup_vk_cache_open(struct lineup_vk_device *device, const uint8_t hash[32]);
void lineup_vk_cache_save(struct lineup_vk_device *device); /* silent, whatever happens */
/* The file's path with @suffix appended, for notes kept beside it; after lineup_vk_cache_open. -errno, silent: there is no directory. */
int lineup_vk_cache_path(struct lineup_vk_device *device, const char *suffix, char *path, size_t size);

/* pipeline.c */

struct lineup_vk_spirv {
	const char *name;
	const uint32_t *words;
	size_t bytes;
};

struct lineup_vk_pipeline {
	VkPipeline pipeline;
	VkPipelineLayout layout;
	uint32_t push_bytes;
};

/*
 * A compute pipeline with @count specialization constants, ids 0, 1, 2 ..., all uint32_t, push constants of @push_bytes. @subgroup: size
 * to require, with full subgroups; 0: none. -EIO, -ENODEV, -ENOMEM; said at info level only, for a variant that does not compile has a
 * successor.
 */
int lineup_vk_pipeline_create(struct lineup_vk_device *device, const struct lineup_vk_spirv *spirv, const uint32_t *constants,
			      uint32_t count, uint32_t push_bytes, uint32_t subgroup, struct lineup_vk_pipeline *pipeline);

void lineup_vk_pipeline_destroy(struct lineup_vk_device *device, struct lineup_vk_pipeline *pipeline);
void lineup_vk_dispatch(struct lineup_vk_device *device, struct lineup_vk_commands *commands,
			const struct lineup_vk_pipeline *pipeline, const void *push, uint32_t x, uint32_t y);

#endif
