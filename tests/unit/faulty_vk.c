// SPDX-License-Identifier: MIT
// Wrappers of Vulkan's functions behind a plan of faults.
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "faulty_vk.h"

enum { DEVICES_MAX = 16, QUEUES_MAX = 4, MEMORIES_MAX = 4096 };

/* Objects that are counted. */
enum object {
	MEMORY,
	BUFFER,
	SEMAPHORE,
	COMMAND_POOL,
	QUERY_POOL,
	SHADER_MODULE,
	PIPELINE_LAYOUT,
	PIPELINE,
	PIPELINE_CACHE,
	OBJECTS
};

static const char *const object_leaks[OBJECTS] = {
	"a VkDeviceMemory", "a VkBuffer",	  "a VkSemaphore", "a VkCommandPool",	"a VkQueryPool",
	"a VkShaderModule", "a VkPipelineLayout", "a VkPipeline",  "a VkPipelineCache",
};

const char *const faulty_vk_name[FAULTY_VK_KIND_COUNT] = {
#define FAULTY_VK_TEXT(name) #name,
	FAULTY_VK_KINDS(FAULTY_VK_TEXT)
#undef FAULTY_VK_TEXT
};

struct device {
	VkDevice handle;
	VkQueue queues[QUEUES_MAX];
	uint32_t queue_count;
	bool lost;
};

struct memory {
	VkDeviceMemory handle;
	uint64_t size;
	const void *map; /* NULL: not mapped */
};

static struct {
	pthread_mutex_t lock;
	pthread_mutex_t queue_lock; /* a queue is at rest only while nobody submits to it */
	struct lineup_vk_api real;
	pid_t pid;
	struct faulty_vk_plan plan;
	uint64_t calls[FAULTY_VK_KIND_COUNT];
	uint64_t counted;
	uint64_t dispatches;
	uint32_t failed;
	const char *failed_name;
	struct device devices[DEVICES_MAX];
	uint32_t device_count;
	struct memory memories[MEMORIES_MAX];
	uint32_t memory_count;
	int64_t alive[OBJECTS];
} faulty = { .lock = PTHREAD_MUTEX_INITIALIZER, .queue_lock = PTHREAD_MUTEX_INITIALIZER, .failed_name = "" };

/* ---- the plan ---- */

static struct device *device_of(VkDevice device, VkQueue queue)
{
	for (uint32_t i = 0; i < faulty.device_count; i++) {
		struct device *d = &faulty.devices[i];

		if (device && d->handle == device)
			return d;
		for (uint32_t q = 0; queue && q < d->queue_count; q++)
			if (d->queues[q] == queue)
				return d;
	}
	return NULL;
}

/*
 * Whether this call of @kind, by @device or to @queue, if they are known, fails: with *@result. *@lost: the device that is lost by
 * it, and is to be brought to rest.
 */
static bool struck(enum faulty_vk_kind kind, VkDevice device, VkQueue queue, VkResult *result, VkDevice *lost)
{
	struct device *d;
	bool fails = false;

	*lost = VK_NULL_HANDLE;

	pthread_mutex_lock(&faulty.lock);
	d = device_of(device, queue);
	faulty.calls[kind]++;
	if (d && d->lost) {
		*result = VK_ERROR_DEVICE_LOST;
		fails = true;
	} else if (faulty.plan.fail_mask & 1u << kind) {
		faulty.counted++;
		fails = faulty.plan.fail_at && (faulty.counted == faulty.plan.fail_at ||
						(faulty.plan.fail_for_ever && faulty.counted > faulty.plan.fail_at));
		if (fails) {
			*result = faulty.plan.fail_result;
			faulty.failed++;
			faulty.failed_name = faulty_vk_name[kind];
			if (d && *result == VK_ERROR_DEVICE_LOST) {
				d->lost = true;
				*lost = d->handle;
			}
		}
	}
	pthread_mutex_unlock(&faulty.lock);
	return fails;
}

static bool strikes(enum faulty_vk_kind kind, VkDevice device, VkQueue queue, VkResult *result)
{
	VkDevice lost;
	bool fails = struck(kind, device, queue, result, &lost);

	if (lost) {
		pthread_mutex_lock(&faulty.queue_lock);
		faulty.real.DeviceWaitIdle(lost);
		pthread_mutex_unlock(&faulty.queue_lock);
	}
	return fails;
}

static void born(enum object object, VkResult result, uint32_t count)
{
	pthread_mutex_lock(&faulty.lock);
	faulty.alive[object] += result == VK_SUCCESS ? count : 0;
	pthread_mutex_unlock(&faulty.lock);
}

