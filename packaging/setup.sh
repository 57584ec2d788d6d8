#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the Debian packages that packaging/packages.txt lists for the purposes named, if any is missing.
#
# setup.sh [-n] [build|gpu|test|cross|kernel|kdebug|bench]...: with -n it only says which are missing; the exit status is 1 if any is.
set -eu

install=yes
if [ "${1-}" = -n ]; then
	install=no
	shift
fi

cd "$(dirname "$0")"
export LC_ALL=C

# A package without an architecture in its name is this machine's, even if another architecture's is installed too.
is_installed()
{
	case $1 in
	*:*) architecture=${1#*:} ;;
	*) architecture=$(dpkg --print-architecture) ;;
	esac
	dpkg-query -W -f '${Architecture} ${db:Status-Status}\n' "$1" 2>/dev/null | grep -qxE "($architecture|all) installed"
}

can_be_installed()
{
	apt-cache show "$1" >/dev/null 2>&1
}

# Says the command, then runs it, as root.
run_as_root()
{
	if [ "$(id -u)" = 0 ]; then
		echo "lineup: running: $*"
		"$@"
	elif command -v sudo >/dev/null; then
		echo "lineup: running: sudo $*"
		sudo "$@"
	else
		echo "lineup: this needs root and there is no sudo. As root, run:" >&2
		echo "	$*" >&2
		exit 1
	fi
}

# INITRD=No: where nothing is in /boot, as in a container, nothing starts from there, and the kernels' initial file systems, which take
# minutes to pack, are for nobody: the tests pack their own.
install_missing()
{
	# shellcheck disable=SC2086 # a list of words
	run_as_root env DEBIAN_FRONTEND=noninteractive $initrd apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 $missing
}

missing=
for purpose in "${@:-build}"; do
	if [ "$purpose" = cross ] && [ "$(uname -m)" = aarch64 ]; then
		continue
	fi
	case $purpose in
	kernel | kdebug)
		if command -v dpkg >/dev/null && [ "$(dpkg --print-architecture)" != amd64 ]; then
			echo "lineup: the packages for \"$purpose\" are left out: they are for amd64 machines"
			continue
		fi
		;;
	esac
	words=$(sed 's/#.*//' packages.txt | awk -v purpose="$purpose" '$2 == purpose { print $1 }')
	for package in $words; do
		if ! command -v dpkg-query >/dev/null || ! is_installed "$package"; then
			missing="$missing $package"
		fi
	done
done
[ -n "$missing" ] || exit 0

if [ $install = no ]; then
	echo "lineup: these packages are missing:$missing"
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	echo "lineup: this is not Debian, so nothing is installed. These Debian packages, by whatever name, are needed:$missing" >&2
	exit 0
fi

echo "lineup: these packages are missing:$missing"
initrd=
if [ -z "$(ls -A /boot 2>/dev/null)" ]; then
	initrd=INITRD=No
else
	case $missing in
	*linux-headers-6.12-* | *linux-image-*) echo "lineup: a kernel comes with them, and this machine may choose it when it starts next" ;;
	esac
fi
case $missing in
*:arm64*)
	if ! dpkg --print-foreign-architectures | grep -qx arm64; then
		echo "lineup: some of them are arm64 libraries, so apt learns of that architecture (\`dpkg --remove-architecture arm64\` undoes it)"
		run_as_root dpkg --add-architecture arm64
		run_as_root apt-get update -q
	fi
	;;
esac
for package in $missing; do
	if ! can_be_installed "$package"; then
		run_as_root apt-get update -q
		break
	fi
done
if ! install_missing; then
	echo "lineup: that failed; once more with fresh package lists"
	run_as_root apt-get update -q
	install_missing
fi
