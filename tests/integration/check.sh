#!/bin/bash
# SPDX-License-Identifier: MIT
# lineup check and lineup info: a sound gallery, and one with a byte flipped.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

sound_galleries_check()
{
	vectors random a.npy 500 32 1
	lineup enrol g --vectors a.npy
	lineup delete g --template 7
	for _ in journal segment; do
		status 0 lineup check g
		bytes=$(sed -n 's/^\([0-9]*\) bytes verified, no fault found$/\1/p' out)
		# Every byte of every file, but for the lock's.
		equal "$bytes" "$(find g -type f ! -name lock -printf '%s\n' | awk '{ n += $1 } END { print n }')"
		lineup compact g
	done
}

# Flips bit number $3 of byte $2 of file $1.
flip()
{
	python3 - "$@" <<-'END'
		import sys
		path, at, bit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
		with open(path, "r+b") as f:
		    f.seek(at)
		    byte = f.read(1)[0]
		    f.seek(at)
		    f.write(bytes([byte ^ 1 << bit]))
	END
}

# every_file_is_watched GALLERY STEP: flips a byte of every STEP of each file, one after the other.
every_file_is_watched()
{
	local gallery=$1 step=$2 file size at

	for file in "$gallery"/*; do
		[ "$file" != "$gallery/lock" ] || continue
		size=$(stat -c %s "$file")
		for ((at = 0; at < size; at += step)); do
			flip "$file" "$at" $((at % 8))
			status 1 lineup check "$gallery" || { echo "flipped byte $at of $file"; return 1; }
			says "$(basename "$file")" || { echo "flipped byte $at of $file"; return 1; }
			flip "$file" "$at" $((at % 8))
		done
	done
	lineup check "$gallery"
}

a_flipped_byte_in_a_journal_is_found()
{
	vectors random a.npy 5 8 1
	lineup enrol g --vectors a.npy --lists one
	lineup delete g --template 3
	every_file_is_watched g 31
}

a_flipped_byte_in_a_segment_is_found()
{
	vectors random a.npy 40 8 1
	lineup enrol g --vectors a.npy --lists one,two
	lineup delete g --template 3
	lineup compact g
	every_file_is_watched g 509
}

a_missing_or_shortened_file_is_found()
{
	vectors random a.npy 40 8 1
	lineup enrol g --vectors a.npy
	lineup compact g
	cp -r g sound
	for file in g/*; do
		[ "$file" != g/lock ] || continue
		rm "$file"
		status 1 lineup check g
		says "$(basename "$file")"
		cp "sound/$(basename "$file")" g/
		truncate -s -1 "$file"
		status 1 lineup check g
		says "$(basename "$file")"
		cp "sound/$(basename "$file")" g/
	done
	lineup check g
}

info_tells_what_is_there()
{
	vectors random a.npy 6 4 1
	printf 'subject,lists\na,x\na,y\nb,\nb,\nc,x\nc,\n' >a.csv
	lineup enrol g --vectors a.npy --subjects a.csv --model m
	lineup delete g --template 5
	lineup info g --format json >info
	python3 - <<-'END'
		import hashlib, json
		i = json.load(open("info"))
		want = {"dim": 4, "store": "float32", "model": "m", "sequence": 2, "templates": 5, "templates_deleted": 1, "subjects": 3,
		        "templates_next": 6, "lists": ["x", "y"], "format": 1}
		assert {k: i[k] for k in want} == want, i
		assert i["model_digest"] == hashlib.blake2b(b"m", digest_size=32).hexdigest()
		assert len(bytes.fromhex(i["digest"])) == 32
	END
	status 0 lineup info g
	grep -qE '^templates +5 of 3 subjects$' out
	grep -qE '^deleted +1 ' out
	grep -qE '^lists +x, y$' out
}

info_writes_nothing()
{
	vectors random a.npy 6 4 1
	lineup enrol g --vectors a.npy
	before=$(fingerprint g)
	chmod -R a-w g
	lineup info g
	lineup check g
	lineup search g --probes a.npy
	chmod -R u+w g
	equal "$before" "$(fingerprint g)"
}

info_build_tells_what_this_machine_can_do()
{
	status 0 lineup info --build
	for name in version 'gallery format' 'backend +scalar: available' io_uring libsodium jansson 'optional parts'; do
		grep -qE "^$name" out
	done
	status 0 lineup info --build --format json
	equal "lineup $(field version out)" "$(lineup --version)"
	vectors rows a.npy '<f4' '1 2'
	lineup enrol g --vectors a.npy
	python3 -c '
import json
b = json.load(open("out"))
assert b["backends"][0] == {"name": "scalar", "available": True}
assert all(x["available"] != ("reason" in x) for x in b["backends"])
# A software device is none that "vulkan" is available for, but serves who asks for it by name: tests/integration/vulkan.sh.
for x in b["backends"]:
    if x["name"] != "vulkan":
        print(x["name"], "0" if x["available"] else "1")' >backends
	while read -r name want; do
		status "$want" lineup search g --probes a.npy --backend "$name"
	done <backends
}

facts sound_galleries_check a_flipped_byte_in_a_journal_is_found a_flipped_byte_in_a_segment_is_found \
	a_missing_or_shortened_file_is_found info_tells_what_is_there info_writes_nothing info_build_tells_what_this_machine_can_do
