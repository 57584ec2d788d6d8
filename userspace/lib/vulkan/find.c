// SPDX-License-Identifier: MIT
// Which Vulkan devices there are, and what each one is: the library, an instance, and looking at devices without opening them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vk_find.h"

enum { EXTENSIONS_MAX = 1024, FAMILIES_MAX = 32 };

static bool has_extension(const VkExtensionProperties *list, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++)
		if (!strcmp(list[i].extensionName, name))
			return true;
	return false;
}

int lineup_vk_extensions_read(const struct lineup_vk_api *api, VkPhysicalDevice physical, struct lineup_vk_extensions *e)
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

bool lineup_vk_extensions_have(const struct lineup_vk_extensions *e, const char *name)
{
	return has_extension(e->list, e->count, name);
}

/* ---- the instance ---- */

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
	VkInstance created = VK_NULL_HANDLE;
	uint32_t count = EXTENSIONS_MAX;
	VkResult result;
	int err;

	if (!list)
		return -ENOMEM;
	result = api->EnumerateInstanceExtensionProperties(NULL, &count, list);
	if (result == VK_SUCCESS || result == VK_INCOMPLETE)
		info.enabledExtensionCount = has_extension(list, count, debug_utils);
	free(list);
	result = api->CreateInstance(&info, NULL, &created);
	if (result == VK_ERROR_OUT_OF_HOST_MEMORY)
		return -ENOMEM;
	if (result != VK_SUCCESS)
		return -ENODEV; /* the loader found no driver, or no instance of 1.3 can be had */
	*instance = created;
	err = lineup_vk_api_load_instance(api, created);
	if (!err && !info.enabledExtensionCount)
		api->SetDebugUtilsObjectNameEXT = NULL;
	return err;
}

int lineup_vk_instance_create(struct lineup_vk_api *api, VkInstance *instance, const char **why)
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

/* ---- one device ---- */

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
	VkPhysicalDeviceMemoryBudgetPropertiesEXT budgets = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT,
	};
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
		else if (budget)
			info->memory_available = 0;
	}
}

static void describe(const struct lineup_vk_api *api, VkPhysicalDevice physical, const struct lineup_vk_extensions *e,
		     struct lineup_device *info)
{
	VkPhysicalDeviceDrmPropertiesEXT drm = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRM_PROPERTIES_EXT };
	VkPhysicalDevicePCIBusInfoPropertiesEXT pci = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT };
	VkPhysicalDeviceDriverProperties driver = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES };
	VkPhysicalDeviceIDProperties id = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES, .pNext = &driver };
	VkPhysicalDeviceProperties2 p = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &id };
	bool has_pci = lineup_vk_extensions_have(e, VK_EXT_PCI_BUS_INFO_EXTENSION_NAME);

	if (lineup_vk_extensions_have(e, VK_EXT_PHYSICAL_DEVICE_DRM_EXTENSION_NAME)) {
		drm.pNext = p.pNext;
		p.pNext = &drm;
	}
	if (has_pci) {
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
	/* Behind some bridges domains have more than four digits. */
	if (has_pci)
		snprintf(info->pci, sizeof(info->pci), "%04x:%02x:%02x.%x", pci.pciDomain & 0xfffff, pci.pciBus & 0xff,
			 pci.pciDevice & 0x1f, pci.pciFunction & 7);
	lineup_vk_locate(info, drm.hasRender, (uint32_t)drm.renderMajor, (uint32_t)drm.renderMinor);
	if (p.properties.apiVersion < VK_API_VERSION_1_3)
		info->why_not = "its driver speaks no Vulkan 1.3";
	read_memory(api, physical, lineup_vk_extensions_have(e, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME), info);
}

void lineup_vk_features_chain(struct lineup_vk_features *f, const struct lineup_vk_extensions *e)
{
	*f = (struct lineup_vk_features){
		.base.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
		.v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
		.v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
		.v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
		.khr.sType = (VkStructureType)1000506000, /* _PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR */
		.nv.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_NV,
		.fault.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FAULT_FEATURES_EXT,
	};
	f->base.pNext = &f->v11;
	f->v11.pNext = &f->v12;
	f->v12.pNext = &f->v13;
	if (lineup_vk_extensions_have(e, LINEUP_VK_COOPMAT_KHR)) {
		f->khr.pNext = f->v13.pNext;
		f->v13.pNext = &f->khr;
	}
	if (lineup_vk_extensions_have(e, VK_NV_COOPERATIVE_MATRIX_EXTENSION_NAME)) {
		f->nv.pNext = f->v13.pNext;
		f->v13.pNext = &f->nv;
	}
	if (lineup_vk_extensions_have(e, VK_EXT_DEVICE_FAULT_EXTENSION_NAME)) {
		f->fault.pNext = f->v13.pNext;
		f->v13.pNext = &f->fault;
	}
}

