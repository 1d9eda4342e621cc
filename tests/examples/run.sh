#!/usr/bin/env bash
# run.sh EXAMPLE PROGRAMS [BACKEND.]: runs an example beside a real peer (another example, curl, the
# shell itself) and looks at what has come of it.
set -euo pipefail
example=$1 programs=$2 backend=${3:-}
backend=${backend%.}
[[ -z $backend ]] || export AIO_RS_BACKEND=$backend

work=$(mktemp --directory)
started=()
finish() {
    local each
    for each in "${started[@]}"; do
        kill -KILL "$each" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

# ---- what the examples need ----------------------------------------------------------------------

# start NAME ARGUMENT...: runs an example beside the others, its output in a log. Sets pid.
start() {
    "$programs/$1" "${@:2}" >"$work/$1.log" 2>&1 &
    pid=$!
    started+=("$pid")
}

# said NAME TEXT: waits until a program has said it, 20 seconds at most.
said() {
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        grep --quiet "$2" "$work/$1.log" && return 0
        sleep 0.05
    done
    echo "$1 did not say: $2" >&2
    cat "$work/$1.log" >&2
    return 1
}

# serve NAME ARGUMENT...: starts a server and waits until it listens. Sets pid, address and port.
serve() {
    start "$@"
    said "$1" '^listening on '
    address=$(sed -n 's/^listening on //p' "$work/$1.log")
    port=${address##*:}
}

# run NAME ARGUMENT...: runs an example to its end.
run() {
    timeout 60 "$programs/$1" "${@:2}"
}

# same WANTED FOUND
same() {
    [[ $1 == "$2" ]] && return 0
    diff <(echo "$1") <(echo "$2") >&2
    return 1
}

# gives WANTED COMMAND...: the command succeeds, and its output is this.
gives() {
    local found
    found=$("${@:2}")
    same "$1" "$found"
}

# exits STATUS COMMAND...: the command ends with this status.
exits() {
    local status=0
    "${@:2}" || status=$?
    same "$1" "$status"
}

# connect: the shell itself is a peer, at the descriptor 3.
connect() {
    exec 3<>"/dev/tcp/127.0.0.1/$port"
}

# answers TEXT: the peer sends it back.
answers() {
    local line
    echo "$1" >&3
    read -r -t 20 line <&3
    same "$1" "$line"
}

# refused: nobody listens any more, soon.
refused() {
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>"$work/errors" || break
        sleep 0.05
    done
    grep --quiet 'Connection refused' "$work/errors"
}

# ---- the examples --------------------------------------------------------------------------------

run_hello() {
    gives "$(printf '%s\n' 'hello, world' 'hello, moon' '2 greeted')" run hello
}

run_echo_server() {
    serve echo_server
    connect
    answers "a line of the shell's"
    gives "1000 answers, 0 failures" run echo_client "$address" 20 50
    answers "another one"
}

run_echo_workers() {
    serve echo_workers 127.0.0.1:0 2
    connect
    answers "a line of the shell's"
    gives "1000 answers, 0 failures" run echo_client "$address" 20 50
    kill -TERM "$pid"
    exec 3>&-
    exits 0 wait "$pid"
    said echo_workers '^21 connections, 2 workers$'
}

# A stopped server's kernel accepts and takes what is sent, but nobody answers.
run_echo_client() {
    serve echo_server
    gives "6 answers, 0 failures" run echo_client "$address" 2 3
    kill -STOP "$pid"
    same "0 answers, 2 failures" "$(exits 1 run echo_client "$address" 2 3 2>"$work/errors")"
    same "echo_client: the deadline has passed" "$(cat "$work/errors")"
}

run_copy_file() {
    local size
    for size in 0 1 262144 3000001; do
        head --bytes="$size" /dev/urandom >"$work/from"
        rm -f "$work/to"
        gives "$size bytes" run copy_file "$work/from" "$work/to"
        cmp "$work/from" "$work/to"
    done
    exits 1 run copy_file "$work/from" "$work/to" 2>"$work/errors"
    grep --quiet 'File exists' "$work/errors"
}

run_producers() {
    gives "15000 received of 3 threads" run producers 3 5000
}

run_group() {
    gives "first: stopped
the pump is broken, 0 left
second: stopped
the deadline has passed
the deadline has passed
third: stopped
number 1 was first" run group
}

# The server comes when it was asked in vain.
run_retry() {
    serve echo_server
    kill -KILL "$pid"
    wait "$pid" || true
    start retry "$address" "is there anybody"
    local asking=$pid
    said retry '^attempt .*: Connection refused$' # reset, while its socket goes
    serve echo_server "$address"
    exits 0 wait "$asking"
    same "is there anybody" "$(tail -n 1 "$work/retry.log")"
}

run_graceful() {
    serve graceful
    connect
    answers "before the signal"
    kill -TERM "$pid"
    said graceful '^stopping, 1 connected$'
    answers "after the signal"
    refused
    exec 3>&-
    exits 0 wait "$pid"
    said graceful '^drained, 1 finished$'

    serve graceful
    connect
    answers "before the signals"
    kill -TERM "$pid"
    said graceful '^stopping, 1 connected$'
    kill -INT "$pid"
    exits 0 wait "$pid"
    said graceful '^told twice, 0 finished$'
}

"run_$example"
