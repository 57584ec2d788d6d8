// SPDX-License-Identifier: MIT
// Stands before Vulkan's loader, as libvulkan.so.1, in the daemon's tests: while faults.h says so the device is lost, whatever is asked of it.
#include <dlfcn.h>
#include <string.h>
#include <vulkan/vulkan_core.h>

#include "faults.h"

static struct faults none;
static struct faults *faults = &none;
static PFN_vkGetInstanceProcAddr instance_proc;
static PFN_vkGetDeviceProcAddr device_proc;
static PFN_vkQueueSubmit2 queue_submit2;
static PFN_vkWaitSemaphores wait_semaphores;
static PFN_vkCreateDevice create_device;

static VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue queue, uint32_t count, const VkSubmitInfo2 *submits, VkFence fence)
{
	faults->submissions++;
	if (faults->device_lost) {
		faults->injected++;
		return VK_ERROR_DEVICE_LOST;
	}
	return queue_submit2(queue, count, submits, fence);
}

static VKAPI_ATTR VkResult VKAPI_CALL wait(VkDevice device, const VkSemaphoreWaitInfo *info, uint64_t timeout)
{
	return faults->device_lost ? VK_ERROR_DEVICE_LOST : wait_semaphores(device, info, timeout);
}

/* A lost device cannot be opened again either. */
static VKAPI_ATTR VkResult VKAPI_CALL create(VkPhysicalDevice physical, const VkDeviceCreateInfo *info, const VkAllocationCallbacks *allocator,
					     VkDevice *device)
{
	return faults->device_lost ? VK_ERROR_DEVICE_LOST : create_device(physical, info, allocator, device);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL of_device(VkDevice device, const char *name)
{
	PFN_vkVoidFunction real = device_proc(device, name);

	if (real && !strcmp(name, "vkQueueSubmit2")) {
		queue_submit2 = (PFN_vkQueueSubmit2)real;
		return (PFN_vkVoidFunction)submit;
	}
	if (real && !strcmp(name, "vkWaitSemaphores")) {
		wait_semaphores = (PFN_vkWaitSemaphores)real;
		return (PFN_vkVoidFunction)wait;
	}
	return real;
}

__attribute__((visibility("default"))) VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance, const char *name)
{
	PFN_vkVoidFunction real;

	if (!instance_proc) {
		const char *loader = getenv("LINEUP_VULKAN_LOADER");
		void *library = dlopen(loader ? loader : "/usr/lib/x86_64-linux-gnu/libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
		struct faults *mapped = faults_map();

		if (!library)
			return NULL;
		*(void **)&instance_proc = dlsym(library, "vkGetInstanceProcAddr");
		if (mapped)
			faults = mapped;
	}
	real = instance_proc(instance, name);
	if (real && !strcmp(name, "vkGetDeviceProcAddr")) {
		device_proc = (PFN_vkGetDeviceProcAddr)real;
		return (PFN_vkVoidFunction)of_device;
	}
	if (real && !strcmp(name, "vkCreateDevice")) {
		create_device = (PFN_vkCreateDevice)real;
		return (PFN_vkVoidFunction)create;
	}
	return real;
}
