#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Starts a daemon, lets torture.py at it, whose facts are told as they come, and ends it.
import os
import resource
import subprocess

import bed

# Connections that do nothing while one works: each takes a descriptor of the daemon's and one of the test's.
IDLE = int(10000 * bed.SCALE)


def a_tortured_daemon_ends_in_order(directory):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    idle = min(IDLE, most - 200)
    daemon = bed.daemon(directory, {"server": "clients_max = %d" % (idle + 100)})
    subprocess.run([os.path.join(bed.HERE, "torture.py"), daemon.socket, "--idle", str(idle)], check=False)
    assert daemon.alive(), daemon.said()[-3000:]
    daemon.stop()


if __name__ == "__main__":
    bed.main([a_tortured_daemon_ends_in_order])
