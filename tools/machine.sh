# shellcheck shell=bash
# Sourced by the scripts beside it: what they need of the machine. Missing programs are installed
# from Debian's packages, with sudo where that is needed; the Rust toolchain must be there.

missing=()

# need COMMAND PACKAGE...: notes the packages when the command is not there.
need() {
    command -v "$1" >/dev/null || missing+=("${@:2}")
}

# need_header HEADER PACKAGE...: the same for a header of C that the compiler does not find, or when
# there is no compiler yet.
need_header() {
    gcc -E -include "$1" -x c /dev/null >/dev/null 2>&1 || missing+=("${@:2}")
}

# Installs what `need` and `need_header` noted.
install_missing() {
    ((${#missing[@]})) || return 0
    local sudo=()
    if ! command -v apt-get >/dev/null; then
        echo "Not a Debian machine: please install ${missing[*]}" >&2
        exit 1
    fi
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            echo "Neither root nor sudo: please install ${missing[*]}" >&2
            exit 1
        fi
        sudo=(sudo)
    fi
    echo "installing ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends -qq "${missing[@]}" >/dev/null
}

# What a build takes, here and in the outside projects.
need_build_tools() {
    need cmake cmake
    need ninja ninja-build
    need gcc gcc libc6-dev
    need ld binutils
}

# Finds cargo where rustup puts it, or ends.
need_rust() {
    PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    command -v cargo >/dev/null && return 0
    echo "There is no Rust toolchain here: get one at https://rustup.rs" >&2
    exit 1
}

# What the compilers of C and C++ made once is not made again, in whatever folder the tree is.
keep_compiled() {
    export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
    export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=true
}

# configure SOURCE BUILD OPTION...: a CMake build, with Ninja where a new one has the choice.
configure() {
    local source=$1 build=$2 generator=()
    shift 2
    if [[ ! -e $build/CMakeCache.txt ]] && command -v ninja >/dev/null; then
        generator=(-G Ninja)
    fi
    cmake -S "$source" -B "$build" "${generator[@]}" "$@"
}

# build_bare BUILD: the shared library alone, as it is released, without the optional services.
build_bare() {
    configure . "$1" -DCMAKE_BUILD_TYPE=Release -DAIO_RS_TESTS=OFF \
        -DAIO_RS_CARGO_FLAGS=--no-default-features &&
        cmake --build "$1" --target aio_rs
}

# stripped_bytes LIBRARY: its length without symbols.
stripped_bytes() {
    local copy
    copy=$(mktemp)
    strip -o "$copy" "$1" && stat --format %s "$copy"
    rm "$copy"
}

# DNS answers with bytes changed at random, for so many seconds. changed_answers SECONDS
changed_answers() {
    AIO_TEST_SECONDS=$1 cargo test --locked --package aio_rs --lib -- --nocapture \
        changed_answers_never_do_harm
}

# The first line that a server prints says where it listens: waits for it, 10 seconds at most.
# port_of LOG
port_of() {
    local tries line
    for ((tries = 0; tries < 200; tries++)); do
        line=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$1")
        if [[ -n $line ]]; then
            echo "$line"
            return 0
        fi
        sleep 0.05
    done
    echo "the server does not listen: $(cat "$1")" >&2
    return 1
}

# same_trees A B: the same names, kinds, permissions, sizes, times, links and contents (SHA-256).
same_trees() {
    local a b
    a=$(describe_tree "$1") || return 1
    b=$(describe_tree "$2") || return 1
    if [[ $a != "$b" ]]; then
        diff <(echo "$a") <(echo "$b") | head -n 20 >&2
        return 1
    fi
}

# A line for each entry and one for the contents of each file. Sizes of directories are the file
# system's affair; owners count where they can be given.
describe_tree() (
    cd "$1" || exit
    owner=""
    ((EUID != 0)) || owner="%U:%G "
    find . \( -type d -printf "%y %m $owner%T@ %p\n" \) \
        -o \( -type l -printf "%y $owner%T@ %l %p\n" \) \
        -o -printf "%y %m $owner%s %T@ %p\n" | LC_ALL=C sort || exit
    find . -type f -print0 | xargs --null --no-run-if-empty --max-args=500 --max-procs=2 sha256sum |
        LC_ALL=C sort --key=2
)