bool lineup_vk_family_find(const struct lineup_vk_api *api, VkPhysicalDevice physical, VkQueueFlags want, VkQueueFlags avoid,
			   uint32_t *family)
{
	VkQueueFamilyProperties2 families[FAMILIES_MAX];
	uint32_t count = FAMILIES_MAX;

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

bool lineup_vk_family_compute(const struct lineup_vk_api *api, VkPhysicalDevice physical, uint32_t *family)
{
	/* A family without graphics is scheduled beside a desktop's work, not between. */
	return lineup_vk_family_find(api, physical, VK_QUEUE_COMPUTE_BIT, VK_QUEUE_GRAPHICS_BIT, family) ||
	       lineup_vk_family_find(api, physical, VK_QUEUE_COMPUTE_BIT, 0, family);
}

/* What every variant needs and this device lacks; NULL: nothing. */
static const char *lacks(const struct lineup_vk_api *api, VkPhysicalDevice physical, const struct lineup_vk_extensions *e)
{
	struct lineup_vk_features f;
	uint32_t family;

	lineup_vk_features_chain(&f, e);
	api->GetPhysicalDeviceFeatures2(physical, &f.base);
	if (!lineup_vk_family_compute(api, physical, &family))
		return "it has no compute queue";
	if (!f.v12.bufferDeviceAddress)
		return "it lacks bufferDeviceAddress";
	if (!f.v12.timelineSemaphore)
		return "it lacks timelineSemaphore";
	if (!f.v12.vulkanMemoryModel)
		return "it lacks vulkanMemoryModel";
	if (!f.v13.synchronization2)
		return "it lacks synchronization2";
	return NULL;
}

/* ---- all devices ---- */

static int gpus_first(const void *a, const void *b)
{
	const struct lineup_vk_found *x = a, *y = b;
	int sx = x->info.type == LINEUP_DEVICE_SOFTWARE, sy = y->info.type == LINEUP_DEVICE_SOFTWARE;

	if (sx != sy)
		return sx - sy;
	return x->info.index < y->info.index ? -1 : x->info.index > y->info.index;
}

int lineup_vk_find(const struct lineup_vk_api *api, VkInstance instance, struct lineup_vk_found found[LINEUP_DEVICES_MAX],
		   uint32_t *count)
{
	VkPhysicalDevice physicals[LINEUP_DEVICES_MAX];
	uint32_t n = LINEUP_DEVICES_MAX;
	VkResult result = api->EnumeratePhysicalDevices(instance, &n, physicals);

	if (result == VK_ERROR_OUT_OF_HOST_MEMORY)
		return -ENOMEM;
	if (result != VK_SUCCESS && result != VK_INCOMPLETE)
		return -ENODEV;
	for (uint32_t i = 0; i < n; i++) {
		struct lineup_vk_extensions e;
		int err = lineup_vk_extensions_read(api, physicals[i], &e);

		if (err)
			return err;
		memset(&found[i], 0, sizeof(found[i]));
		found[i].physical = physicals[i];
		found[i].info.index = i;
		describe(api, physicals[i], &e, &found[i].info);
		if (!found[i].info.why_not)
			found[i].info.why_not = lacks(api, physicals[i], &e);
		free(e.list);
	}
	qsort(found, n, sizeof(*found), gpus_first);
	for (uint32_t i = 0; i < n; i++)
		found[i].info.index = i;
	*count = n;
	return 0;
}

int lineup_vk_list(struct lineup_ctx *ctx, struct lineup_device *devices, uint32_t max, uint32_t *count, const char **why)
{
	struct lineup_vk_found *found = calloc(LINEUP_DEVICES_MAX, sizeof(*found));
	struct lineup_vk_api api = { 0 };
	VkInstance instance;
	const char *reason;
	uint32_t n = 0;
	int err;

	if (!found)
		return lineup_fail(ctx, -ENOMEM, "devices: no memory");
	err = lineup_vk_instance_create(&api, &instance, &reason);
	if (!err)
		err = lineup_vk_find(&api, instance, found, &n);
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
	if (instance && api.DestroyInstance)
		api.DestroyInstance(instance, NULL);
	free(found);
	return err;
}
