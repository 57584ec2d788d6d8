/* SPDX-License-Identifier: MIT */
/* Whether a test runs under the address sanitizer. */
#ifndef UNDER_SANITIZER_H
#define UNDER_SANITIZER_H

/* Under a sanitizer, which takes ten times as long, a sample is looked at; the whole is looked at without. */
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

#endif