static void dies(enum object object, bool exists)
{
	pthread_mutex_lock(&faulty.lock);
	faulty.alive[object] -= exists;
	pthread_mutex_unlock(&faulty.lock);
}

/* ---- devices and queues ---- */

static void get_device_queue(VkDevice device, uint32_t family, uint32_t index, VkQueue *queue)
{
	struct device *d;

	faulty.real.GetDeviceQueue(device, family, index, queue);
	pthread_mutex_lock(&faulty.lock);
	d = device_of(device, VK_NULL_HANDLE);
	if (!d && faulty.device_count < DEVICES_MAX) {
		d = &faulty.devices[faulty.device_count++];
		*d = (struct device){ .handle = device };
	}
	if (d && d->queue_count < QUEUES_MAX)
		d->queues[d->queue_count++] = *queue;
	pthread_mutex_unlock(&faulty.lock);
}

static void destroy_device(VkDevice device, const VkAllocationCallbacks *allocator)
{
	struct device *d;

	pthread_mutex_lock(&faulty.lock);
	d = device_of(device, VK_NULL_HANDLE);
	if (d)
		*d = faulty.devices[--faulty.device_count];
	pthread_mutex_unlock(&faulty.lock);
	faulty.real.DestroyDevice(device, allocator);
}

static VkResult queue_submit(VkQueue queue, uint32_t count, const VkSubmitInfo2 *submits, VkFence fence)
{
	VkResult result;
	VkDevice lost;

	/* Decided under the lock: nothing is submitted to a device that another thread has just brought to rest. */
	pthread_mutex_lock(&faulty.queue_lock);
	if (!struck(FAULTY_VK_QueueSubmit2, VK_NULL_HANDLE, queue, &result, &lost))
		result = faulty.real.QueueSubmit2(queue, count, submits, fence);
	else if (lost)
		faulty.real.DeviceWaitIdle(lost);
	pthread_mutex_unlock(&faulty.queue_lock);
	return result;
}

static VkResult device_wait_idle(VkDevice device)
{
	VkResult result;

	if (strikes(FAULTY_VK_DeviceWaitIdle, device, VK_NULL_HANDLE, &result))
		return result;
	pthread_mutex_lock(&faulty.queue_lock);
	result = faulty.real.DeviceWaitIdle(device);
	pthread_mutex_unlock(&faulty.queue_lock);
	return result;
}

/* ---- memory ---- */

static struct memory *memory_of(VkDeviceMemory handle)
{
	for (uint32_t i = 0; i < faulty.memory_count; i++)
		if (faulty.memories[i].handle == handle)
			return &faulty.memories[i];
	return NULL;
}

static bool imports(const VkMemoryAllocateInfo *info)
{
	for (const VkBaseInStructure *s = info->pNext; s; s = s->pNext)
		if (s->sType == VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT)
			return true;
	return false;
}

static VkResult allocate_memory(VkDevice device, const VkMemoryAllocateInfo *info, const VkAllocationCallbacks *allocator,
				VkDeviceMemory *memory)
{
	VkResult result;

	if (imports(info) && strikes(FAULTY_VK_Import, device, VK_NULL_HANDLE, &result))
		return result;
	if (strikes(FAULTY_VK_AllocateMemory, device, VK_NULL_HANDLE, &result))
		return result;
	result = faulty.real.AllocateMemory(device, info, allocator, memory);
	born(MEMORY, result, 1);
	pthread_mutex_lock(&faulty.lock);
	if (result == VK_SUCCESS && faulty.memory_count < MEMORIES_MAX)
		faulty.memories[faulty.memory_count++] = (struct memory){ *memory, info->allocationSize, NULL };
	pthread_mutex_unlock(&faulty.lock);
	return result;
}

static void free_memory(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks *allocator)
{
	void (*freeing)(const void *map, uint64_t size);
	struct memory *m, was = { 0 };

	dies(MEMORY, memory != VK_NULL_HANDLE);
	pthread_mutex_lock(&faulty.lock);
	freeing = faulty.plan.freeing;
	m = memory_of(memory);
	if (m)
		was = *m;
	if (m)
		*m = faulty.memories[--faulty.memory_count];
	pthread_mutex_unlock(&faulty.lock);
	if (freeing && was.map)
		freeing(was.map, was.size);
	faulty.real.FreeMemory(device, memory, allocator);
}

