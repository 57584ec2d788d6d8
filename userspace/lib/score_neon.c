// SPDX-License-Identifier: MIT
// The NEON backend.
#include "score.h"
static const char *why_not(void)
{
	return "built for another architecture";
}

const struct lineup_score lineup_score_neon = { .name = "neon", .why_not = why_not };
