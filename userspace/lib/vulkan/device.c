// SPDX-License-Identifier: MIT
// Devices: what there is, what each can do, and opening one.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vk.h"

/* VK_KHR_cooperative_matrix, which Vulkan headers before 1.3.255 lack. */
enum {
	STYPE_COOPMAT_FEATURES_KHR = 1000506000,
	STYPE_COOPMAT_PROPERTIES_KHR = 1000506001,
	COMPONENT_SINT8_KHR = 3,
	COMPONENT_SINT32_KHR = 5,
	SCOPE_SUBGROUP_KHR = 3,
};

struct coopmat_features_khr {
	VkStructureType sType;
	void *pNext;
	VkBool32 cooperativeMatrix;
	VkBool32 cooperativeMatrixRobustBufferAccess;
};

struct coopmat_properties_khr {
	VkStructureType sType;
	void *pNext;
	uint32_t MSize, NSize, KSize;
	uint32_t AType, BType, CType, ResultType;
	VkBool32 saturatingAccumulation;
	uint32_t scope;
};

typedef VkResult (VKAPI_PTR *coopmat_query_khr_fn)(VkPhysicalDevice, uint32_t *, struct coopmat_properties_khr *);

enum { EXTENSIONS_MAX = 1024, PHYSICALS_MAX = LINEUP_DEVICES_MAX };

int lineup_vk_result(struct lineup_vk_device *device, VkResult result, const char *what)
{
	switch (result) {
	case VK_SUCCESS:
		return 0;
	case VK_TIMEOUT:
	case VK_NOT_READY:
		return -ETIMEDOUT;
	case VK_ERROR_DEVICE_LOST:
		if (!atomic_exchange(&device->lost, true))
			lineup_warn(device->ctx, "%s: the device was lost while %s", device->info.name, what);
		return -ENODEV;
	case VK_ERROR_OUT_OF_HOST_MEMORY:
	case VK_ERROR_OUT_OF_DEVICE_MEMORY:
	case VK_ERROR_TOO_MANY_OBJECTS:
		return -ENOMEM;
	case VK_ERROR_INVALID_EXTERNAL_HANDLE:
	case VK_ERROR_FEATURE_NOT_PRESENT:
	case VK_ERROR_EXTENSION_NOT_PRESENT:
	case VK_ERROR_INCOMPATIBLE_DRIVER:
		return -ENOTSUP;
	default:
		return -EIO;
	}
}

void lineup_vk_name(struct lineup_vk_device *device, VkObjectType type, uint64_t handle, const char *format, ...)
{
	VkDebugUtilsObjectNameInfoEXT info = {
		.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
		.objectType = type,
		.objectHandle = handle,
	};
	char name[96];
	va_list args;

	if (!device->api.SetDebugUtilsObjectNameEXT)
		return;
	va_start(args, format);
	vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	info.pObjectName = name;
	device->api.SetDebugUtilsObjectNameEXT(device->device, &info);
}

/* ---- finding ---- */

static bool has_extension(const VkExtensionProperties *list, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++)
		if (!strcmp(list[i].extensionName, name))
			return true;
	return false;
}

static int create_instance(struct lineup_vk_api *api, VkInstance *instance)
{
	VkApplicationInfo application = {
		.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
		.pApplicationName = "lineup",
		.apiVersion = VK_API_VERSION_1_3,
	};
	const char *debug_utils = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
	VkInstanceCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
		.pApplicationInfo = &application,
		.ppEnabledExtensionNames = &debug_utils,
	};
	VkExtensionProperties *list = calloc(EXTENSIONS_MAX, sizeof(*list));
	uint32_t count = EXTENSIONS_MAX;
	VkResult result;
	int err;

	if (!list)
		return -ENOMEM;
	result = api->EnumerateInstanceExtensionProperties(NULL, &count, list);
	if (result == VK_SUCCESS || result == VK_INCOMPLETE)
		info.enabledExtensionCount = has_extension(list, count, debug_utils);
	free(list);
	result = api->CreateInstance(&info, NULL, instance);
	if (result == VK_ERROR_OUT_OF_HOST_MEMORY)
		return -ENOMEM;
	if (result != VK_SUCCESS)
		return -ENODEV; /* the loader found no driver, or no instance of 1.3 can be had */
	err = lineup_vk_api_load_instance(api, *instance);
	if (!err && !info.enabledExtensionCount)
		api->SetDebugUtilsObjectNameEXT = NULL;
	return err;
}