static VkResult map_memory(VkDevice device, VkDeviceMemory memory, VkDeviceSize offset, VkDeviceSize size, VkMemoryMapFlags flags,
			   void **map)
{
	struct memory *m;
	VkResult result;

	if (strikes(FAULTY_VK_MapMemory, device, VK_NULL_HANDLE, &result))
		return result;
	result = faulty.real.MapMemory(device, memory, offset, size, flags, map);
	pthread_mutex_lock(&faulty.lock);
	m = memory_of(memory);
	if (m && result == VK_SUCCESS && !offset)
		m->map = *map;
	pthread_mutex_unlock(&faulty.lock);
	return result;
}

static void unmap_memory(VkDevice device, VkDeviceMemory memory)
{
	struct memory *m;

	pthread_mutex_lock(&faulty.lock);
	m = memory_of(memory);
	if (m)
		m->map = NULL;
	pthread_mutex_unlock(&faulty.lock);
	faulty.real.UnmapMemory(device, memory);
}

static VkResult get_memory_host_pointer_properties(VkDevice device, VkExternalMemoryHandleTypeFlagBits type, const void *pointer,
						   VkMemoryHostPointerPropertiesEXT *properties)
{
	VkResult result;

	if (strikes(FAULTY_VK_GetMemoryHostPointerPropertiesEXT, device, VK_NULL_HANDLE, &result))
		return result;
	return faulty.real.GetMemoryHostPointerPropertiesEXT(device, type, pointer, properties);
}

/* ---- calls that are counted and handed on ---- */

