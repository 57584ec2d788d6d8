// SPDX-License-Identifier: MIT
// One device: opened with what it has of the features in use, closed, and what its errors mean.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vk_find.h"

/* More of VK_KHR_cooperative_matrix, see vk_find.h. */
enum {
	STYPE_COOPMAT_PROPERTIES_KHR = 1000506001,
	COMPONENT_SINT8_KHR = 3,
	COMPONENT_SINT32_KHR = 5,
	SCOPE_SUBGROUP_KHR = 3,
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

/* ---- errors ---- */

enum { FAULTS_MAX = 8 };

/* What the driver knows of the loss, for who has to report it. */
static void explain_loss(struct lineup_vk_device *device)
{
	VkDeviceFaultAddressInfoEXT addresses[FAULTS_MAX];
	VkDeviceFaultVendorInfoEXT vendors[FAULTS_MAX];
	VkDeviceFaultCountsEXT counts = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_FAULT_COUNTS_EXT,
		.addressInfoCount = FAULTS_MAX,
		.vendorInfoCount = FAULTS_MAX,
	};
	VkDeviceFaultInfoEXT info = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_FAULT_INFO_EXT,
		.pAddressInfos = addresses,
		.pVendorInfos = vendors,
	};
	VkResult result;

	if (!device->api.GetDeviceFaultInfoEXT)
		return;
	result = device->api.GetDeviceFaultInfoEXT(device->device, &counts, &info);
	if (result != VK_SUCCESS && result != VK_INCOMPLETE)
		return;
	lineup_info(device->ctx, "%s: the driver says: %.255s", device->info.name, info.description);
	for (uint32_t i = 0; i < counts.addressInfoCount && i < FAULTS_MAX; i++)
		lineup_info(device->ctx, "%s: the driver says: address 0x%llx, kind %d", device->info.name,
			    (unsigned long long)addresses[i].reportedAddress, addresses[i].addressType);
	for (uint32_t i = 0; i < counts.vendorInfoCount && i < FAULTS_MAX; i++)
		lineup_info(device->ctx, "%s: the driver says: %.255s, code 0x%llx, 0x%llx", device->info.name,
			    vendors[i].description, (unsigned long long)vendors[i].vendorFaultCode,
			    (unsigned long long)vendors[i].vendorFaultData);
}

int lineup_vk_result(struct lineup_vk_device *device, VkResult result, const char *what)
{
	switch (result) {
	case VK_SUCCESS:
		return 0;
	case VK_TIMEOUT:
	case VK_NOT_READY:
		return -ETIMEDOUT;
	case VK_ERROR_DEVICE_LOST:
		if (!atomic_exchange(&device->lost, true)) {
			lineup_warn(device->ctx, "%s: the device was lost while %s", device->info.name, what);
			explain_loss(device);
		}
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

/* ---- opening ---- */

static void read_limits(struct lineup_vk_device *d, const struct lineup_vk_extensions *e)
{
	VkPhysicalDeviceExternalMemoryHostPropertiesEXT host = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT,
	};
	VkPhysicalDeviceVulkan13Properties v13 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES };
	VkPhysicalDeviceVulkan11Properties v11 = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES,
		.pNext = &v13,
	};
	VkPhysicalDeviceProperties2 p = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &v11 };
	VkPhysicalDeviceMemoryProperties2 memory = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2 };
	const VkPhysicalDeviceLimits *limits = &p.properties.limits;

	if (lineup_vk_extensions_have(e, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME))
		v13.pNext = &host;
	d->api.GetPhysicalDeviceProperties2(d->physical, &p);
	d->api.GetPhysicalDeviceMemoryProperties2(d->physical, &memory);
	d->memory = memory.memoryProperties;
	memcpy(d->pipeline_cache_uuid, p.properties.pipelineCacheUUID, sizeof(d->pipeline_cache_uuid));
	d->driver_version = p.properties.driverVersion;
	d->allocation_max = v11.maxMemoryAllocationSize < v13.maxBufferSize ? v11.maxMemoryAllocationSize : v13.maxBufferSize;
	d->import_alignment = host.minImportedHostPointerAlignment;
	d->shared_bytes = limits->maxComputeSharedMemorySize;
	d->invocations_max = limits->maxComputeWorkGroupInvocations;
	if (limits->maxComputeWorkGroupSize[0] < d->invocations_max)
		d->invocations_max = limits->maxComputeWorkGroupSize[0];
	d->subgroup_size = v11.subgroupSize;
	if (v13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) {
		d->subgroup_min = v13.minSubgroupSize;
		d->subgroup_max = v13.maxSubgroupSize;
	}
	d->dot_accelerated = v13.integerDotProduct4x8BitPackedSignedAccelerated;
	d->timestamp_ns = limits->timestampComputeAndGraphics ? (double)limits->timestampPeriod : 0;
	d->memory_budget = lineup_vk_extensions_have(e, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
}