struct extensions {
	VkExtensionProperties *list;
	uint32_t count;
};

static int read_extensions(const struct lineup_vk_api *api, VkPhysicalDevice physical, struct extensions *e)
{
	VkResult result;

	e->count = EXTENSIONS_MAX;
	e->list = calloc(EXTENSIONS_MAX, sizeof(*e->list));
	if (!e->list)
		return -ENOMEM;
	result = api->EnumerateDeviceExtensionProperties(physical, NULL, &e->count, e->list);
	if (result != VK_SUCCESS && result != VK_INCOMPLETE)
		e->count = 0;
	return 0;
}

static bool has(const struct extensions *e, const char *name)
{
	return has_extension(e->list, e->count, name);
}

static enum lineup_device_type type_of(VkPhysicalDeviceType type)
{
	switch (type) {
	case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return LINEUP_DEVICE_INTEGRATED;
	case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return LINEUP_DEVICE_DISCRETE;
	case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return LINEUP_DEVICE_VIRTUAL;
	case VK_PHYSICAL_DEVICE_TYPE_CPU: return LINEUP_DEVICE_SOFTWARE;
	default: return LINEUP_DEVICE_OTHER;
	}
}

static void read_memory(const struct lineup_vk_api *api, VkPhysicalDevice physical, bool budget, struct lineup_device *info)
{
	VkPhysicalDeviceMemoryBudgetPropertiesEXT budgets = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT };
	VkPhysicalDeviceMemoryProperties2 memory = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
		.pNext = budget ? &budgets : NULL,
	};

	api->GetPhysicalDeviceMemoryProperties2(physical, &memory);
	for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; i++) {
		const VkMemoryHeap *heap = &memory.memoryProperties.memoryHeaps[i];

		if (!(heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) || heap->size < info->memory_bytes)
			continue;
		info->memory_bytes = heap->size;
		info->memory_available = heap->size;
		if (budget && budgets.heapBudget[i] > budgets.heapUsage[i])
			info->memory_available = budgets.heapBudget[i] - budgets.heapUsage[i];
		else if (budget && budgets.heapBudget[i])
			info->memory_available = 0;
	}
}

static void describe(const struct lineup_vk_api *api, VkPhysicalDevice physical, const struct extensions *e, struct lineup_device *info)
{
	VkPhysicalDeviceDrmPropertiesEXT drm = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRM_PROPERTIES_EXT };
	VkPhysicalDevicePCIBusInfoPropertiesEXT pci = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT };
	VkPhysicalDeviceDriverProperties driver = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES };
	VkPhysicalDeviceIDProperties id = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES, .pNext = &driver };
	VkPhysicalDeviceProperties2 p = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &id };

	if (has(e, VK_EXT_PHYSICAL_DEVICE_DRM_EXTENSION_NAME)) {
		drm.pNext = p.pNext;
		p.pNext = &drm;
	}
	if (has(e, VK_EXT_PCI_BUS_INFO_EXTENSION_NAME)) {
		pci.pNext = p.pNext;
		p.pNext = &pci;
	}
	api->GetPhysicalDeviceProperties2(physical, &p);
	info->type = type_of(p.properties.deviceType);
	snprintf(info->name, sizeof(info->name), "%s", p.properties.deviceName);
	snprintf(info->driver, sizeof(info->driver), "%.120s %.120s", driver.driverName, driver.driverInfo);
	snprintf(info->vulkan, sizeof(info->vulkan), "%u.%u.%u", VK_API_VERSION_MAJOR(p.properties.apiVersion) % 100,
		 VK_API_VERSION_MINOR(p.properties.apiVersion) % 100, VK_API_VERSION_PATCH(p.properties.apiVersion) % 10000);
	memcpy(info->uuid, id.deviceUUID, sizeof(info->uuid));
	if (has(e, VK_EXT_PCI_BUS_INFO_EXTENSION_NAME))
		snprintf(info->pci, sizeof(info->pci), "%04x:%02x:%02x.%x", pci.pciDomain & 0xffff, pci.pciBus & 0xff, pci.pciDevice & 0x1f,
			 pci.pciFunction & 7);
	lineup_vk_locate(info, drm.hasRender, (uint32_t)drm.renderMajor, (uint32_t)drm.renderMinor);
	if (p.properties.apiVersion < VK_API_VERSION_1_3)
		info->why_not = "its driver speaks no Vulkan 1.3";
	read_memory(api, physical, has(e, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME), info);
}

