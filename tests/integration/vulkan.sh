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

# Ends the fact as skipped where there is no device; what there is lies in the file devices.
needs_device()
{
	needs_vulkan
	lineup devices --format json >devices
	! grep -q '"devices":\[\]' devices || skip "no Vulkan device here"
}

needs_vulkan()
{
	! lineup info --build | grep -q '^optional parts *Vulkan no' || skip "built without Vulkan"
}

needs_software()
{
	needs_device
	[ -z "$LINEUP_TEST_DEVICE" ] || skip "shown on the software device"
}

# device_field NAME: a value of the tested device.
device_field()
{
	python3 -c '
import json, sys
wanted, name = sys.argv[1:]
for device in json.load(open("devices"))["devices"]:
    if wanted in (str(device["index"]), device["uuid"], device["pci"]):
        print(device[name])' "$device" "$1"
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
	name=$(device_field name)
	[ -n "$name" ]
	grep -qF "$name" table
	grep -qF "$(device_field uuid)" table
	python3 -c '
import json
devices = json.load(open("devices"))["devices"]
for index, device in enumerate(devices):
    assert device["index"] == index
    assert device["memory_bytes"] > 0 and device["memory_available"] > 0
    assert len(device["uuid"]) == 36
    assert device["variant"] in [v["name"] for v in device["variants"] if v["available"]], device
    assert all(v["available"] or v["reason"] for v in device["variants"]), device
# Software devices come last.
assert sorted(d["software"] for d in devices) == [d["software"] for d in devices]'
}

# Found in each of its names.
a_device_is_named_by_index_uuid_or_address()
{
	needs_device
	enrol_faces
	search_faces --backend scalar >want
	for name in "$(device_field index)" "$(device_field uuid)" "$(device_field pci)"; do
		[ "$name" != None ] || continue
		search_faces --backend vulkan --device "$name" | diff want -
	done
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
	search()
	{
		lineup search g --probes probes.npy -k 30 --backend vulkan "$@"
	}
	search --device "$device,$device" --format tsv | diff want -
	search --device "$device" --device-memory 1M --format tsv | diff want -
	search --device "$device" --device-memory 1M --format json >facts
	equal "$(field devices facts)" 1
	[ "$(field rows_on_device facts)" -gt 0 ]
	[ "$(field rows_on_device facts)" -lt 20000 ]
	[ "$(field bytes_on_device facts)" -le 1048576 ]
	# All of it cannot be resident in a part of it.
	status 1 search --device "$device" --device-memory 1M --resident
	says resident
}

a_device_that_is_not_there_is_an_error()
{
	needs_device
	enrol_faces
	for bad in 63 0000:ff:1f.7 00112233-4455-6677-8899-aabbccddeeff nonsense 0x0 -1 4294967296 0,,0 63,0; do
		status 1 search_faces --backend vulkan --device "$bad"
		[ ! -s out ]
		says "${bad%,0}"
	done
	status 1 search_faces --backend vulkan --device ''
	says 'empty'
	# A device is no device of a CPU's backend.
	status 1 search_faces --backend scalar --device "$device"
	[ ! -s out ]
	says 'scalar'
}

a_size_that_is_none_is_an_error()
{
	needs_device
	enrol_faces
	for bad in nonsense -1 1X '' 99999999999999999999; do
		status 2 search_faces --backend vulkan --device "$device" --device-memory "$bad" ||
			status 1 search_faces --backend vulkan --device "$device" --device-memory "$bad"
		[ ! -s out ]
		grep -q -- '--device-memory' err
	done
}

without_a_driver_there_is_no_device_and_the_cpu_searches()
{
	needs_vulkan
	enrol_faces
	search_faces --backend scalar >want
	export VK_ICD_FILENAMES=/nonexistent VK_DRIVER_FILES=/nonexistent
	lineup devices --format json >devices
	grep -q '"devices":\[\],"why_none":".*"' devices
	lineup devices >table
	grep -q '^no device: ' table
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

facts devices_are_listed_for_people_and_for_programs a_device_is_named_by_index_uuid_or_address \
	output_is_that_of_the_cpu_byte_for_byte several_devices_and_little_memory_do_not_change_output \
	a_device_that_is_not_there_is_an_error a_size_that_is_none_is_an_error \
	without_a_driver_there_is_no_device_and_the_cpu_searches a_software_device_is_not_chosen_by_itself \
	a_variant_that_the_device_has_not_is_an_error
