// SPDX-License-Identifier: MIT
// Buffers: device-local, host-visible, and imported from the host's own pages; all with a device address.
#include <string.h>

#include "vk.h"

static const VkBufferUsageFlags usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT |
					VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;

/* Memory that only some features or uses allow. */
static const VkMemoryPropertyFlags never = VK_MEMORY_PROPERTY_PROTECTED_BIT | VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT |
					   VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD | VK_MEMORY_PROPERTY_DEVICE_UNCACHED_BIT_AMD;
static const VkMemoryPropertyFlags host = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;

/* The first memory type of @mask that has all of @must and, if one such has them, @wish as well; -1: none. */
static int find_type(const struct lineup_vk_device *d, uint32_t mask, VkMemoryPropertyFlags must, VkMemoryPropertyFlags wish)
{
	int found = -1;

	for (uint32_t i = 0; i < d->memory.memoryTypeCount; i++) {
		VkMemoryPropertyFlags flags = d->memory.memoryTypes[i].propertyFlags;

		if (!(mask >> i & 1) || (flags & must) != must || (flags & never))
			continue;
		if ((flags & wish) == wish)
			return (int)i;
		if (found < 0)
			found = (int)i;
	}
	return found;
}

static int type_for(const struct lineup_vk_device *d, enum lineup_vk_where where, uint32_t mask)
{
	switch (where) {
	case LINEUP_VK_DEVICE: return find_type(d, mask, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0);
	/* Cached memory serves the host that verifies what it read there; uncached would make a checksum crawl. */
	case LINEUP_VK_UPLOAD: return find_type(d, mask, host, VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
	case LINEUP_VK_READBACK: return find_type(d, mask, host, VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
	}
	return -1;
}

/* Buffers that both queues use are shared: an ownership transfer for each would be another submission. */
static int create_handle(struct lineup_vk_device *d, const void *next, uint64_t size, struct lineup_vk_buffer *buffer)
{
	const uint32_t families[] = { d->compute.family, d->transfer.family };
	VkBufferCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
		.pNext = next,
		.size = size,
		.usage = usage,
		.sharingMode = d->transfer.queue ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
		.queueFamilyIndexCount = d->transfer.queue ? 2 : 0,
		.pQueueFamilyIndices = families,
	};

	return lineup_vk_result(d, d->api.CreateBuffer(d->device, &info, NULL, &buffer->buffer), "making a buffer");
}

static void read_requirements(struct lineup_vk_device *d, const struct lineup_vk_buffer *buffer, VkMemoryRequirements *needs)
{
	VkBufferMemoryRequirementsInfo2 info = {
		.sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2,
		.buffer = buffer->buffer,
	};
	VkMemoryRequirements2 requirements = { .sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2 };

	d->api.GetBufferMemoryRequirements2(d->device, &info, &requirements);
	*needs = requirements.memoryRequirements;
}

/* Allocates (or, with @import, takes in) memory of @type and binds it. */
static int back(struct lineup_vk_device *d, uint64_t size, uint32_t type, const VkImportMemoryHostPointerInfoEXT *import,
		struct lineup_vk_buffer *buffer)
{
	VkMemoryAllocateFlagsInfo flags = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
		.pNext = import,
		.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
	};
	VkMemoryAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
		.pNext = &flags,
		.allocationSize = size,
		.memoryTypeIndex = type,
	};
	VkBindBufferMemoryInfo bind = { .sType = VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO, .buffer = buffer->buffer };
	VkBufferDeviceAddressInfo address = { .sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, .buffer = buffer->buffer };
	int err = lineup_vk_result(d, d->api.AllocateMemory(d->device, &info, NULL, &buffer->memory), "allocating memory");

	if (err)
		return err;
	bind.memory = buffer->memory;
	err = lineup_vk_result(d, d->api.BindBufferMemory2(d->device, 1, &bind), "binding memory");
	if (err)
		return err;
	buffer->address = d->api.GetBufferDeviceAddress(d->device, &address);
	return buffer->address ? 0 : -EIO;
}

static void name(struct lineup_vk_device *d, const struct lineup_vk_buffer *buffer, const char *text)
{
	lineup_vk_name(d, VK_OBJECT_TYPE_BUFFER, (uint64_t)buffer->buffer, "lineup %s", text);
	lineup_vk_name(d, VK_OBJECT_TYPE_DEVICE_MEMORY, (uint64_t)buffer->memory, "lineup %s memory", text);
}

int lineup_vk_buffer_create(struct lineup_vk_device *d, enum lineup_vk_where where, uint64_t size, const char *text,
			    struct lineup_vk_buffer *buffer)
{
	struct lineup_vk_buffer b = { .size = size };
	VkMemoryRequirements needs;
	int err, type;

