// SPDX-License-Identifier: MIT
// Command buffers, submissions and waits. Order within a queue is by barriers, between queues and host by timelines.
#include "vk.h"

int lineup_vk_commands_create(struct lineup_vk_device *d, const struct lineup_vk_queue *queue, const char *name,
			      struct lineup_vk_commands *commands)
{
	VkCommandPoolCreateInfo pool = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
		.flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT,
		.queueFamilyIndex = queue->family,
	};
	VkCommandBufferAllocateInfo allocate = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
		.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
		.commandBufferCount = 1,
	};
	struct lineup_vk_commands c = { 0 };
	int err;

	if (atomic_load(&d->lost))
		return -ENODEV;
	err = lineup_vk_result(d, d->api.CreateCommandPool(d->device, &pool, NULL, &c.pool), "making a command pool");
	if (err)
		return err;
	allocate.commandPool = c.pool;
	err = lineup_vk_result(d, d->api.AllocateCommandBuffers(d->device, &allocate, &c.buffer), "making a command buffer");
	if (err) {
		lineup_vk_commands_destroy(d, &c);
		return err;
	}
	lineup_vk_name(d, VK_OBJECT_TYPE_COMMAND_POOL, (uint64_t)c.pool, "lineup %s pool", name);
	lineup_vk_name(d, VK_OBJECT_TYPE_COMMAND_BUFFER, (uint64_t)(uintptr_t)c.buffer, "lineup %s", name);
	*commands = c;
	return 0;
}

void lineup_vk_commands_destroy(struct lineup_vk_device *d, struct lineup_vk_commands *commands)
{
	if (commands->pool)
		d->api.DestroyCommandPool(d->device, commands->pool, NULL);
	*commands = (struct lineup_vk_commands){ 0 };
}

int lineup_vk_begin(struct lineup_vk_device *d, struct lineup_vk_commands *commands)
{
	VkCommandBufferBeginInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
		.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
	};
	int err;

	if (atomic_load(&d->lost))
		return -ENODEV;
	err = lineup_vk_result(d, d->api.ResetCommandPool(d->device, commands->pool, 0), "resetting commands");
	if (err)
		return err;
	return lineup_vk_result(d, d->api.BeginCommandBuffer(commands->buffer, &info), "beginning commands");
}

void lineup_vk_copy(struct lineup_vk_device *d, struct lineup_vk_commands *commands, const struct lineup_vk_buffer *from,
		    uint64_t from_offset, const struct lineup_vk_buffer *to, uint64_t to_offset, uint64_t size)
{
	VkBufferCopy region = { .srcOffset = from_offset, .dstOffset = to_offset, .size = size };

	d->api.CmdCopyBuffer(commands->buffer, from->buffer, to->buffer, 1, &region);
}

void lineup_vk_fill(struct lineup_vk_device *d, struct lineup_vk_commands *commands, const struct lineup_vk_buffer *to,
		    uint64_t offset, uint64_t size, uint32_t word)
{
	d->api.CmdFillBuffer(commands->buffer, to->buffer, offset, size, word);
}

void lineup_vk_barrier(struct lineup_vk_device *d, struct lineup_vk_commands *commands)
{
	VkMemoryBarrier2 memory = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
		.srcStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
		.srcAccessMask = VK_ACCESS_2_MEMORY_WRITE_BIT,
		.dstStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_2_HOST_BIT,
		.dstAccessMask = VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT | VK_ACCESS_2_HOST_READ_BIT,
	};
	VkDependencyInfo info = { .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO, .memoryBarrierCount = 1, .pMemoryBarriers = &memory };

	d->api.CmdPipelineBarrier2(commands->buffer, &info);
}

int lineup_vk_submit(struct lineup_vk_device *d, struct lineup_vk_queue *queue, struct lineup_vk_commands *commands,
		     const struct lineup_vk_queue *after, uint64_t after_value, uint64_t *value)
{
	VkSemaphoreSubmitInfo wait = {
		.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
		.semaphore = after ? after->timeline : VK_NULL_HANDLE,
		.value = after_value,
		.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
	};
	VkSemaphoreSubmitInfo signal = {
		.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
		.semaphore = queue->timeline,
		.value = queue->submitted + 1,
		.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
	};
	VkCommandBufferSubmitInfo command = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
		.commandBuffer = commands->buffer,
	};
	VkSubmitInfo2 submit = {
		.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
		.waitSemaphoreInfoCount = after ? 1 : 0,
		.pWaitSemaphoreInfos = &wait,
		.commandBufferInfoCount = 1,
		.pCommandBufferInfos = &command,
		.signalSemaphoreInfoCount = 1,
		.pSignalSemaphoreInfos = &signal,
	};
	int err = lineup_vk_result(d, d->api.EndCommandBuffer(commands->buffer), "recording commands");

	if (!err && atomic_load(&d->lost))
		err = -ENODEV;
	if (!err)
		err = lineup_vk_result(d, d->api.QueueSubmit2(queue->queue, 1, &submit, VK_NULL_HANDLE), "submitting commands");
	if (err)
		return err;
	*value = ++queue->submitted;
	return 0;
}

int lineup_vk_wait(struct lineup_vk_device *d, const struct lineup_vk_queue *queue, uint64_t value, uint64_t timeout_ns)
{
	VkSemaphoreWaitInfo info = {
		.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
		.semaphoreCount = 1,
		.pSemaphores = &queue->timeline,
		.pValues = &value,
	};

	if (atomic_load(&d->lost))
		return -ENODEV;
	return lineup_vk_result(d, d->api.WaitSemaphores(d->device, &info, timeout_ns), "waiting for it");
}