static void add_shape(struct lineup_vk_device *d, uint32_t m, uint32_t n, uint32_t k, bool khr)
{
	if (d->shape_count < LINEUP_VK_SHAPES_MAX)
		d->shapes[d->shape_count++] = (struct lineup_vk_shape){ m, n, k, khr };
}

/* A driver has been seen to write more than it was told there was room for: there is room for twice that. */
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
	for (uint32_t i = 0; (result == VK_SUCCESS || result == VK_INCOMPLETE) && i < count && i < PROPERTIES_MAX; i++) {
		const struct coopmat_properties_khr *p = &list[i];

		if (p->AType == COMPONENT_SINT8_KHR && p->BType == COMPONENT_SINT8_KHR && p->CType == COMPONENT_SINT32_KHR &&
		    p->ResultType == COMPONENT_SINT32_KHR && p->scope == SCOPE_SUBGROUP_KHR && !p->saturatingAccumulation)
			add_shape(d, p->MSize, p->NSize, p->KSize, true);
	}
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
	for (uint32_t i = 0; (result == VK_SUCCESS || result == VK_INCOMPLETE) && i < count && i < PROPERTIES_MAX; i++) {
		const VkCooperativeMatrixPropertiesNV *p = &list[i];

		if (p->AType == VK_COMPONENT_TYPE_SINT8_NV && p->BType == VK_COMPONENT_TYPE_SINT8_NV &&
		    p->CType == VK_COMPONENT_TYPE_SINT32_NV && p->DType == VK_COMPONENT_TYPE_SINT32_NV &&
		    p->scope == VK_SCOPE_SUBGROUP_NV)
			add_shape(d, p->MSize, p->NSize, p->KSize, false);
	}
	free(list);
}

/* Extensions that are used where they are. */
static const char *const wanted[] = {
	VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME,     LINEUP_VK_COOPMAT_KHR,
	VK_NV_COOPERATIVE_MATRIX_EXTENSION_NAME,    VK_EXT_DEVICE_FAULT_EXTENSION_NAME,   VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME,
	VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME,
};

/* Of what the device offers, what is used. */
static void choose_features(struct lineup_vk_device *d, const struct lineup_vk_features *have, struct lineup_vk_features *use)
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
	use->khr.cooperativeMatrix = have->khr.cooperativeMatrix && have->v12.shaderInt8;
	use->nv.cooperativeMatrix = have->nv.cooperativeMatrix && have->v12.shaderInt8;
	use->fault.deviceFault = have->fault.deviceFault;
	d->dot = use->v13.shaderIntegerDotProduct;
	d->full_subgroups = use->v13.computeFullSubgroups;
	d->coopmat_khr = use->khr.cooperativeMatrix;
	d->coopmat_nv = use->nv.cooperativeMatrix;
	if (!use->v13.subgroupSizeControl)
		d->subgroup_min = d->subgroup_max = 0;
}

/* A family that copies and does nothing else: copies there go on beside the scans. Video engines can copy too, but are not made for it. */
static bool find_transfer(const struct lineup_vk_device *d, uint32_t *family)
{
	const VkQueueFlags others = VK_QUEUE_COMPUTE_BIT | VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_VIDEO_DECODE_BIT_KHR |
				    VK_QUEUE_OPTICAL_FLOW_BIT_NV | 0x40 /* video encoding, provisional in some headers */;

	return lineup_vk_family_find(&d->api, d->physical, VK_QUEUE_TRANSFER_BIT, others, family);
}

