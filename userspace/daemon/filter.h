/* SPDX-License-Identifier: MIT */
/* FILTER expressions of VSIM over JSON attributes, with the grammar and the meaning that Redis gives them. */
#ifndef LINEUPD_FILTER_H
#define LINEUPD_FILTER_H

#include <jansson.h>

#include "daemon.h"

struct filter;

/* -EINVAL, with @error saying what is wrong and at which byte; -ENOMEM. Depth and length are limited. */
int filter_compile(const char *text, size_t size, struct filter **filter, char error[256]);
void filter_destroy(struct filter *filter);
/* Whether the element with these attributes (a JSON object; NULL: none) matches. A missing field, or a comparison that makes no sense, does not match. Any thread. */
bool filter_matches(const struct filter *filter, const json_t *attributes);

#endif
