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
    : >"$work/$1.log" # of one before
    "$programs/$1" "${@:2}" >>"$work/$1.log" 2>&1 &
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
    exec 3>&-
    kill -KILL "$pid"

    # One that has not enough descriptors goes on when it has.
    local before
    before=$(ulimit -S -n)
    ulimit -S -n 24
    serve echo_server
    ulimit -S -n "$before"
    run echo_client "$address" 50 20 || true
    said echo_server '^accept: Too many open files$'
    gives "1 answers, 0 failures" run echo_client "$address"
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

# fetch PATH OPTION...: what curl gets of the server, whose status is its last line.
fetch() {
    curl --silent --show-error --max-time 60 --path-as-is --write-out '%{http_code}\n' "${@:2}" \
        "http://127.0.0.1:$port/$1"
}

run_file_server() {
    command -v curl >/dev/null || { echo "no curl"; exit 77; }
    mkdir -p "$work/served/folder"
    echo "the index" >"$work/served/index.html"
    head --bytes=3000001 /dev/urandom >"$work/served/folder/large"
    touch "$work/served/empty"
    mkfifo "$work/served/fifo"
    ln --symbolic /etc "$work/served/outside"
    echo "secret" >"$work/secret"

    serve file_server "$work/served"
    gives $'the index\n200' fetch ""
    gives 200 fetch folder/large --output "$work/large"
    cmp "$work/large" "$work/served/folder/large"
    gives 200 fetch empty
    gives 405 fetch empty --request DELETE
    local path
    for path in nothing folder fifo ../secret outside/passwd "/etc/passwd"; do
        gives 404 fetch "$path"
    done
    # Of which the length alone is asked for; and three times on one connection.
    fetch folder/large --head >"$work/head"
    grep --quiet $'^Content-Length: 3000001\r$' "$work/head"
    local url="http://127.0.0.1:$port/"
    gives $'the index\n1\nthe index\n0\nthe index\n0' \
        curl --silent --fail --max-time 60 --write-out '%{num_connects}\n' "$url" "$url" "$url"
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

# Two guests hear each other, and that one leaves; one that sends no end of a line is thrown out.
run_chat() {
    serve chat
    local line
    connect
    exec 4<>"/dev/tcp/127.0.0.1/$port"
    read -r -t 20 line <&3
    same "guest 2 has come" "$line"
    echo "good morning" >&4
    read -r -t 20 line <&3
    same "guest 2: good morning" "$line"
    read -r -t 20 line <&4
    same "guest 2: good morning" "$line"
    exec 4>&-
    read -r -t 20 line <&3
    same "guest 2 has left" "$line"
    head --bytes=5000 /dev/zero | tr '\0' x >&3
    if read -r -t 20 line <&3; then
        echo "still there: $line" >&2
        return 1
    fi
}

run_download() {
    local i urls=()
    mkdir "$work/served" "$work/got"
    for i in {1..20}; do
        head --bytes=$((i * 50000)) /dev/urandom >"$work/served/$i"
        urls+=("$i")
    done
    serve file_server "$work/served"
    run download "$work/got" "${urls[@]/#/http://localhost:$port/}" >"$work/said"
    same "20 files, 0 failed, at most 4 at a time" "$(tail -n 1 "$work/said")"
    diff --recursive "$work/served" "$work/got"

    exits 1 run download "$work/got" "http://127.0.0.1:$port/1" "http://127.0.0.1:$port/none" \
        "http://127.0.0.1:1/1" ftp://localhost/1 >"$work/said"
    same "4 files, 3 failed, at most 4 at a time" "$(tail -n 1 "$work/said")"
    grep --quiet "/none: HTTP/1.1 404 Not Found$" "$work/said"
    grep --quiet ":1/1: .*Connection refused$" "$work/said"
}

# words WORD...: a request, as RESP has it.
words() {
    local word
    printf '*%s\r\n' $#
    for word in "$@"; do
        printf '%s%s\r\n%s\r\n' '$' ${#word} "$word"
    done
}

# Requests that come together, in pieces, and such that are none.
run_parser() {
    serve parser
    connect
    local got
    words PING >&3
    words SET key $'two\r\nlines' >&3
    words GET key | head --bytes=9 >&3
    read -r -t 20 -d '' -n 12 got <&3 || true
    same $'+PONG\r\n+OK\r' "${got%$'\n'}"
    words GET key | tail --bytes=+10 >&3
    { words GET nothing; words FOO; echo "no RESP"; } >&3
    got=$(timeout 20 cat <&3)
    same $'$10\r\ntwo\r\nlines\r\n$-1\r\n-ERR unknown command\r' "$got"
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
