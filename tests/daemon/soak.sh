#!/bin/bash
# SPDX-License-Identifier: MIT
# `make check-soak`: 200 rounds of concurrent clients and kills, then ten minutes of load during which the daemon's memory must stay flat.
#
# BUILD is the build directory. LINEUP_HISTORY_ROUNDS and LINEUP_SOAK_SECONDS make it longer or shorter.

set -e
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${BUILD:-build}" && pwd)
export LINEUPD=$build/lineupd LINEUP=$build/lineup LINEUP_SHIMS=$build/tests/daemon LINEUP_CLIENT=$build/tests/daemon/hiredis_client PYTHONDONTWRITEBYTECODE=1
export LINEUP_HISTORY_ROUNDS=${LINEUP_HISTORY_ROUNDS:-200}

begin=$SECONDS
"$here/history.py"
echo "# histories: $((SECONDS - begin)) s"
begin=$SECONDS
"$here/soak.py"
echo "# soak: $((SECONDS - begin)) s"
