// SPDX-License-Identifier: MIT
// Addresses, and what must hold between keys of the configuration before anything is opened.
#include "config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static int refuse(char error[512], const char *format, ...) DAEMON_PRINTF(2, 3);

static int refuse(char error[512], const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(error, 512, format, list);
	va_end(list);
	return -EINVAL;
}

static int endpoint_unix(const char *text, const char *path, struct config_endpoint *endpoint, char error[512])
{
	struct sockaddr_un *un = (struct sockaddr_un *)&endpoint->address;

	if (*path != '/')
		return refuse(error, "listen: %.150s: unix: takes an absolute path", text);
	if (strlen(path) >= sizeof(un->sun_path))
		return refuse(error, "listen: %.150s: the path of a Unix socket has at most %zu bytes", text,
			      sizeof(un->sun_path) - 1);
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, strlen(path) + 1);
	endpoint->address_bytes = sizeof(*un);
	endpoint->loopback = true;
	return 0;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

	if (address->ss_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
	       (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127);
}

static int endpoint_tcp(const char *text, const char *host, struct config_endpoint *endpoint, char error[512])
{
	struct sockaddr_in *in = (struct sockaddr_in *)&endpoint->address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&endpoint->address;
	const char *colon = strrchr(host, ':');
	bool brackets = colon && *host == '[' && colon - host > 2 && colon[-1] == ']';
	char name[INET6_ADDRSTRLEN + 1];
	unsigned long port = 0;
	size_t size;

	if (colon && strspn(colon + 1, "0123456789") == strlen(colon + 1) && strlen(colon + 1) <= 5)
		port = strtoul(colon + 1, NULL, 10);
	if (!port || port > 65535)
		return refuse(error, "listen: %.150s: ADDRESS:PORT, with a port from 1 to 65535", text);
	size = (size_t)(colon - host) - 2 * brackets;
	if (size >= sizeof(name))
		return refuse(error, "listen: %.150s: this is no IPv4 or [IPv6] address", text);
	memcpy(name, host + brackets, size);
	name[size] = 0;
	if (!brackets && inet_pton(AF_INET, name, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		endpoint->address_bytes = sizeof(*in);
	} else if (brackets && inet_pton(AF_INET6, name, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		endpoint->address_bytes = sizeof(*in6);
	} else {
		return refuse(error, "listen: %.150s: this is no IPv4 or [IPv6] address; names are not looked up", text);
	}
	endpoint->loopback = is_loopback(&endpoint->address);
	return 0;
}

int config_endpoint(const char *text, struct config_endpoint *endpoint, char error[512])
{
	static const struct {
		const char *prefix;
		int kind;
	} kinds[] = { { "unix:", CONFIG_UNIX }, { "tcp:", CONFIG_TCP }, { "tls:", CONFIG_TCP_TLS } };

	memset(endpoint, 0, sizeof(*endpoint));
	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *rest = text + strlen(kinds[i].prefix);

		if (strncmp(text, kinds[i].prefix, strlen(kinds[i].prefix)))
			continue;
		endpoint->kind = kinds[i].kind;
		return endpoint->kind == CONFIG_UNIX ? endpoint_unix(text, rest, endpoint, error)
						     : endpoint_tcp(text, rest, endpoint, error);
	}
	return refuse(error, "listen: '%.150s' is neither unix:/PATH nor tcp:ADDRESS:PORT nor tls:ADDRESS:PORT", text);
}

static bool any_secret(const struct config *config)
{
	for (uint32_t i = 0; i < config->users; i++) {
		if (*config->user[i].secret_file)
			return true;
	}
	return false;
}

static bool any_certificate(const struct config *config)
{
	for (uint32_t i = 0; i < config->users; i++) {
		if (*config->user[i].certificate)
			return true;
	}
	return false;
}

static int check_listener(const struct config *config, const char *address, char error[512])
{
	struct config_endpoint endpoint;

	if (config_endpoint(address, &endpoint, error))
		return -EINVAL;
	if (endpoint.kind == CONFIG_UNIX)
		return 0;
	if (endpoint.kind == CONFIG_TCP && !endpoint.loopback)
		return refuse(error,
			      "listen: %s: TCP without TLS is for loopback addresses only, since probes and secrets would be "
			      "readable: use tls:",
			      address);
	if (endpoint.kind == CONFIG_TCP && !any_secret(config))
		return refuse(error, "listen: %s: nobody could use it: it takes a [user NAME] with a secret_file, for AUTH",
			      address);
	if (endpoint.kind == CONFIG_TCP_TLS && (!*config->certificate || !*config->key))
		return refuse(error, "listen: %s: TLS takes a certificate and a key in [tls]", address);
	if (endpoint.kind == CONFIG_TCP_TLS && !any_secret(config) && !(*config->ca && any_certificate(config)))
		return refuse(error,
			      "listen: %s: nobody could use it: it takes a [user NAME] with a secret_file, or ca in [tls] and a "
			      "[user NAME] with a certificate",
			      address);
	return 0;
}

static int check_users(const struct config *config, char error[512])
{
	for (uint32_t i = 0; i < config->users; i++) {
		const struct config_user *user = &config->user[i];

		if (!*user->secret_file && !*user->certificate && user->uid < 0)
			return refuse(error, "[user %s]: has neither secret_file, certificate nor uid: nobody could be this user",
				      user->name);
		if (*user->certificate && !*config->ca)
			return refuse(error, "[user %s]: certificate: clients' certificates are only asked for with a ca in [tls]",
				      user->name);
		for (uint32_t j = 0; j < i; j++) {
			const struct config_user *other = &config->user[j];

			if (user->uid >= 0 && user->uid == other->uid)
				return refuse(error, "[user %s]: uid: is that of [user %s] too", user->name, other->name);
			if (*user->certificate && !strcmp(user->certificate, other->certificate))
				return refuse(error, "[user %s]: certificate: is that of [user %s] too", user->name, other->name);
		}
	}
	return 0;
}

int config_check(const struct config *config, char error[512])
{
	struct config_endpoint endpoint;
	char address[sizeof(config->metrics) + 8];
	int err;

	for (uint32_t i = 0; i < config->listens; i++) {
		err = check_listener(config, config->listen[i].address, error);
		if (err)
			return err;
		for (uint32_t j = 0; j < i; j++) {
			if (!strcmp(strchr(config->listen[i].address, ':'), strchr(config->listen[j].address, ':')))
				return refuse(error, "listen: %s is there twice", config->listen[i].address);
		}
	}
	if (!*config->certificate != !*config->key)
		return refuse(error, "[tls]: a certificate without a key, or a key without a certificate");
	if (*config->ca && !*config->certificate)
		return refuse(error, "[tls]: ca: takes a certificate and a key as well");
	if (*config->metrics) {
		snprintf(address, sizeof(address), "tcp:%s", config->metrics);
		if (config_endpoint(address, &endpoint, error) || !endpoint.loopback)
			return refuse(error, "metrics: %s: takes a loopback address and a port, as 127.0.0.1:9464 or [::1]:9464",
				      config->metrics);
	}
	for (uint32_t i = 0; i < config->galleries; i++) {
		for (uint32_t j = 0; j < i; j++) {
			if (!strcmp(config->gallery[i].path, config->gallery[j].path))
				return refuse(error, "[gallery %s]: path: is that of [gallery %s] too", config->gallery[i].name,
					      config->gallery[j].name);
		}
	}
	return check_users(config, error);
}
