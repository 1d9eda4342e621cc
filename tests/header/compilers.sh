# shellcheck shell=bash
# Sourced by the scripts beside it: sets `cc` and `cxx` to the commands of a family of compilers, or
# ends the test as skipped when the family is not on this machine.

choose_compiler() {
    case $1 in
        gcc) cc=gcc cxx=g++ ;;
        clang)
            # Debian's packages carry the version in the name.
            cc=$(compgen -c clang- | { grep --extended-regexp '^clang-[0-9]+$' || true; } |
                sort --version-sort | tail -n 1)
            cc=${cc:-clang}
            cxx=${cc/clang/clang++}
            ;;
    esac
    if ! command -v "$cc" >/dev/null || ! command -v "$cxx" >/dev/null; then
        echo "$1 is not here"
        exit 77
    fi
}
