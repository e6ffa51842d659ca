#!/usr/bin/env bash
# The classic example, on one machine: two Redis shards, a Sentinel, a Taba server and an agent; then the example client,
# and two questions.
#
#     docs/redis/classic.sh [--once] [FOLDER]
#
# Ctrl-C ends everything, in order; --once ends it when the questions are answered. Data and logs are in FOLDER, where
# they stay; without one they are in a temporary folder, which goes at the end. Needs redis-server (7 or newer), the
# commands of Taba and its Python (PYTHON names it, if it is not `python`) on the PATH, and these ports: 17000, 17001,
# 18000, 8300, 8279.
#
# This is for trying: nothing has a second copy. replicated.sh shows shards with replicas.
set -euo pipefail
source "$(dirname "$0")/running.sh"

cp "$docs/redis/sentinel.conf" "$folder/sentinel.conf" # a Sentinel writes to its file

# Each in a folder of its own: both would write a dump.rdb.
run shard1 redis-server --port 17000
run shard2 redis-server --port 17001
run sentinel redis-server "$folder/sentinel.conf" --sentinel
run server taba-server "$docs/taba_server_settings.json"
run agent taba-agent "$docs/taba_agent_settings.json"
example