struct features {
	VkPhysicalDeviceFeatures2 base;
	VkPhysicalDeviceVulkan11Features v11;
	VkPhysicalDeviceVulkan12Features v12;
	VkPhysicalDeviceVulkan13Features v13;
	struct coopmat_features_khr khr;
	VkPhysicalDeviceCooperativeMatrixFeaturesNV nv;
};

static void chain_features(struct features *f, bool khr, bool nv)
{
	*f = (struct features){
		.base.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
		.v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
		.v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
		.v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
		.khr.sType = (VkStructureType)STYPE_COOPMAT_FEATURES_KHR,
		.nv.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_NV,
	};
	f->base.pNext = &f->v11;
	f->v11.pNext = &f->v12;
	f->v12.pNext = &f->v13;
	if (khr) {
		f->khr.pNext = f->v13.pNext;
		f->v13.pNext = &f->khr;
	}
	if (nv) {
		f->nv.pNext = f->v13.pNext;
		f->v13.pNext = &f->nv;
	}
}

/* What every variant needs. */
static const char *features_why_not(const struct features *f)
{
	if (!f->v12.bufferDeviceAddress)
		return "it lacks bufferDeviceAddress";
	if (!f->v12.timelineSemaphore)
		return "it lacks timelineSemaphore";
	if (!f->v13.synchronization2)
		return "it lacks synchronization2";
	if (!f->v12.vulkanMemoryModel)
		return "it lacks vulkanMemoryModel";
	return NULL;
}

static bool find_family(const struct lineup_vk_api *api, VkPhysicalDevice physical, VkQueueFlags want, VkQueueFlags avoid, uint32_t *family)
{
	VkQueueFamilyProperties2 families[32];
	uint32_t count = 32;

	for (uint32_t i = 0; i < count; i++)
		families[i] = (VkQueueFamilyProperties2){ .sType = VK_STRUCTURE_TYPE_QUEUE_FAMILY_PROPERTIES_2 };
	api->GetPhysicalDeviceQueueFamilyProperties2(physical, &count, families);
	for (uint32_t i = 0; i < count; i++) {
		VkQueueFlags flags = families[i].queueFamilyProperties.queueFlags;

		if ((flags & want) == want && !(flags & avoid) && families[i].queueFamilyProperties.queueCount) {
			*family = i;
			return true;
		}
	}
	return false;
}

static bool find_compute(const struct lineup_vk_api *api, VkPhysicalDevice physical, uint32_t *family)
{
	/* A family without graphics is scheduled beside a desktop's work, not between. */
	return find_family(api, physical, VK_QUEUE_COMPUTE_BIT, VK_QUEUE_GRAPHICS_BIT, family) ||
	       find_family(api, physical, VK_QUEUE_COMPUTE_BIT, 0, family);
}

static const char *lacks(const struct lineup_vk_api *api, VkPhysicalDevice physical)
{
	struct features f;
	uint32_t family;

	chain_features(&f, false, false);
	api->GetPhysicalDeviceFeatures2(physical, &f.base);
	if (!find_compute(api, physical, &family))
		return "it has no compute queue";
	return features_why_not(&f);
}

struct found {
	VkPhysicalDevice physical;
	struct lineup_device info;
};

static int gpus_first(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	int sx = x->info.type == LINEUP_DEVICE_SOFTWARE, sy = y->info.type == LINEUP_DEVICE_SOFTWARE;

	if (sx != sy)
		return sx - sy;
	return x->info.index < y->info.index ? -1 : x->info.index > y->info.index;
}

