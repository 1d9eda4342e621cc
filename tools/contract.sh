# shellcheck shell=bash
# Sourced by tools/bench: what the rows of the contract are measured with. Each measurement leaves a
# file in $build/results/contract, and is skipped while that is there; benches/peers/verdict judges
# the files and draws them. It reads $build, $results and $peers, and calls what tools/bench has.
# shellcheck disable=SC2154

# The measurements, each with the rows that it decides (0: plots, and figures of the documentation).
declare -A measured_for=(
    [nop]="1 2 3" [instructions]="1 2"
    [echo]="3 4" [echo-1]=5 [latency-1]=5 [calls]=6 [echo-instructions]=7
    [reads]=8 [direct]=9 [timers]=10 [deadline]=11 [wake]=12 [posts]=12
    [idle]=13 [short]=14 [epoll-echo]=15 [epoll-reads]=15 [create]=16 [size]=16
    [echo-1-peers]=0 [echo-peers]=0 [echo-5000]=0 [echo-4k]=0 [echo-64k]=0 [short-peers]=0
    [reads-peers]=0 [direct-peers]=0 [timers-peers]=0 [udp]=0 [sendfile]=0
)
# In this order: what decides comes first, and of that what is quick.
measurements=(nop instructions calls create size wake posts echo echo-1 latency-1 echo-instructions
    reads direct timers deadline idle short epoll-echo epoll-reads udp sendfile echo-1-peers
    echo-peers echo-5000 echo-4k echo-64k short-peers reads-peers direct-peers timers-peers)

# What is compared in the rows on echo.
by_hand="bare-oneshot,bare-coop,bare-multishot"
echo_forms=aio-uring,aio-uring-pool,aio-uring-reap

run_contract() {
    local contract=$results/contract name row
    mkdir -p "$contract"
    for row in "$@"; do
        [[ $row == again || $row =~ ^([0-9]|1[0-6])$ ]] || usage 2
        for name in "${measurements[@]}"; do
            if [[ $row == again || " ${measured_for[$name]} " == *" $row "* ]]; then
                rm -f "$contract/$name.json"
            fi
        done
    done
    for name in "${measurements[@]}"; do
        [[ -e $contract/$name.json ]] || measure "$name" "$contract/$name.json"
    done
    "$build/peers/release/bench-verdict" "$contract" docs/bench
}

# A measurement that was cut off leaves no file.
measure() {
    local json=$2.part
    printf '== %s\n' "$1"
    case $1 in
        nop) bench nop --count 500000 ;;
        instructions) gate_nops && mv "$results/instructions.json" "$json" ;;
        calls) bench echo --figure calls --connections 1,64 --count 10000 \
            --engines "$by_hand,$echo_forms" ;;
        create) bench create ;;
        size) library_size ;;
        wake) bench wake --count 10000 ;;
        posts) bench posts ;;
        echo) bench echo --connections 64,512 --cpus 1 --count 20000 --engines \
            "$by_hand,$echo_forms,aio-coroutine,libuv,monoio" ;;
        echo-1) bench echo --connections 1 --cpus 1 --count 25000 \
            --engines "$by_hand,$echo_forms,libuv" ;;
        latency-1) bench echo --figure latency --connections 1 --cpus 1 --count 25000 \
            --engines "$by_hand,$echo_forms,libuv" ;;
        echo-instructions) echo_instructions ;;
        reads) bench reads --cpus 1 --folder "$results" --count 50000 \
            --engines bare,bare-fixed,aio-uring,aio-uring-fixed,aio-uring-reap,liburing ;;
        direct) bench reads --direct 1 --depth 128 --cpus 1 --folder "$results" --count 10000 \
            --engines bare-fixed,aio-uring-fixed,compio ;;
        timers) bench timers --engines bare,aio --outstanding 1000000 --rounds 31 ;;
        deadline) bench echo --connections 1,64,512 --cpus 1 --count 20000 --engines \
            aio-uring,aio-uring-deadline,aio-epoll,aio-epoll-deadline ;;
        idle) bench echo --figure memory --connections 9000 --count 45000 --cpus 1 --rounds 1 ;;
        short) bench echo --short 1 --connections 64 --cpus 1 --count 3000 \
            --engines "$by_hand,aio-uring,aio-uring-pool,libuv" ;;
        epoll-echo) bench echo --connections 64,512 --cpus 1 --count 20000 \
            --engines bare-epoll,aio-epoll,libuv ;;
        epoll-reads) bench reads --depth 32 --folder "$results" --count 100000 \
            --engines pread,aio-epoll,libuv ;;
        udp) bench udp --rounds 11 ;;
        sendfile) bench sendfile --rounds 11 ;;
        echo-1-peers) bench echo --connections 1 --cpus 1 --count 25000 --rounds 11 ;;
        echo-peers) bench echo --connections 64,512 --cpus 1 --count 20000 --rounds 11 ;;
        echo-5000) bench echo --connections 5000 --cpus 1 --count 25000 --rounds 5 ;;
        echo-4k) bench echo --connections 64 --cpus 1 --size 4096 --count 10000 --rounds 11 ;;
        echo-64k) bench echo --connections 64 --cpus 1 --size 65536 --count 2000 --rounds 11 ;;
        short-peers) bench echo --short 1 --connections 64 --cpus 1 --count 3000 --rounds 11 ;;
        reads-peers) bench reads --depth 1,32,128 --cpus 1 --folder "$results" --count 20000 \
            --rounds 11 ;;
        direct-peers) bench reads --direct 1 --depth 1,32,128 --cpus 1 --folder "$results" \
            --count 5000 --rounds 5 ;;
        timers-peers) bench timers --rounds 3 --count 100000 ;;
    esac
    mv "$json" "$2"
}

