# For the scripts beside this file, which source it: a folder for all data, processes that end with the script.

docs=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
once=no
folder=
for argument in "$@"; do
    case $argument in
        --once) once=yes ;;
        -*) echo "usage: $0 [--once] [FOLDER]" >&2; exit 2 ;;
        *) folder=$argument ;;
    esac
done
for program in redis-server taba-server taba-agent curl; do
    command -v "$program" >/dev/null || { echo "$0: there is no $program on the PATH" >&2; exit 1; }
done
if [ -n "$folder" ]; then
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    temporary=no
else
    folder=$(mktemp -d "${TMPDIR:-/tmp}/taba-redis.XXXXXX")
    temporary=yes
fi

# Ctrl-C goes to the script alone, which then ends everything in turn: a job of its own is a process group of its own.
set -m
names=()
jobs_of=()

# run NAME COMMAND...: start a command in the folder NAME of its own; what it writes goes to NAME.log.
run() {
    local name=$1
    shift
    mkdir -p "$folder/$name"
    (cd "$folder/$name" && exec "$@") >>"$folder/$name.log" 2>&1 </dev/null &
    names+=("$name")
    jobs_of+=($!)
}

end() {
    kill -TERM "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# The server ends first: the agent still takes the events of its own, and Redis its last checkpoint. Then the last that
# was started.
stop() {
    trap - EXIT
    trap '' INT TERM
    local at
    for at in "${!names[@]}"; do
        if [ "${names[at]}" = server ]; then end "${jobs_of[at]}"; fi
    done
    for ((at = ${#names[@]} - 1; at >= 0; at--)); do
        end "${jobs_of[at]}"
    done
    if [ "$temporary" = yes ]; then rm -rf "$folder"; fi
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# until_true WHAT COMMAND...: wait until a command succeeds, a minute at most.
until_true() {
    local what=$1 at left=300
    shift
    while ! "$@" >/dev/null 2>&1; do
        for at in "${!names[@]}"; do
            if ! kill -0 "${jobs_of[at]}" 2>/dev/null; then
                echo "$0: ${names[at]} has ended. The end of its log:" >&2
                tail -n 20 "$folder/${names[at]}.log" >&2
                exit 1
            fi
        done
        if [ $((left -= 1)) -le 0 ]; then
            echo "$0: after a minute still not so: $what. The logs are in $folder." >&2
            temporary=no
            exit 1
        fi
        sleep 0.2
    done
}

# Wait until server and agent are ready, run the example client, and ask for what it recorded.
example() {
    until_true "the server is ready" curl -sf localhost:8300/readyz
    until_true "the agent is ready" curl -sf localhost:8279/readyz
    echo "Server and agent are ready. All data and logs are in $folder."
    "${PYTHON:-python}" "$docs/example_client.py"
    until_true "both tabs are visible" \
        sh -c 'test "$(curl -s "localhost:8300/tabs?name=example_moving_counter,example_gauge" | wc -l)" = 2'
    curl -s "localhost:8300/tabs?name=example_moving_counter"
    curl -s "localhost:8300/tabs?name=example_gauge"
    if [ "$once" = no ]; then
        echo "Everything runs. Ctrl-C ends it."
        wait "${jobs_of[@]}"
    fi
}