/* All devices of an instance, in the order of their indexes. */
static int find(const struct lineup_vk_api *api, VkInstance instance, struct found *found, uint32_t *count)
{
	VkPhysicalDevice physicals[PHYSICALS_MAX];
	VkResult result;
	uint32_t n = PHYSICALS_MAX;

	result = api->EnumeratePhysicalDevices(instance, &n, physicals);
	if (result == VK_ERROR_OUT_OF_HOST_MEMORY)
		return -ENOMEM;
	if (result != VK_SUCCESS && result != VK_INCOMPLETE)
		return -ENODEV;
	for (uint32_t i = 0; i < n; i++) {
		struct extensions e;
		int err = read_extensions(api, physicals[i], &e);

		if (err)
			return err;
		memset(&found[i], 0, sizeof(found[i]));
		found[i].physical = physicals[i];
		found[i].info.index = i;
		describe(api, physicals[i], &e, &found[i].info);
		if (!found[i].info.why_not)
			found[i].info.why_not = lacks(api, physicals[i]);
		free(e.list);
	}
	qsort(found, n, sizeof(*found), gpus_first);
	for (uint32_t i = 0; i < n; i++)
		found[i].info.index = i;
	*count = n;
	return 0;
}

static int open_instance(struct lineup_vk_api *api, VkInstance *instance, const char **why)
{
	int err = lineup_vk_api_load(api);

	*instance = VK_NULL_HANDLE;
	*why = NULL;
	if (err) {
		*why = "the Vulkan loader (libvulkan.so.1) is not installed";
		return err;
	}
	err = create_instance(api, instance);
	if (err == -ENODEV)
		*why = "there is no Vulkan driver";
	return err;
}

int lineup_vk_list(struct lineup_ctx *ctx, struct lineup_device *devices, uint32_t max, uint32_t *count, const char **why)
{
	struct found *found = calloc(PHYSICALS_MAX, sizeof(*found));
	struct lineup_vk_api api = { 0 };
	VkInstance instance;
	const char *reason;
	uint32_t n = 0;
	int err;

	if (!found)
		return lineup_fail(ctx, -ENOMEM, "devices: no memory");
	err = open_instance(&api, &instance, &reason);
	if (!err)
		err = find(&api, instance, found, &n);
	if (err == -ENODEV)
		err = 0;
	else if (err)
		lineup_fail(ctx, err, "devices: %s", strerror(-err));
	if (!err) {
		for (uint32_t i = 0; i < n && i < max; i++)
			devices[i] = found[i].info;
		*count = n;
		if (why)
			*why = n ? NULL : reason ? reason : "no driver has a device";
	}
	if (instance)
		api.DestroyInstance(instance, NULL);
	free(found);
	return err;
}

/* ---- opening ---- */

static void read_limits(struct lineup_vk_device *d, const struct extensions *e)
{
	VkPhysicalDeviceExternalMemoryHostPropertiesEXT host = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT };
	VkPhysicalDeviceVulkan13Properties v13 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES };
	VkPhysicalDeviceVulkan11Properties v11 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, .pNext = &v13 };
	VkPhysicalDeviceProperties2 p = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &v11 };
	VkPhysicalDeviceMemoryProperties2 memory = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2 };

	if (has(e, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME))
		v13.pNext = &host;
	d->api.GetPhysicalDeviceProperties2(d->physical, &p);
	d->api.GetPhysicalDeviceMemoryProperties2(d->physical, &memory);
	d->memory = memory.memoryProperties;
	memcpy(d->pipeline_cache_uuid, p.properties.pipelineCacheUUID, sizeof(d->pipeline_cache_uuid));
	d->driver_version = p.properties.driverVersion;
	d->allocation_max = v11.maxMemoryAllocationSize < v13.maxBufferSize ? v11.maxMemoryAllocationSize : v13.maxBufferSize;
	d->import_alignment = host.minImportedHostPointerAlignment;
	d->shared_bytes = p.properties.limits.maxComputeSharedMemorySize;
	d->invocations_max = p.properties.limits.maxComputeWorkGroupInvocations;
	if (p.properties.limits.maxComputeWorkGroupSize[0] < d->invocations_max)
		d->invocations_max = p.properties.limits.maxComputeWorkGroupSize[0];
	d->subgroup_size = v11.subgroupSize;
	if (v13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) {
		d->subgroup_min = v13.minSubgroupSize;
		d->subgroup_max = v13.maxSubgroupSize;
	}
	d->dot_accelerated = v13.integerDotProduct4x8BitPackedSignedAccelerated;
	d->timestamp_ns = p.properties.limits.timestampComputeAndGraphics ? (double)p.properties.limits.timestampPeriod : 0;
	d->memory_budget = has(e, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
}

