// SPDX-License-Identifier: MIT
// Tries a pipeline in a child process first.
#include "kernels_parts.h"
