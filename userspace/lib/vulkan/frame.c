// SPDX-License-Identifier: MIT
// Frames as Vulkan buffers: by dma-buf where the driver can, by host pointer elsewhere.
#include "frame.h"

#include <fcntl.h>
#include <unistd.h>

static const VkBufferUsageFlags usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT |
					VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
static const VkExternalMemoryHandleTypeFlagBits from_dma_buf = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;

static bool can_import(const struct lineup_vk_device *d)
{
	VkPhysicalDeviceExternalBufferInfo info = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO,
		.usage = usage,
		.handleType = from_dma_buf,
	};
	VkExternalBufferProperties properties = { .sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES };

	d->api.GetPhysicalDeviceExternalBufferProperties(d->physical, &info, &properties);
	return properties.externalMemoryProperties.externalMemoryFeatures & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT;
}

static int make_buffer(struct lineup_vk_device *d, uint64_t size, VkBuffer *buffer, VkMemoryRequirements2 *needs)
{
	const uint32_t families[] = { d->compute.family, d->transfer.family };
	VkExternalMemoryBufferCreateInfo external = {
		.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
		.handleTypes = from_dma_buf,
	};
	VkBufferCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
		.pNext = &external,
		.size = size,
		.usage = usage,
		.sharingMode = d->transfer.queue ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
		.queueFamilyIndexCount = d->transfer.queue ? 2 : 0,
		.pQueueFamilyIndices = families,
	};
	VkBufferMemoryRequirementsInfo2 which = { .sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2 };
	int err = lineup_vk_result(d, d->api.CreateBuffer(d->device, &info, NULL, buffer), "making a buffer of a frame");

	if (err)
		return err;
	which.buffer = *buffer;
	*needs = (VkMemoryRequirements2){ .sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2 };
	d->api.GetBufferMemoryRequirements2(d->device, &which, needs);
	return 0;
}

/* Takes memory of the types in @mask in from a descriptor of its own, which belongs to the driver once this succeeds. */
static int take_in(struct lineup_vk_device *d, const struct lineup_frame *frame, uint32_t mask, struct lineup_vk_buffer *buffer)
{
	VkImportMemoryFdInfoKHR import = {
		.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR,
		.handleType = from_dma_buf,
		.fd = fcntl(frame->fd, F_DUPFD_CLOEXEC, 0),
	};
	VkMemoryAllocateFlagsInfo flags = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
		.pNext = &import,
		.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
	};
	VkMemoryAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
				      .pNext = &flags,
				      .allocationSize = frame->bytes };
	VkBindBufferMemoryInfo bind = { .sType = VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO, .buffer = buffer->buffer };
	VkBufferDeviceAddressInfo address = { .sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, .buffer = buffer->buffer };
	int err;

	if (import.fd < 0)
		return -errno;
	while (!(mask >> info.memoryTypeIndex & 1))
		info.memoryTypeIndex++;
	err = lineup_vk_result(d, d->api.AllocateMemory(d->device, &info, NULL, &buffer->memory), "importing a dma-buf");
	if (err) {
		close(import.fd);
		return err;
	}
	/* The driver owns import.fd from here. */
	bind.memory = buffer->memory;
	err = lineup_vk_result(d, d->api.BindBufferMemory2(d->device, 1, &bind), "binding memory");
	if (err)
		return err;
	buffer->address = d->api.GetBufferDeviceAddress(d->device, &address);
	return buffer->address ? 0 : -EIO;
}

static int by_dma_buf(struct lineup_vk_device *d, const struct lineup_frame *frame, struct lineup_vk_buffer *buffer)
{
	PFN_vkGetMemoryFdPropertiesKHR query;
	VkMemoryFdPropertiesKHR properties = { .sType = VK_STRUCTURE_TYPE_MEMORY_FD_PROPERTIES_KHR };
	struct lineup_vk_buffer b = { .size = frame->bytes, .imported = true };
	VkMemoryRequirements2 needs;
	uint32_t mask = 0;
	int err;

	query = (PFN_vkGetMemoryFdPropertiesKHR)d->api.GetDeviceProcAddr(d->device, "vkGetMemoryFdPropertiesKHR");
	if (!frame->dma_buf || !query || frame->bytes > d->allocation_max || !can_import(d))
		return -ENOTSUP;
	err = lineup_vk_result(d, query(d->device, from_dma_buf, frame->fd, &properties), "looking at a dma-buf");
	err = err ? err : make_buffer(d, frame->bytes, &b.buffer, &needs);
	if (!err) {
		mask = needs.memoryRequirements.memoryTypeBits & properties.memoryTypeBits;
		err = mask && needs.memoryRequirements.size <= frame->bytes ? take_in(d, frame, mask, &b) : -ENOTSUP;
	}
	if (err) {
		lineup_vk_buffer_destroy(d, &b);
		return err == -ENODEV ? err : -ENOTSUP;
	}
	lineup_vk_name(d, VK_OBJECT_TYPE_BUFFER, (uint64_t)b.buffer, "lineup frame");
	lineup_vk_name(d, VK_OBJECT_TYPE_DEVICE_MEMORY, (uint64_t)b.memory, "lineup frame memory");
	*buffer = b;
	return 0;
}

int lineup_vk_frame_import(struct lineup_vk_device *d, struct lineup_frame *frame, struct lineup_vk_buffer *buffer,
			   const char **how)
{
	const char *way = "dma-buf";
	void *data;
	int err;

	if (atomic_load(&d->lost))
		return -ENODEV;
	err = by_dma_buf(d, frame, buffer);
	if (err == -ENOTSUP) {
		way = "host pointer";
		err = lineup_frame_map(frame, &data);
		err = err ? err : lineup_vk_buffer_import(d, data, frame->bytes, "frame", buffer);
	}
	if (!err && how)
		*how = way;
	return err;
}