static void add_shape(struct lineup_vk_device *d, uint32_t m, uint32_t n, uint32_t k, bool khr)
{
	if (d->shape_count < LINEUP_VK_SHAPES_MAX)
		d->shapes[d->shape_count++] = (struct lineup_vk_shape){ m, n, k, khr };
}

/*
 * Drivers have written past the room that a count asked for a moment before promised: there is room for more than is asked for.
 */
enum { PROPERTIES_MAX = 256 };

static void read_shapes_khr(struct lineup_vk_device *d)
{
	coopmat_query_khr_fn query = (coopmat_query_khr_fn)(void (*)(void))d->api.GetInstanceProcAddr(
		d->instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
	struct coopmat_properties_khr *list = calloc(2 * PROPERTIES_MAX, sizeof(*list));
	uint32_t count = PROPERTIES_MAX;
	VkResult result;

	for (uint32_t i = 0; list && i < 2 * PROPERTIES_MAX; i++)
		list[i].sType = (VkStructureType)STYPE_COOPMAT_PROPERTIES_KHR;
	result = list && query ? query(d->physical, &count, list) : VK_ERROR_EXTENSION_NOT_PRESENT;
	for (uint32_t i = 0; (result == VK_SUCCESS || result == VK_INCOMPLETE) && i < count && i < PROPERTIES_MAX; i++)
		if (list[i].AType == COMPONENT_SINT8_KHR && list[i].BType == COMPONENT_SINT8_KHR && list[i].CType == COMPONENT_SINT32_KHR &&
		    list[i].ResultType == COMPONENT_SINT32_KHR && list[i].scope == SCOPE_SUBGROUP_KHR && !list[i].saturatingAccumulation)
			add_shape(d, list[i].MSize, list[i].NSize, list[i].KSize, true);
	free(list);
}

static void read_shapes_nv(struct lineup_vk_device *d)
{
	PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesNV query =
		(PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesNV)(void (*)(void))d->api.GetInstanceProcAddr(
			d->instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesNV");
	VkCooperativeMatrixPropertiesNV *list = calloc(2 * PROPERTIES_MAX, sizeof(*list));
	uint32_t count = PROPERTIES_MAX;
	VkResult result;

	for (uint32_t i = 0; list && i < 2 * PROPERTIES_MAX; i++)
		list[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_NV;
	result = list && query ? query(d->physical, &count, list) : VK_ERROR_EXTENSION_NOT_PRESENT;
	for (uint32_t i = 0; (result == VK_SUCCESS || result == VK_INCOMPLETE) && i < count && i < PROPERTIES_MAX; i++)
		if (list[i].AType == VK_COMPONENT_TYPE_SINT8_NV && list[i].BType == VK_COMPONENT_TYPE_SINT8_NV &&
		    list[i].CType == VK_COMPONENT_TYPE_SINT32_NV && list[i].DType == VK_COMPONENT_TYPE_SINT32_NV &&
		    list[i].scope == VK_SCOPE_SUBGROUP_NV)
			add_shape(d, list[i].MSize, list[i].NSize, list[i].KSize, false);
	free(list);
}

/* Extensions that are used where they are. */
static const char *const wanted[] = {
	VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME, VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME,
	VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME, VK_EXT_QUEUE_FAMILY_FOREIGN_EXTENSION_NAME, "VK_KHR_cooperative_matrix",
	VK_NV_COOPERATIVE_MATRIX_EXTENSION_NAME, VK_EXT_DEVICE_FAULT_EXTENSION_NAME, VK_EXT_PIPELINE_CREATION_CACHE_CONTROL_EXTENSION_NAME,
};

enum { WANTED = ARRAY_SIZE(wanted) };

/* Keeps of what the device offers what is used. */
static void choose_features(struct lineup_vk_device *d, const struct features *have, struct features *use)
{
	use->base.features.shaderInt64 = have->base.features.shaderInt64;
	use->base.features.shaderInt16 = have->base.features.shaderInt16;
	use->v11.storageBuffer16BitAccess = have->v11.storageBuffer16BitAccess;
	use->v12.bufferDeviceAddress = VK_TRUE;
	use->v12.timelineSemaphore = VK_TRUE;
	use->v12.vulkanMemoryModel = VK_TRUE;
	use->v12.vulkanMemoryModelDeviceScope = have->v12.vulkanMemoryModelDeviceScope;
	use->v12.shaderInt8 = have->v12.shaderInt8;
	use->v12.storageBuffer8BitAccess = have->v12.storageBuffer8BitAccess;
	use->v12.hostQueryReset = have->v12.hostQueryReset;
	use->v13.synchronization2 = VK_TRUE;
	use->v13.subgroupSizeControl = have->v13.subgroupSizeControl;
	use->v13.computeFullSubgroups = have->v13.computeFullSubgroups;
	use->v13.maintenance4 = have->v13.maintenance4;
	use->v13.shaderIntegerDotProduct = have->v13.shaderIntegerDotProduct;
	use->v13.pipelineCreationCacheControl = have->v13.pipelineCreationCacheControl;
	use->khr.cooperativeMatrix = have->khr.cooperativeMatrix && have->v12.shaderInt8;
	use->nv.cooperativeMatrix = have->nv.cooperativeMatrix && have->v12.shaderInt8;
	d->dot = use->v13.shaderIntegerDotProduct;
	d->full_subgroups = use->v13.computeFullSubgroups;
	d->coopmat_khr = use->khr.cooperativeMatrix;
	d->coopmat_nv = use->nv.cooperativeMatrix;
	if (!use->v13.subgroupSizeControl)
		d->subgroup_min = d->subgroup_max = 0;
}

static int create_queue(struct lineup_vk_device *d, struct lineup_vk_queue *q, const char *name)
{
	VkSemaphoreTypeCreateInfo type = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE };
	VkSemaphoreCreateInfo info = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type };
	int err;

	q->name = name;
	d->api.GetDeviceQueue(d->device, q->family, 0, &q->queue);
	err = lineup_vk_result(d, d->api.CreateSemaphore(d->device, &info, NULL, &q->timeline), "making a semaphore");
	if (err)
		return err;
	lineup_vk_name(d, VK_OBJECT_TYPE_QUEUE, (uint64_t)(uintptr_t)q->queue, "lineup %s queue", name);
	lineup_vk_name(d, VK_OBJECT_TYPE_SEMAPHORE, (uint64_t)q->timeline, "lineup %s timeline", name);
	return 0;
}

static int create_device(struct lineup_vk_device *d, const struct extensions *e)
{
	static const float priority = 1;
	VkDeviceQueueCreateInfo queues[2];
	const char *names[WANTED];
	VkDeviceCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
		.pQueueCreateInfos = queues,
		.ppEnabledExtensionNames = names,
	};
	bool khr = has(e, "VK_KHR_cooperative_matrix"), nv = has(e, VK_NV_COOPERATIVE_MATRIX_EXTENSION_NAME), own_transfer;
	struct features have, use;
	int err;

	chain_features(&have, khr, nv);
	d->api.GetPhysicalDeviceFeatures2(d->physical, &have.base);
	chain_features(&use, khr, nv);
	choose_features(d, &have, &use);
	info.pNext = &use.base;
	for (size_t i = 0; i < WANTED; i++)
		if (has(e, wanted[i]))
			names[info.enabledExtensionCount++] = wanted[i];
	if (!find_compute(&d->api, d->physical, &d->compute.family))
		return -ENOTSUP;
	own_transfer = find_family(&d->api, d->physical, VK_QUEUE_TRANSFER_BIT, VK_QUEUE_COMPUTE_BIT | VK_QUEUE_GRAPHICS_BIT, &d->transfer.family);
	for (uint32_t i = 0; i < 1u + own_transfer; i++)
		queues[info.queueCreateInfoCount++] = (VkDeviceQueueCreateInfo){
			.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
			.queueFamilyIndex = i ? d->transfer.family : d->compute.family,
			.queueCount = 1,
			.pQueuePriorities = &priority,
		};
	err = lineup_vk_result(d, d->api.CreateDevice(d->physical, &info, NULL, &d->device), "opening it");
	if (!err)
		err = lineup_vk_api_load_device(&d->api, d->device);
	if (err)
		return err;
	if (d->ctx->gpu_test.wrap)
		d->ctx->gpu_test.wrap(d->ctx->gpu_test.arg, &d->api);
	err = create_queue(d, &d->compute, "compute");
	if (!err && own_transfer)
		err = create_queue(d, &d->transfer, "transfer");
	return err;
}

