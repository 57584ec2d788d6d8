#!/bin/bash
# SPDX-License-Identifier: MIT
# capture.sh RELEASE BUILD OUT: from frames to candidates in a virtual machine with kernel RELEASE, by the program in BUILD. Prints TAP; OUT keeps the console.
#
# The guest gets the program, lineup-extract and its plug-ins with the libraries they need, lineup.ko and educap.ko, a gallery's vectors, and what the card is to
# deliver; capture_guest.sh says what happens there.
set -eu -o pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
release=$1
build=$(cd "$2" && pwd)
mkdir -p "$3"
out=$(cd "$3" && pwd)

# The same as kernel_tests.sh looks for.
complaints=$(sed -n "s/^complaints+*='\(.*\)'$/\1/p" "$here/../kernel_tests.sh" | tr -d '\n')
[ -n "$complaints" ]

mkdir -p "$out/module" "$out/files"
cp -ru "$root/Kbuild" "$root/kmod" "$out/module/"
make -C "/lib/modules/$release/build" M="$out/module" modules >"$out/module.log" 2>&1 || { tail -n 40 "$out/module.log"; exit 1; }
gcc -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -static "$here/vivid_template.c" -o "$out/files/vivid_template"

# Every library that one of them names, where the loader will look for it.
rm -rf "$out/files/root"
mkdir -p "$out/files/root/usr" "$out/files/root/lib64" "$out/files/root/lib"
cp "$build/lineup" "$build"/tests/unit/test_capture_{read,drm} "$build/tests/plugins/misbehave.so" "$out/files/"
rm -rf "$out/files/extractors"
cp -r "$build/extractors" "$out/files/extractors"
ldd "$build/lineup" "$build"/tests/unit/test_capture_{read,drm} "$build"/extractors/* | sed -n 's|^[^/]*\(/[^ ]*\) (.*|\1|p' | sort -u | while read -r library; do
	install -D -m 755 "$library" "$out/files/root$library"
done

# Vectors: 500 strangers; what the card delivers: dark bytes, and a block with the strangers 3 and 7.
python3 - "$out/files" <<'END'
import random, struct, sys
out, dim = sys.argv[1], 24
random.seed(5)
# Rounded as .npy of float32 rounds them.
rows = [[struct.unpack("<f", struct.pack("<f", random.gauss(0, 1)))[0] for _ in range(dim)] for _ in range(500)]
head = ("{'descr': '<f4', 'fortran_order': False, 'shape': (500, %d), }" % dim).encode()
head += b" " * (117 - len(head)) + b"\n"
with open(out + "/strangers.npy", "wb") as f:
    f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
    for row in rows:
        f.write(struct.pack("<%df" % dim, *row))
with open(out + "/seed", "wb") as f:
    f.write(bytes(random.randrange(2) for _ in range(2048)))

def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff

import hashlib
digest = hashlib.blake2b(b"lineup-pattern", digest_size=32).digest()
entries = b"".join(struct.pack("<5fI", 10, 20, 30, 40, 0.75, 0) + struct.pack("<%df" % dim, *rows[i]) for i in (3, 7))
block = b"LINEUPIB" + struct.pack("<HHIIIII", 1, 96, 96 + len(entries) + 4, 2, dim, 24 + 4 * dim, 0) + digest + struct.pack("<QQIII", 1, 2, 640, 480, 0)
block += struct.pack("<I", crc32c(block)) + entries + struct.pack("<I", crc32c(entries))
with open(out + "/block", "wb") as f:
    f.write(block)
END

"$here/vm.sh" -k "/boot/vmlinuz-$release" -v "$release" -m "vgem vivid:n_devs=1" -M 1536M -t 900 \
	-f "$out/files/* $out/module/kmod/lineup.ko $out/module/kmod/samples/educap.ko $here/capture_guest.sh" \
	-c "COMPLAINTS='$complaints' sh ./capture_guest.sh" -- -device edu >"$out/console" 2>&1 || true
sed -n '/^VM:/!p' "$out/console"
grep -q '^VM: rc=0' "$out/console" || { echo "the virtual machine did not end in order"; exit 1; }
! grep -q '^not ok' "$out/console"