static int create_queue(struct lineup_vk_device *d, struct lineup_vk_queue *q, const char *name)
{
	VkSemaphoreTypeCreateInfo type = {
		.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
		.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
	};
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

static int create_device(struct lineup_vk_device *d, const struct lineup_vk_extensions *e, bool own_transfer)
{
	static const float priority = 1;
	VkDeviceQueueCreateInfo queues[2];
	const char *names[ARRAY_SIZE(wanted)];
	VkDeviceCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
		.pQueueCreateInfos = queues,
		.queueCreateInfoCount = own_transfer ? 2 : 1,
		.ppEnabledExtensionNames = names,
	};
	struct lineup_vk_features have, use;
	VkDevice created = VK_NULL_HANDLE;
	int err;

	lineup_vk_features_chain(&have, e);
	d->api.GetPhysicalDeviceFeatures2(d->physical, &have.base);
	lineup_vk_features_chain(&use, e);
	choose_features(d, &have, &use);
	info.pNext = &use.base;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (lineup_vk_extensions_have(e, wanted[i]))
			names[info.enabledExtensionCount++] = wanted[i];
	for (uint32_t i = 0; i < info.queueCreateInfoCount; i++)
		queues[i] = (VkDeviceQueueCreateInfo){
			.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
			.queueFamilyIndex = i ? d->transfer.family : d->compute.family,
			.queueCount = 1,
			.pQueuePriorities = &priority,
		};
	err = lineup_vk_result(d, d->api.CreateDevice(d->physical, &info, NULL, &created), "it was opened");
	if (err)
		return err;
	d->device = created;
	err = lineup_vk_api_load_device(&d->api, d->device);
	if (!use.fault.deviceFault)
		d->api.GetDeviceFaultInfoEXT = NULL;
	return err;
}

/* The device that was listed, in this instance: by its UUID. Two may share one (old drivers give zeros): then the index decides. */
static int find_again(struct lineup_vk_device *d, const struct lineup_device *which)
{
	struct lineup_vk_found *found = calloc(LINEUP_DEVICES_MAX, sizeof(*found)), *best = NULL;
	uint32_t count = 0;
	int err = found ? lineup_vk_find(&d->api, d->instance, found, &count) : -ENOMEM;

	for (uint32_t i = 0; !err && i < count; i++)
		if (!memcmp(found[i].info.uuid, which->uuid, sizeof(which->uuid)) && (!best || found[i].info.index == which->index))
			best = &found[i];
	if (!err && !best)
		err = -ENODEV;
	if (!err) {
		d->physical = best->physical;
		d->info = best->info;
	}
	free(found);
	return err;
}

static int open_found(struct lineup_vk_device *d)
{
	struct lineup_vk_extensions e = { 0 };
	bool own_transfer = find_transfer(d, &d->transfer.family);
	int err = lineup_vk_family_compute(&d->api, d->physical, &d->compute.family) ? 0 : -ENOTSUP;

	if (!err)
		err = lineup_vk_extensions_read(&d->api, d->physical, &e);
	if (!err) {
		read_limits(d, &e);
		err = create_device(d, &e, own_transfer);
	}
	free(e.list);
	if (err)
		return err;
	if (d->ctx->gpu_test.wrap)
		d->ctx->gpu_test.wrap(d->ctx->gpu_test.arg, &d->api);
	lineup_vk_name(d, VK_OBJECT_TYPE_DEVICE, (uint64_t)(uintptr_t)d->device, "lineup device %u", d->info.index);
	err = create_queue(d, &d->compute, "compute");
	if (!err && own_transfer)
		err = create_queue(d, &d->transfer, "transfer");
	if (!err && d->coopmat_khr)
		read_shapes_khr(d);
	if (!err && d->coopmat_nv)
		read_shapes_nv(d);
	return err;
}

int lineup_vk_open(struct lineup_ctx *ctx, const struct lineup_device *which, struct lineup_vk_device **device)
{
	struct lineup_vk_device *d = calloc(1, sizeof(*d));
	const char *why = NULL;
	int err;

	if (!d)
		return lineup_fail(ctx, -ENOMEM, "device %u (%s): no memory", which->index, which->name);
	d->ctx = ctx;
	d->info = *which;
	err = lineup_vk_instance_create(&d->api, &d->instance, &why);
	if (!err)
		err = find_again(d, which);
	if (!err && d->info.why_not) {
		err = -ENOTSUP;
		why = d->info.why_not;
	}
	if (!err)
		err = open_found(d);
	if (err == -EIO)
		err = -ENODEV; /* a driver that fails at this has no device for us */
	if (err) {
		lineup_fail(ctx, err, "device %u (%s): cannot be opened: %s", which->index, which->name,
			    why ? why : strerror(-err));
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