static int find_again(struct lineup_vk_device *d, const struct lineup_device *which)
{
	struct found *found = calloc(PHYSICALS_MAX, sizeof(*found));
	uint32_t count = 0, best = 0;
	int err = found ? find(&d->api, d->instance, found, &count) : -ENOMEM;

	/* Two devices may share a UUID (an old driver's zeros): then the index decides. */
	for (best = 0; !err && best < count; best++)
		if (!memcmp(found[best].info.uuid, which->uuid, sizeof(which->uuid)) && found[best].info.index == which->index)
			break;
	if (!err && best == count)
		for (best = 0; best < count; best++)
			if (!memcmp(found[best].info.uuid, which->uuid, sizeof(which->uuid)))
				break;
	if (!err && best == count)
		err = -ENODEV;
	if (!err) {
		d->physical = found[best].physical;
		d->info = found[best].info;
	}
	free(found);
	return err;
}

static int open_found(struct lineup_vk_device *d)
{
	struct extensions e = { 0 };
	int err = read_extensions(&d->api, d->physical, &e);

	if (!err) {
		read_limits(d, &e);
		err = create_device(d, &e);
	}
	if (!err && d->coopmat_khr)
		read_shapes_khr(d);
	if (!err && d->coopmat_nv)
		read_shapes_nv(d);
	free(e.list);
	return err;
}