#define HAND_ON(function, kind, parameters, ...)                                \
	static VkResult function parameters                                     \
	{                                                                       \
		VkResult result;                                                \
                                                                                \
		if (strikes(FAULTY_VK_##kind, device, VK_NULL_HANDLE, &result)) \
			return result;                                          \
		return faulty.real.kind(__VA_ARGS__);                           \
	}

HAND_ON(wait_semaphores, WaitSemaphores, (VkDevice device, const VkSemaphoreWaitInfo *info, uint64_t timeout), device, info,
	timeout)
HAND_ON(get_semaphore_counter_value, GetSemaphoreCounterValue, (VkDevice device, VkSemaphore semaphore, uint64_t *value), device,
	semaphore, value)
HAND_ON(bind_buffer_memory, BindBufferMemory2, (VkDevice device, uint32_t count, const VkBindBufferMemoryInfo *infos), device,
	count, infos)
HAND_ON(allocate_command_buffers, AllocateCommandBuffers,
	(VkDevice device, const VkCommandBufferAllocateInfo *info, VkCommandBuffer *buffers), device, info, buffers)
HAND_ON(reset_command_pool, ResetCommandPool, (VkDevice device, VkCommandPool pool, VkCommandPoolResetFlags flags), device, pool,
	flags)
HAND_ON(get_query_pool_results, GetQueryPoolResults,
	(VkDevice device, VkQueryPool pool, uint32_t first, uint32_t count, size_t size, void *data, VkDeviceSize stride,
	 VkQueryResultFlags flags),
	device, pool, first, count, size, data, stride, flags)
HAND_ON(get_pipeline_cache_data, GetPipelineCacheData, (VkDevice device, VkPipelineCache cache, size_t *size, void *data), device,
	cache, size, data)
HAND_ON(set_object_name, SetDebugUtilsObjectNameEXT, (VkDevice device, const VkDebugUtilsObjectNameInfoEXT *info), device, info)

static VkResult begin_command_buffer(VkCommandBuffer buffer, const VkCommandBufferBeginInfo *info)
{
	VkResult result;

	return strikes(FAULTY_VK_BeginCommandBuffer, VK_NULL_HANDLE, VK_NULL_HANDLE, &result)
		       ? result
		       : faulty.real.BeginCommandBuffer(buffer, info);
}

static VkResult end_command_buffer(VkCommandBuffer buffer)
{
	VkResult result;

	return strikes(FAULTY_VK_EndCommandBuffer, VK_NULL_HANDLE, VK_NULL_HANDLE, &result) ? result
											    : faulty.real.EndCommandBuffer(buffer);
}

/* ---- objects that are only counted ---- */

#define COUNT(name, object, type, info_type)                                                                            \
	static VkResult create_##object(VkDevice device, const info_type *info, const VkAllocationCallbacks *allocator, \
					type *made)                                                                     \
	{                                                                                                               \
		VkResult result;                                                                                        \
                                                                                                                        \
		if (strikes(FAULTY_VK_Create##name, device, VK_NULL_HANDLE, &result))                                   \
			return result;                                                                                  \
		result = faulty.real.Create##name(device, info, allocator, made);                                       \
		born(object, result, 1);                                                                                \
		return result;                                                                                          \
	}                                                                                                               \
	static void destroy_##object(VkDevice device, type gone, const VkAllocationCallbacks *allocator)                \
	{                                                                                                               \
		dies(object, gone != VK_NULL_HANDLE);                                                                   \
		faulty.real.Destroy##name(device, gone, allocator);                                                     \
	}

COUNT(Buffer, BUFFER, VkBuffer, VkBufferCreateInfo)
COUNT(Semaphore, SEMAPHORE, VkSemaphore, VkSemaphoreCreateInfo)
COUNT(CommandPool, COMMAND_POOL, VkCommandPool, VkCommandPoolCreateInfo)
COUNT(QueryPool, QUERY_POOL, VkQueryPool, VkQueryPoolCreateInfo)
COUNT(ShaderModule, SHADER_MODULE, VkShaderModule, VkShaderModuleCreateInfo)
COUNT(PipelineLayout, PIPELINE_LAYOUT, VkPipelineLayout, VkPipelineLayoutCreateInfo)
COUNT(PipelineCache, PIPELINE_CACHE, VkPipelineCache, VkPipelineCacheCreateInfo)

/* ---- pipelines and dispatches ---- */

static void in_child(enum faulty_vk_child child)
{
	switch (child) {
	case FAULTY_VK_CHILD_WORKS:
		return;
	case FAULTY_VK_CHILD_CRASHES:
		signal(SIGSEGV, SIG_DFL); /* a sanitizer has its own */
		raise(SIGSEGV);
		return;
	case FAULTY_VK_CHILD_HANGS:
		for (;;)
			pause();
	case FAULTY_VK_CHILD_EXITS:
		_exit(0);
	}
}

static VkResult create_pipelines(VkDevice device, VkPipelineCache cache, uint32_t count, const VkComputePipelineCreateInfo *infos,
				 const VkAllocationCallbacks *allocator, VkPipeline *pipelines)
{
	VkResult result;

	if (getpid() != faulty.pid)
		in_child(faulty.plan.child);
	if (strikes(FAULTY_VK_CreateComputePipelines, device, VK_NULL_HANDLE, &result)) {
		memset(pipelines, 0, count * sizeof(*pipelines)); /* as the specification has it */
		return result;
	}
	result = faulty.real.CreateComputePipelines(device, cache, count, infos, allocator, pipelines);
	born(PIPELINE, result, count);
	return result;
}

static void destroy_pipeline(VkDevice device, VkPipeline pipeline, const VkAllocationCallbacks *allocator)
{
	dies(PIPELINE, pipeline != VK_NULL_HANDLE);
	faulty.real.DestroyPipeline(device, pipeline, allocator);
}

static void dispatch(VkCommandBuffer buffer, uint32_t x, uint32_t y, uint32_t z)
{
	bool skip;

	pthread_mutex_lock(&faulty.lock);
	skip = ++faulty.dispatches == faulty.plan.skip_at || faulty.plan.skip_at == UINT64_MAX;
	pthread_mutex_unlock(&faulty.lock);
	if (!skip)
		faulty.real.CmdDispatch(buffer, x, y, z);
}

static void push_constants(VkCommandBuffer buffer, VkPipelineLayout layout, VkShaderStageFlags stages, uint32_t offset,
			   uint32_t size, const void *values)
{
	void (*push)(void *copy, uint32_t size);
	uint32_t copy[64];

	pthread_mutex_lock(&faulty.lock);
	push = faulty.plan.push;
	pthread_mutex_unlock(&faulty.lock);
	if (push && !offset && size <= sizeof(copy)) {
		memcpy(copy, values, size);
		push(copy, size);
		values = copy;
	}
	faulty.real.CmdPushConstants(buffer, layout, stages, offset, size, values);
}

/* ---- for tests ---- */

static void wrap(void *arg, struct lineup_vk_api *api)
{
	(void)arg;
	pthread_mutex_lock(&faulty.lock);
	/* All devices of one driver have the same functions; a driver that was unloaded may have others when it returns. */
	if (!faulty.device_count)
		faulty.real = *api;
	pthread_mutex_unlock(&faulty.lock);
	api->GetDeviceQueue = get_device_queue;
	api->DestroyDevice = destroy_device;
	api->DeviceWaitIdle = device_wait_idle;
	api->QueueSubmit2 = queue_submit;
	api->AllocateMemory = allocate_memory;
	api->FreeMemory = free_memory;
	api->MapMemory = map_memory;
	api->UnmapMemory = unmap_memory;
	api->WaitSemaphores = wait_semaphores;
	api->GetSemaphoreCounterValue = get_semaphore_counter_value;
	api->BindBufferMemory2 = bind_buffer_memory;
	api->AllocateCommandBuffers = allocate_command_buffers;
	api->ResetCommandPool = reset_command_pool;
	api->BeginCommandBuffer = begin_command_buffer;
	api->EndCommandBuffer = end_command_buffer;
	api->GetQueryPoolResults = get_query_pool_results;
	api->GetPipelineCacheData = get_pipeline_cache_data;
#define COUNTED(name, object) api->Create##name = create_##object, api->Destroy##name = destroy_##object
	COUNTED(Buffer, BUFFER);
	COUNTED(Semaphore, SEMAPHORE);
	COUNTED(CommandPool, COMMAND_POOL);
	COUNTED(QueryPool, QUERY_POOL);
	COUNTED(ShaderModule, SHADER_MODULE);
	COUNTED(PipelineLayout, PIPELINE_LAYOUT);
	COUNTED(PipelineCache, PIPELINE_CACHE);
	api->CreateComputePipelines = create_pipelines;
	api->DestroyPipeline = destroy_pipeline;
	api->CmdDispatch = dispatch;
	api->CmdPushConstants = push_constants;
	if (api->SetDebugUtilsObjectNameEXT)
		api->SetDebugUtilsObjectNameEXT = set_object_name;
	if (api->GetMemoryHostPointerPropertiesEXT)
		api->GetMemoryHostPointerPropertiesEXT = get_memory_host_pointer_properties;
}

void faulty_vk_attach(struct lineup_ctx *ctx)
{
	faulty.pid = getpid();
	/* What a test that failed has left behind is no other's business. */
	pthread_mutex_lock(&faulty.lock);
	memset(faulty.alive, 0, sizeof(faulty.alive));
	faulty.device_count = faulty.memory_count = 0;
	pthread_mutex_unlock(&faulty.lock);
	ctx->gpu_test.wrap = wrap;
	ctx->gpu_test.arg = NULL;
	faulty_vk_set(NULL);
}

void faulty_vk_set(const struct faulty_vk_plan *plan)
{
	pthread_mutex_lock(&faulty.lock);
	faulty.plan = plan ? *plan : (struct faulty_vk_plan){ 0 };
	memset(faulty.calls, 0, sizeof(faulty.calls));
	faulty.counted = 0;
	faulty.dispatches = 0;
	faulty.failed = 0;
	faulty.failed_name = "";
	pthread_mutex_unlock(&faulty.lock);
}

uint64_t faulty_vk_calls(uint32_t mask)
{
	uint64_t calls = 0;

	pthread_mutex_lock(&faulty.lock);
	for (uint32_t i = 0; i < FAULTY_VK_KIND_COUNT; i++)
		calls += mask & 1u << i ? faulty.calls[i] : 0;
	pthread_mutex_unlock(&faulty.lock);
	return calls;
}

uint64_t faulty_vk_dispatches(void)
{
	uint64_t dispatches;

	pthread_mutex_lock(&faulty.lock);
	dispatches = faulty.dispatches;
	pthread_mutex_unlock(&faulty.lock);
	return dispatches;
}

uint32_t faulty_vk_failed(void)
{
	uint32_t failed;

	pthread_mutex_lock(&faulty.lock);
	failed = faulty.failed;
	pthread_mutex_unlock(&faulty.lock);
	return failed;
}

const char *faulty_vk_failed_name(void)
{
	const char *name;

	pthread_mutex_lock(&faulty.lock);
	name = faulty.failed_name;
	pthread_mutex_unlock(&faulty.lock);
	return name;
}

uint32_t faulty_vk_devices(void)
{
	uint32_t count;

	pthread_mutex_lock(&faulty.lock);
	count = faulty.device_count;
	pthread_mutex_unlock(&faulty.lock);
	return count;
}

const char *faulty_vk_leak(void)
{
	const char *leak = NULL;

	pthread_mutex_lock(&faulty.lock);
	if (faulty.device_count)
		leak = "a VkDevice";
	for (uint32_t i = 0; i < OBJECTS && !leak; i++)
		if (faulty.alive[i])
			leak = object_leaks[i];
	pthread_mutex_unlock(&faulty.lock);
	return leak;
}

void faulty_vk_mappings(void (*each)(void *arg, const void *map, uint64_t size), void *arg)
{
	pthread_mutex_lock(&faulty.lock);
	for (uint32_t i = 0; i < faulty.memory_count; i++)
		if (faulty.memories[i].map)
			each(arg, faulty.memories[i].map, faulty.memories[i].size);
	pthread_mutex_unlock(&faulty.lock);
}