# bench NAME OPTION...: `json` is measure's.
bench() {
    local name=$1 with=()
    [[ $name != nop && $name != echo && $name != reads && $name != timers ]] || with=("${peers[@]}")
    "$build/benches/$name" --json "$json" "${with[@]}" "${@:2}"
}

# User instructions of a server's process in a run of so many requests, and how many these were.
# instructions_of_server ENGINE CONNECTIONS COUNT
instructions_of_server() {
    local out=$results/callgrind.out requests total
    rm -f "$out"*
    requests=$(valgrind --tool=callgrind --callgrind-out-file="$out.%p" \
        --log-file="$results/callgrind.log" "$build/benches/echo" --engines "$1" --alone 1 \
        --connections "$2" --count "$3" | sed -n 's/^.*: \([0-9]*\) requests.*/\1/p')
    # The server is the later of the two processes.
    total=$(awk '$1 == "totals:" { print $2 }' "$(printf '%s\n' "$out".* | sort -V | tail -n 1)")
    echo "$requests $total"
}

# The slope over two counts, which accepting and starting do not touch; the median of three, because
# a server whose peer was kept waiting takes other turns.
# instructions_per_request ENGINE CONNECTIONS
instructions_per_request() {
    local first second slopes=()
    while ((${#slopes[@]} < 3)); do
        read -ra first <<<"$(instructions_of_server "$1" "$2" 2000)"
        read -ra second <<<"$(instructions_of_server "$1" "$2" 10000)"
        slopes+=("$(awk -v n="$((second[0] - first[0]))" -v i="$((second[1] - first[1]))" \
            'BEGIN { printf "%.1f", i / n }')")
    done
    printf '%s\n' "${slopes[@]}" | sort -n | sed -n 2p
}

echo_instructions() {
    local engine rows=()
    for engine in bare-oneshot aio-uring aio-coroutine aio-uring-reap aio-epoll liburing libuv; do
        rows+=("$(printf '{"case": "1 connection", "engine": "%s", "exact": %s, %s}' "$engine" \
            "$(instructions_per_request "$engine" 1)" '"unit": "user instructions per request"')")
        echo "  ${rows[-1]}"
    done
    (
        IFS=,
        printf '{"title": "TCP echo", "unit": "user instructions per request", "rows": [%s]}\n' \
            "${rows[*]}"
    ) >"$json"
}

# The stripped library without optional features.
library_size() {
    local bare=$build-bare bytes
    quietly build_bare "$bare"
    bytes=$(stripped_bytes "$bare/libaio_rs.so.0")
    printf '{"rows": [{"case": "no features", "engine": "libaio_rs.so", "exact": %s}]}\n' "$bytes" \
        >"$json"
    echo "  libaio_rs.so without optional features, stripped: $bytes bytes"
}
