#!/bin/bash
# SPDX-License-Identifier: MIT
# Vulkan devices from the command line: what there is, the same output as the CPU's byte for byte, and what is said where there is none.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

# The software device, unless LINEUP_TEST_DEVICE names another; then the loader finds what it finds.
device=${LINEUP_TEST_DEVICE:-0}
if [ -z "$LINEUP_TEST_DEVICE" ]; then
	for driver in /usr/share/vulkan/icd.d/lvp_icd*.json; do
		export VK_ICD_FILENAMES=$driver VK_DRIVER_FILES=$driver
	done
fi
export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$PWD/cache}

# Ends the fact as skipped where there is no device.
needs_device()
{
	lineup info --build | grep -q '^backend *vulkan' || skip "built without Vulkan"
	lineup devices --format json >devices 2>/dev/null || skip "no devices here"
	[ -s devices ] || skip "no Vulkan device here"
}

needs_software()
{
	needs_device
	[ -z "$LINEUP_TEST_DEVICE" ] || skip "shown on the software device"
}

# facts_of FILE NAME: a value of the first JSON line's facts.
device_field()
{
	python3 -c '
import json, sys
wanted, name = sys.argv[1:]
for line in open("devices"):
    device = json.loads(line)
    if wanted in (str(device["index"]), device["uuid"], device["pci"]):
        print(json.dumps(device[name]))' "$device" "$1"
}

enrol_faces()
{
	lineup enrol g --vectors "$data/faces-sample.npy" --subjects "$data/faces-sample.csv" --model face-api-128
}

search_faces()
{
	lineup search g --probes "$data/faces-probes.npy" -k 25 --format tsv "$@"
}

devices_are_listed_for_people_and_for_programs()
{
	needs_device
	lineup devices >table
	name=$(device_field name | tr -d '"')
	grep -qF "$name" table
	[ "$(device_field uuid | tr -d '"' | tr -d - | wc -c)" = 33 ]
	python3 -c '
import json
for index, line in enumerate(open("devices")):
    device = json.loads(line)
    assert device["index"] == index
    assert device["memory_bytes"] > 0
    assert any(v.get("why_not") in (None, "") for v in device["variants"]), device["variants"]'
}

output_is_that_of_the_cpu_byte_for_byte()
{
	needs_device
	enrol_faces
	for per in subject template; do
		search_faces --per $per --backend scalar >want
		[ -s want ]
		for variant in vulkan vulkan-scalar vulkan-dot vulkan-emulated; do
			if [ -n "$LINEUP_TEST_DEVICE" ] && [ $variant = vulkan-emulated ]; then
				continue
			fi
			for more in '' --resident --stream '--threads 1'; do
				# shellcheck disable=SC2086 # words
				search_faces --per $per --backend $variant --device "$device" $more | diff want -
			done
		done
	done
}

several_devices_and_little_memory_do_not_change_output()
{
	needs_device
	vectors random gallery.npy 20000 96 1
	vectors random probes.npy 9 96 2
	lineup enrol g --vectors gallery.npy
	lineup search g --probes probes.npy -k 30 --format tsv --backend scalar >want
	for more in "--device $device,$device" "--device $device --device-memory 1MiB" "--device $device --device-memory 1MiB --resident"; do
		# shellcheck disable=SC2086 # words
		lineup search g --probes probes.npy -k 30 --format tsv --backend vulkan $more | diff want -
	done
}

a_device_that_is_not_there_is_an_error()
{
	needs_device
	enrol_faces
	for bad in 63 63,0 0000:ff:1f.7 00112233-4455-6677-8899-aabbccddeeff nonsense '' 0,,0; do
		status 1 search_faces --backend vulkan --device "$bad" || status 2 search_faces --backend vulkan --device "$bad"
		[ ! -s out ]
		says "${bad:-device}"
	done
}

without_a_driver_there_is_no_device_and_the_cpu_searches()
{
	lineup info --build | grep -q '^backend *vulkan' || skip "built without Vulkan"
	enrol_faces
	search_faces --backend scalar >want
	export VK_ICD_FILENAMES=/nonexistent VK_DRIVER_FILES=/nonexistent
	lineup devices --format json >devices
	[ ! -s devices ]
	lineup devices >table
	[ -s table ]
	search_faces | diff want -
	search_faces --backend auto | diff want -
	status 1 search_faces --backend vulkan
	[ ! -s out ]
	says 'Vulkan'
}

# A software device is no reason to leave the CPU's own backend.
a_software_device_is_not_chosen_by_itself()
{
	needs_software
	enrol_faces
	search_faces --format json >auto
	no grep -q vulkan auto
	lineup search g --probes "$data/faces-probes.npy" >table 2>&1
	no grep -qi vulkan table
}

a_variant_that_the_device_has_not_is_an_error()
{
	needs_software
	enrol_faces
	for variant in vulkan-coopmat vulkan-coopmat-nv; do
		status 1 search_faces --backend $variant --device "$device"
		[ ! -s out ]
		says "${variant#vulkan-}"
	done
	for bad in vulkan- vulkan-abacus vulkanscalar; do
		status 1 search_faces --backend $bad --device "$device" || status 2 search_faces --backend $bad --device "$device"
		[ ! -s out ]
		says "$bad"
	done
}

facts devices_are_listed_for_people_and_for_programs output_is_that_of_the_cpu_byte_for_byte \
	several_devices_and_little_memory_do_not_change_output a_device_that_is_not_there_is_an_error \
	without_a_driver_there_is_no_device_and_the_cpu_searches a_software_device_is_not_chosen_by_itself \
	a_variant_that_the_device_has_not_is_an_error
