// SPDX-License-Identifier: MIT
// Vulkan's functions: the loader is opened at run time, and the table is filled for the library, an instance, a device.
#include <dlfcn.h>

#include "vk.h"

static const char loader[] = "libvulkan.so.1";

#define LOAD(name) (PFN_vk##name)(void (*)(void))api->GetInstanceProcAddr(instance, "vk" #name)

int lineup_vk_api_load(struct lineup_vk_api *api)
{
	VkInstance instance = VK_NULL_HANDLE;
	bool complete = true;

	api->library = dlopen(loader, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!api->library)
		return -ENODEV;
	*(void **)&api->GetInstanceProcAddr = dlsym(api->library, "vkGetInstanceProcAddr");
	if (!api->GetInstanceProcAddr)
		goto unload;
#define GLOBAL(name) complete = (api->name = LOAD(name)) && complete;
	LINEUP_VK_GLOBAL_FUNCTIONS(GLOBAL)
	if (complete)
		return 0;
unload:
	lineup_vk_api_unload(api);
	return -ENODEV;
}

int lineup_vk_api_load_instance(struct lineup_vk_api *api, VkInstance instance)
{
	bool complete = true;

#define INSTANCE(name) complete = (api->name = LOAD(name)) && complete;
	LINEUP_VK_INSTANCE_FUNCTIONS(INSTANCE)
	api->SetDebugUtilsObjectNameEXT = LOAD(SetDebugUtilsObjectNameEXT);
	return complete ? 0 : -ENODEV;
}

int lineup_vk_api_load_device(struct lineup_vk_api *api, VkDevice device)
{
	bool complete = true;

#define DEVICE_LOAD(name) ((PFN_vk##name)(void (*)(void))api->GetDeviceProcAddr(device, "vk" #name))
#define DEVICE(name) complete = (api->name = DEVICE_LOAD(name)) && complete;
	LINEUP_VK_DEVICE_FUNCTIONS(DEVICE)
	api->GetMemoryHostPointerPropertiesEXT = DEVICE_LOAD(GetMemoryHostPointerPropertiesEXT);
	api->GetDeviceFaultInfoEXT = DEVICE_LOAD(GetDeviceFaultInfoEXT);
	return complete ? 0 : -ENODEV;
}

void lineup_vk_api_unload(struct lineup_vk_api *api)
{
	if (api->library)
		dlclose(api->library);
	api->library = NULL;
}
