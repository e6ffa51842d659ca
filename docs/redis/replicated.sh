#!/usr/bin/env bash
# Two Redis shards, each a master with two replicas, and three Sentinels, with a Taba server and an agent, all on one
# machine; then the example client, and two questions.
#
#     docs/redis/replicated.sh [--once] [FOLDER]
#
# As classic.sh, but that the end of any one process loses nothing: every redis-server runs with redis.conf beside this
# file, and docs/taba_redis_settings.json says that an acknowledged batch is on a replica, too. On real machines the
# same lines stand in files of their own, with other addresses. Ports: 17100 to 17102, 17110 to 17112, 18100 to 18102,
# 8300, 8279.
set -euo pipefail
source "$(dirname "$0")/running.sh"

# redis PORT [MASTER'S PORT]: a redis-server with a file of its own, in which it also notes whom it follows.
redis() {
    local file="$folder/redis-$1.conf"
    if [ ! -e "$file" ]; then
        cp "$docs/redis/redis.conf" "$file"
        echo "port $1" >>"$file"
        if [ -n "${2:-}" ]; then echo "replicaof localhost $2" >>"$file"; fi
    fi
    run "redis-$1" redis-server "$file"
}

# sentinel PORT
sentinel() {
    local file="$folder/sentinel-$1.conf" shard
    if [ ! -e "$file" ]; then
        printf 'port %s\nsentinel resolve-hostnames yes\n' "$1" >"$file"
        for shard in "shard1 localhost 17100" "shard2 localhost 17110"; do
            cat >>"$file" <<END
sentinel monitor $shard 2
sentinel down-after-milliseconds ${shard%% *} 2000
sentinel failover-timeout ${shard%% *} 6000
END
        done
    fi
    run "sentinel-$1" redis-server "$file" --sentinel
}

redis 17100
redis 17101 17100
redis 17102 17100
redis 17110
redis 17111 17110
redis 17112 17110
for port in 18100 18101 18102; do
    sentinel "$port"
done
run server taba-server "$docs/taba_redis_settings.json"
run agent taba-agent "$docs/taba_agent_settings.json"
example
