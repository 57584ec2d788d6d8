#!/bin/bash
# SPDX-License-Identifier: MIT
# The command line itself: help, version, and malformed lines, which are exit status 2 with a hint.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

all_commands='enrol search verify delete compact info check export bench load top'

# malformed REGEX -- ARGUMENT...
malformed()
{
	local regex=$1
	shift 2

	status 2 lineup "$@"
	[ ! -s out ]
	equal "$(wc -l <err)" 2
	head -n 1 err | grep -qE "^lineup: .*$regex" || { cat err; return 1; }
	tail -n 1 err | grep -qE "^Try 'lineup help( [a-z]+)?'\.$" || { cat err; return 1; }
}

version_is_one_line()
{
	status 0 lineup --version
	grep -qxE 'lineup [0-9]+\.[0-9]+\.[0-9]+' out
	equal "$(wc -l <out)" 1
}

help_names_every_command()
{
	status 0 lineup help
	for command in $all_commands; do
		grep -qE "^  $command " out
	done
	cp out help
	status 0 lineup --help
	cmp out help
}

every_command_has_help()
{
	for command in $all_commands enroll; do
		status 0 lineup help "$command"
		cp out help
		grep -q "^Usage: lineup ${command/enroll/enrol} " help
		[ ! -s err ]
		status 0 lineup "$command" --help
		cmp out help
	done
}

# options_of COMMAND: those that its help names; some commands have none.
options_of()
{
	lineup help "$1" >help
	{ grep -oE -- '(^|[ |])--?[a-z][a-z-]*' help || true; } | tr -d ' |' | sort -u
}

the_manual_names_every_option_of_the_help()
{
	manual=$here/../../userspace/man/lineup.1
	for command in $all_commands; do
		options_of "$command" >options
		while read -r option; do
			grep -qF -- "${option//-/\\-}" "$manual" || { echo "$command $option is not in lineup(1)"; return 1; }
		done <options
	done
}

# completes WORD...: prints what completion offers for the last word.
completes()
{
	(
		# shellcheck source=userspace/completion/lineup
		. "$here/../../userspace/completion/lineup"
		compopt() { :; }
		COMP_WORDS=("$@")
		COMP_CWORD=$(($# - 1))
		_lineup
		printf '%s\n' "${COMPREPLY[@]}"
	)
}

completion_knows_every_option_of_the_help()
{
	for name in $all_commands; do
		options_of "$name" >options
		while read -r option; do
			completes lineup "$name" "$option" >offered
			grep -qxF -- "$option" offered || { echo "$name $option is not completed"; return 1; }
		done <options
	done
}

completion_offers_lists_of_the_gallery()
{
	vectors rows a.npy '<f4' '1 2'
	lineup enrol g --vectors a.npy --lists red,reef,blue
	PATH=$(dirname "$LINEUP"):$PATH
	equal "$(completes lineup search g --lists 'blue,re' | tr '\n' ' ')" 'blue,red blue,reef '
}

nothing_or_an_unknown_command()
{
	malformed 'command' --
	malformed "'find'" -- find
	malformed "'--frobnicate'" -- --frobnicate
	malformed "'find'" -- help find
}

unknown_option()
{
	for command in $all_commands; do
		malformed "$command: .*'--frobnicate'" -- "$command" g --frobnicate
		malformed "$command: .*'-z'" -- "$command" g -z
	done
}

missing_value()
{
	malformed "'--vectors' needs a value" -- enrol g --vectors
	malformed "'-k' needs a value" -- search g --probes a.npy -k
	malformed "'--resident' takes no value|'--resident=yes' takes no value" -- search g --probes a.npy --resident=yes
}

missing_or_extra_argument()
{
	for command in enrol search verify delete compact info check export; do
		malformed "$command: GALLERY" -- "$command"
		malformed "$command: .*'h'" -- "$command" g h
	done
	malformed 'GALLERY is empty' -- info ''
	malformed '--vectors' -- enrol g
	malformed '--probes' -- search g
	malformed '--probes' -- verify g --subject a
	malformed '--subject' -- verify g --probes a.npy
	malformed '--subject and --template' -- delete g
	malformed '--subject and --template' -- delete g --subject a --template 1
	malformed '--vectors' -- export g
	malformed '--build' -- info g --build
	malformed 'standard input' -- enrol g --vectors - --subjects -
}

values_that_are_not_of_their_kind()
{
	malformed "-k: 'ten'" -- search g --probes a.npy -k ten
	malformed "-k: '-1'" -- search g --probes a.npy -k -1
	malformed "-k: ''" -- search g --probes a.npy -k ''
	malformed "--threads: '2x'" -- search g --probes a.npy --threads 2x
	malformed "--threshold: 'high'" -- search g --probes a.npy --threshold high
	malformed "--threshold: 'nan'" -- search g --probes a.npy --threshold nan
	malformed "--threshold: 'inf'" -- search g --probes a.npy --threshold inf
	malformed "--threshold: '0\.5 '" -- search g --probes a.npy --threshold '0.5 '
	malformed "--per: 'person' is not subject or template" -- search g --probes a.npy --per person
	malformed "--format: 'xml' is not table, tsv or json" -- search g --probes a.npy --format xml
	malformed "--format: 'tsv' is not table or json" -- info g --format tsv
	malformed "--store: 'int8'" -- enrol g --vectors a.npy --store int8
	malformed "--now: 'soon'" -- search g --probes a.npy --now soon
	malformed "--expires: '2024-02-30'" -- enrol g --vectors a.npy --expires 2024-02-30
	malformed "--op-id: '123'" -- enrol g --vectors a.npy --op-id 123
	malformed "--op-id" -- enrol g --vectors a.npy --op-id 0123456789abcdef0123456789abcdeg
	malformed "--template: 'x'" -- delete g --template x
	malformed 'exclude' -- search g --probes a.npy --resident --stream
}

control_characters_in_messages_are_shown_as_question_marks()
{
	status 2 lineup "$(printf 'a\nlineup: b\033[2J')"
	equal "$(wc -l <err)" 2
	no grep -q "$(printf '\033')" err
}

facts version_is_one_line help_names_every_command every_command_has_help the_manual_names_every_option_of_the_help \
	completion_knows_every_option_of_the_help completion_offers_lists_of_the_gallery nothing_or_an_unknown_command unknown_option \
	missing_value missing_or_extra_argument values_that_are_not_of_their_kind \
	control_characters_in_messages_are_shown_as_question_marks
