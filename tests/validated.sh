#!/bin/bash
# SPDX-License-Identifier: MIT
# tests/validated.sh PROGRAM...: runs it under Vulkan's validation layers; what they say is printed, and a failure.

dir=$(mktemp -d "${TMPDIR:-/tmp}/lineup-validated.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
cat >"$dir/vk_layer_settings.txt" <<END
khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.report_flags = error,warn
khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT
khronos_validation.disables =
khronos_validation.log_filename = $dir/log
END
export VK_LAYER_SETTINGS_PATH=$dir/vk_layer_settings.txt VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation LINEUP_TEST_VALIDATED=$dir/log
"$@"
status=$?
if [ -s "$dir/log" ]; then
	sed 's/^/# validation: /' "$dir/log"
	exit 1
fi
exit $status