int lineup_vk_open(struct lineup_ctx *ctx, const struct lineup_device *which, struct lineup_vk_device **device)
{
	struct lineup_vk_device *d = calloc(1, sizeof(*d));
	const char *why = NULL;
	int err;

	if (!d)
		return lineup_fail(ctx, -ENOMEM, "device: no memory");
	d->ctx = ctx;
	d->info = *which;
	err = open_instance(&d->api, &d->instance, &why);
	if (!err)
		err = find_again(d, which);
	if (!err && d->info.why_not) {
		err = -ENOTSUP;
		why = d->info.why_not;
	}
	if (!err)
		err = open_found(d);
	if (err) {
		lineup_fail(ctx, err, "device %u (%s): it cannot be opened: %s", which->index, which->name, why ? why : strerror(-err));
		lineup_vk_close(d);
		return err;
	}
	*device = d;
	return 0;
}

static void destroy_queue(struct lineup_vk_device *d, struct lineup_vk_queue *q)
{
	if (q->timeline)
		d->api.DestroySemaphore(d->device, q->timeline, NULL);
}

void lineup_vk_close(struct lineup_vk_device *d)
{
	if (!d)
		return;
	if (d->device) {
		/* Also when it is lost: what was submitted before may still run, and this returns in finite time even then. */
		if (d->api.DeviceWaitIdle)
			d->api.DeviceWaitIdle(d->device);
		if (d->cache)
			d->api.DestroyPipelineCache(d->device, d->cache, NULL);
		destroy_queue(d, &d->compute);
		destroy_queue(d, &d->transfer);
		if (d->api.DestroyDevice)
			d->api.DestroyDevice(d->device, NULL);
	}
	if (d->instance && d->api.DestroyInstance)
		d->api.DestroyInstance(d->instance, NULL);
	free(d);
}
