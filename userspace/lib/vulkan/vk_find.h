/* SPDX-License-Identifier: MIT */
/* Looking at devices before one is opened: what find.c and device.c share. */
#ifndef LINEUP_VK_FIND_H
#define LINEUP_VK_FIND_H

#include "vk.h"

/* VK_KHR_cooperative_matrix, which Vulkan headers before 1.3.255 lack. */
#define LINEUP_VK_COOPMAT_KHR "VK_KHR_cooperative_matrix"

struct lineup_vk_coopmat_features {
	VkStructureType sType;
	void *pNext;
	VkBool32 cooperativeMatrix;
	VkBool32 cooperativeMatrixRobustBufferAccess;
};

/* Every feature this library may use, chained. */
struct lineup_vk_features {
	VkPhysicalDeviceFeatures2 base;
	VkPhysicalDeviceVulkan11Features v11;
	VkPhysicalDeviceVulkan12Features v12;
	VkPhysicalDeviceVulkan13Features v13;
	struct lineup_vk_coopmat_features khr;
	VkPhysicalDeviceCooperativeMatrixFeaturesNV nv;
	VkPhysicalDeviceFaultFeaturesEXT fault;
};

struct lineup_vk_extensions {
	VkExtensionProperties *list;
	uint32_t count;
};

struct lineup_vk_found {
	VkPhysicalDevice physical;
	struct lineup_device info;
};

/*
 * Loads the library and makes an instance. -ENODEV: silent, *@why says the reason (static); -ENOMEM, silent. Whatever it returns, the caller
 * destroys *@instance if it is not VK_NULL_HANDLE.
 */
int lineup_vk_instance_create(struct lineup_vk_api *api, VkInstance *instance, const char **why);
/* All devices of @instance, at most LINEUP_DEVICES_MAX, in the order of their indexes. -ENODEV, -ENOMEM: silent. */
int lineup_vk_find(const struct lineup_vk_api *api, VkInstance instance, struct lineup_vk_found found[LINEUP_DEVICES_MAX],
		   uint32_t *count);

/* -ENOMEM. The caller frees @e->list. */
int lineup_vk_extensions_read(const struct lineup_vk_api *api, VkPhysicalDevice physical, struct lineup_vk_extensions *e);
bool lineup_vk_extensions_have(const struct lineup_vk_extensions *e, const char *name);
/* Zeroes @f and chains what a device with @e can be asked for. */
void lineup_vk_features_chain(struct lineup_vk_features *f, const struct lineup_vk_extensions *e);
/* The first queue family that can do all of @want and nothing of @avoid. */
bool lineup_vk_family_find(const struct lineup_vk_api *api, VkPhysicalDevice physical, VkQueueFlags want, VkQueueFlags avoid,
			   uint32_t *family);
bool lineup_vk_family_compute(const struct lineup_vk_api *api, VkPhysicalDevice physical, uint32_t *family);

#endif