	if (atomic_load(&d->lost))
		return -ENODEV;
	if (!size || size > d->allocation_max)
		return -ENOMEM;
	err = create_handle(d, NULL, size, &b);
	if (err)
		return err;
	read_requirements(d, &b, &needs);
	type = type_for(d, where, needs.memoryTypeBits);
	err = type < 0 ? -ENOMEM : back(d, needs.size, (uint32_t)type, NULL, &b);
	if (!err && where != LINEUP_VK_DEVICE)
		err = lineup_vk_result(d, d->api.MapMemory(d->device, b.memory, 0, VK_WHOLE_SIZE, 0, &b.map), "mapping memory");
	if (err) {
		lineup_vk_buffer_destroy(d, &b);
		return err;
	}
	/* A driver may hand out what this process had before: probes, if the device that held them was lost and could not erase them. */
	if (b.map)
		memset(b.map, 0, size);
	name(d, &b, text);
	*buffer = b;
	return 0;
}

static const VkExternalMemoryHandleTypeFlagBits from_host = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;

static bool can_import(const struct lineup_vk_device *d, const void *memory, uint64_t size)
{
	VkPhysicalDeviceExternalBufferInfo info = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO,
		.usage = usage,
		.handleType = from_host,
	};
	VkExternalBufferProperties properties = { .sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES };

	if (!d->import_alignment || !d->api.GetMemoryHostPointerPropertiesEXT || (uintptr_t)memory % d->import_alignment || !size ||
	    size % d->import_alignment || size > d->allocation_max)
		return false;
	d->api.GetPhysicalDeviceExternalBufferProperties(d->physical, &info, &properties);
	return properties.externalMemoryProperties.externalMemoryFeatures & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT;
}

int lineup_vk_buffer_import(struct lineup_vk_device *d, void *memory, uint64_t size, const char *text,
			    struct lineup_vk_buffer *buffer)
{
	VkExternalMemoryBufferCreateInfo external = {
		.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
		.handleTypes = from_host,
	};
	VkMemoryHostPointerPropertiesEXT properties = { .sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT };
	VkImportMemoryHostPointerInfoEXT import = {
		.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
		.handleType = from_host,
		.pHostPointer = memory,
	};
	struct lineup_vk_buffer b = { .size = size, .imported = true, .map = memory };
	VkMemoryRequirements needs;
	int err, type;

	if (atomic_load(&d->lost))
		return -ENODEV;
	if (!can_import(d, memory, size))
		return -ENOTSUP;
	err = lineup_vk_result(d, d->api.GetMemoryHostPointerPropertiesEXT(d->device, from_host, memory, &properties),
			       "importing memory");
	if (!err)
		err = create_handle(d, &external, size, &b);
	if (!err) {
		read_requirements(d, &b, &needs);
		/* What is not mapped by Vulkan cannot be flushed by it: only coherent memory will do. */
		type = find_type(d, needs.memoryTypeBits & properties.memoryTypeBits, host, 0);
		err = type < 0 || needs.size > size ? -ENOTSUP : back(d, size, (uint32_t)type, &import, &b);
	}
	if (err) {
		lineup_vk_buffer_destroy(d, &b);
		return err == -ENODEV ? err : -ENOTSUP;
	}
	name(d, &b, text);
	*buffer = b;
	return 0;
}

void lineup_vk_buffer_destroy(struct lineup_vk_device *d, struct lineup_vk_buffer *buffer)
{
	if (buffer->map && !buffer->imported)
		d->api.UnmapMemory(d->device, buffer->memory);
	if (buffer->buffer)
		d->api.DestroyBuffer(d->device, buffer->buffer, NULL);
	if (buffer->memory)
		d->api.FreeMemory(d->device, buffer->memory, NULL);
	memset(buffer, 0, sizeof(*buffer));
}

uint64_t lineup_vk_memory_available(struct lineup_vk_device *d)
{
	VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT,
	};
	VkPhysicalDeviceMemoryProperties2 memory = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
		.pNext = d->memory_budget ? &budget : NULL,
	};
	int type = find_type(d, UINT32_MAX, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0);
	uint32_t heap;

	if (type < 0)
		return 0;
	heap = d->memory.memoryTypes[type].heapIndex;
	if (!d->memory_budget)
		return d->memory.memoryHeaps[heap].size;
	d->api.GetPhysicalDeviceMemoryProperties2(d->physical, &memory);
	return budget.heapBudget[heap] > budget.heapUsage[heap] ? budget.heapBudget[heap] - budget.heapUsage[heap] : 0;
}
