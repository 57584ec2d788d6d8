// SPDX-License-Identifier: MIT
// The AVX2 backend.
#include "score.h"
static const char *why_not(void)
{
	return "not part of this build";
}

const struct lineup_score lineup_score_avx2 = { .name = "avx2", .why_not = why_not };
