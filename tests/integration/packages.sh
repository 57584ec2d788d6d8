#!/bin/bash
# SPDX-License-Identifier: MIT
# Missing packages where nobody may install them: what is missing is said, and `make check` tries nothing that cannot work.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# A machine of Debian without libcmocka-dev, a user without root and sudo; nothing may be installed.
mkdir "$dir/bin"
for tool in bash sh env sed awk grep uname tr dirname basename mktemp cat ls rm mkdir cp mv head tail wc sort find git make nproc date sleep diff tee df; do
	ln -s "$(command -v $tool)" "$dir/bin/$tool"
done
cat >"$dir/bin/dpkg-query" <<'END'
#!/bin/sh
for word; do package=$word; done
[ "$package" = libcmocka-dev ] || echo all installed
END
printf '#!/bin/sh\necho 1000\n' >"$dir/bin/id"
printf '#!/bin/sh\necho amd64\n' >"$dir/bin/dpkg"
printf '#!/bin/sh\nexit 0\n' >"$dir/bin/apt-cache"
printf '#!/bin/sh\necho called >>%s/apt-get\n' "$dir" >"$dir/bin/apt-get"
chmod +x "$dir"/bin/{dpkg-query,id,dpkg,apt-cache,apt-get}

refused()
{
	local status=0

	PATH=$dir/bin BUILD=$dir/build "$@" >"$dir/said" 2>&1 || status=$?
	cat "$dir/said"
	[ $status = 1 ]
}

refused "$root/packaging/setup.sh" -n build test
grep -qx 'lineup: these packages are missing: libcmocka-dev' "$dir/said"
refused "$root/packaging/setup.sh" build test
grep -q 'this needs root and there is no sudo' "$dir/said"
PATH=$dir/bin "$root/packaging/setup.sh" -n build

refused "$root/tests/run.sh" packages_are_installed every_file_names_its_licence
grep -q 'As root: packaging/setup.sh build gpu test cross kernel' "$dir/said"
grep -qx '0 passed, 1 failed, 0 skipped' "$dir/said"
[ ! -e "$dir/apt-get" ]
