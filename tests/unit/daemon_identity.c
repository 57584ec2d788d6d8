// SPDX-License-Identifier: MIT
// Certificates of tests: elliptic keys, valid for the hour around now.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon_identity.h"

static void write_pem(const char *path, gnutls_datum_t *pem)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(pem->data, 1, pem->size, f), pem->size);
	assert_int_equal(fclose(f), 0);
	gnutls_free(pem->data);
}

void identity_make(struct identity *id, const char *directory, const char *name, const struct identity *issuer,
		   const char *purpose)
{
	const unsigned int bits = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);
	static unsigned char serial;
	gnutls_datum_t pem;

	serial++;
	assert_int_equal(gnutls_x509_privkey_init(&id->key), 0);
	assert_int_equal(gnutls_x509_privkey_generate(id->key, GNUTLS_PK_ECDSA, bits, 0), 0);
	assert_int_equal(gnutls_x509_crt_init(&id->certificate), 0);
	gnutls_x509_crt_set_version(id->certificate, 3);
	gnutls_x509_crt_set_serial(id->certificate, &serial, 1);
	gnutls_x509_crt_set_activation_time(id->certificate, time(NULL) - 3600);
	gnutls_x509_crt_set_expiration_time(id->certificate, time(NULL) + 3600);
	gnutls_x509_crt_set_key(id->certificate, id->key);
	gnutls_x509_crt_set_dn_by_oid(id->certificate, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned int)strlen(name));
	gnutls_x509_crt_set_ca_status(id->certificate, !purpose);
	gnutls_x509_crt_set_key_usage(id->certificate, purpose ? GNUTLS_KEY_DIGITAL_SIGNATURE : GNUTLS_KEY_KEY_CERT_SIGN);
	if (purpose)
		gnutls_x509_crt_set_key_purpose_oid(id->certificate, purpose, 0);
	if (!issuer)
		issuer = id;
	assert_int_equal(gnutls_x509_crt_sign2(id->certificate, issuer->certificate, issuer->key, GNUTLS_DIG_SHA256, 0), 0);
	snprintf(id->certificate_path, sizeof(id->certificate_path), "%s/%s.crt", directory, name);
	snprintf(id->key_path, sizeof(id->key_path), "%s/%s.key", directory, name);
	assert_int_equal(gnutls_x509_crt_export2(id->certificate, GNUTLS_X509_FMT_PEM, &pem), 0);
	write_pem(id->certificate_path, &pem);
	assert_int_equal(gnutls_x509_privkey_export2(id->key, GNUTLS_X509_FMT_PEM, &pem), 0);
	write_pem(id->key_path, &pem);
}

void identity_unmake(struct identity *id)
{
	gnutls_x509_crt_deinit(id->certificate);
	gnutls_x509_privkey_deinit(id->key);
	unlink(id->certificate_path);
	unlink(id->key_path);
}
