#!/bin/bash
# SPDX-License-Identifier: MIT
# source.sh tree|parts: prints a folder with Debian's Linux source, all of it or the parts the tests need, unpacked the first time.
#
# Reading the archive takes 20 to 40 s, so what came out is kept in $LINEUP_KERNEL_CACHE (build/kernel), in a folder that is named
# for the package's version and appears only when it is complete.
set -eu

cd "$(dirname "$0")/../../.."
cache=${LINEUP_KERNEL_CACHE:-build/kernel}
archive=/usr/src/linux-source-6.12.tar.xz

# The harness, the upstream selftest of DMA heaps, a header that no package has, and what checks a module's style.
parts="
	*/tools/testing/selftests/kselftest*.h
	*/tools/testing/selftests/lib.mk
	*/tools/testing/selftests/dmabuf-heaps/*
	*/include/uapi/drm/vgem_drm.h
	*/scripts/checkpatch.pl
	*/scripts/const_structs.checkpatch
	*/scripts/spelling.txt
	*/scripts/coccinelle/*
	*/scripts/extract-vmlinux
"

[ -e "$archive" ] || { echo "source.sh: no $archive (Debian: linux-source-6.12)" >&2; exit 1; }
version=$(dpkg-query -W -f '${Version}' linux-source-6.12)
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
case ${1-} in
tree) want=() ;;
parts)
	read -ra want <<<"$(tr '\n' ' ' <<<"$parts")"
	# The tree has the parts too.
	[ ! -d "$cache/tree-$version" ] || set -- tree
	;;
*) echo "usage: source.sh tree|parts" >&2; exit 2 ;;
esac

dir=$cache/$1-$version
if [ ! -d "$dir" ]; then
	new=$(mktemp -d "$cache/new.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	tar -xJf "$archive" -C "$new" --strip-components=1 --wildcards "${want[@]}"
	mv -T "$new" "$dir" 2>/dev/null || [ -d "$dir" ]
fi
echo "$dir"
