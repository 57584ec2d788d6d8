/* SPDX-License-Identifier: MIT */
/* Certificates and keys made for a test, as files and in memory. */
#ifndef DAEMON_IDENTITY_H
#define DAEMON_IDENTITY_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

struct identity {
	gnutls_x509_crt_t certificate;
	gnutls_x509_privkey_t key;
	char certificate_path[192], key_path[192];
};

/* NAME.crt and NAME.key in @directory. Signed by @issuer, or by itself if NULL; @purpose is GNUTLS_KP_*, NULL: an authority. */
void identity_make(struct identity *id, const char *directory, const char *name, const struct identity *issuer,
		   const char *purpose);
void identity_unmake(struct identity *id);

#endif
