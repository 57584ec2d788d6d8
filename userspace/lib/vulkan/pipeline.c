// SPDX-License-Identifier: MIT
// Compute pipelines: made from SPIR-V, and put into command buffers.
#include <string.h>

#include "vk.h"

enum { CONSTANTS_MAX = 16 };

int lineup_vk_pipeline_create(struct lineup_vk_device *d, const struct lineup_vk_spirv *spirv, const uint32_t *constants,
			      uint32_t count, uint32_t push_bytes, uint32_t subgroup, struct lineup_vk_pipeline *pipeline)
{
	VkSpecializationMapEntry map[CONSTANTS_MAX];
	VkSpecializationInfo special = {
		.mapEntryCount = count,
		.pMapEntries = map,
		.dataSize = 4 * (size_t)count,
		.pData = constants,
	};
	VkPipelineShaderStageRequiredSubgroupSizeCreateInfo required = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
		.requiredSubgroupSize = subgroup,
	};
	VkPushConstantRange range = { .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = push_bytes };
	VkPipelineLayoutCreateInfo layout = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
		.pushConstantRangeCount = 1,
		.pPushConstantRanges = &range,
	};
	VkShaderModuleCreateInfo module = {
		.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
		.codeSize = spirv->bytes,
		.pCode = spirv->words,
	};
	VkComputePipelineCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
		.stage = {
			.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
			.pNext = subgroup ? &required : NULL,
			.flags = subgroup && d->full_subgroups ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
			.stage = VK_SHADER_STAGE_COMPUTE_BIT,
			.pName = "main",
			.pSpecializationInfo = &special,
		},
	};
	struct lineup_vk_pipeline p = { .push_bytes = push_bytes };
	int err;

	if (atomic_load(&d->lost))
		return -ENODEV;
	if (count > CONSTANTS_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++)
		map[i] = (VkSpecializationMapEntry){ .constantID = i, .offset = 4 * i, .size = 4 };
	err = lineup_vk_result(d, d->api.CreateShaderModule(d->device, &module, NULL, &info.stage.module), "reading a shader");
	if (!err)
		err = lineup_vk_result(d, d->api.CreatePipelineLayout(d->device, &layout, NULL, &p.layout), "making a pipeline");
	info.layout = p.layout;
	if (!err)
		err = lineup_vk_result(d, d->api.CreateComputePipelines(d->device, d->cache, 1, &info, NULL, &p.pipeline),
				       "making a pipeline");
	if (info.stage.module) {
		lineup_vk_name(d, VK_OBJECT_TYPE_SHADER_MODULE, (uint64_t)info.stage.module, "lineup %s module", spirv->name);
		d->api.DestroyShaderModule(d->device, info.stage.module, NULL);
	}
	if (err) {
		lineup_vk_pipeline_destroy(d, &p);
		err = err == -ENODEV || err == -ENOMEM ? err : -EIO;
		lineup_info(d->ctx, "%s: %s: no pipeline: %s", d->info.name, spirv->name, strerror(-err));
		return err;
	}
	lineup_vk_name(d, VK_OBJECT_TYPE_PIPELINE, (uint64_t)p.pipeline, "lineup %s", spirv->name);
	lineup_vk_name(d, VK_OBJECT_TYPE_PIPELINE_LAYOUT, (uint64_t)p.layout, "lineup %s layout", spirv->name);
	*pipeline = p;
	return 0;
}

void lineup_vk_pipeline_destroy(struct lineup_vk_device *d, struct lineup_vk_pipeline *pipeline)
{
	if (pipeline->pipeline)
		d->api.DestroyPipeline(d->device, pipeline->pipeline, NULL);
	if (pipeline->layout)
		d->api.DestroyPipelineLayout(d->device, pipeline->layout, NULL);
	*pipeline = (struct lineup_vk_pipeline){ 0 };
}

void lineup_vk_dispatch(struct lineup_vk_device *d, struct lineup_vk_commands *commands, const struct lineup_vk_pipeline *pipeline,
			const void *push, uint32_t x, uint32_t y)
{
	d->api.CmdBindPipeline(commands->buffer, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->pipeline);
	d->api.CmdPushConstants(commands->buffer, pipeline->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, pipeline->push_bytes, push);
	d->api.CmdDispatch(commands->buffer, x, y, 1);
}
