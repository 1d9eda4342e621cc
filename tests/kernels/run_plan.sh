# shellcheck shell=dash
# run_plan.sh FOLDER <plan: runs the programs of a plan one after another, in a guest and here, and
# prints their output between marks, as it comes:
#
#     @begin BACKEND NAME
#     ...
#     @end BACKEND NAME STATUS SECONDS
#
# A line of a plan is BACKEND NAME PROGRAM [ARGUMENT]..., the program in FOLDER. The backends "auto"
# and "own" leave the choice to the library and to the program.

folder=$1
while read -r backend name command; do
    case $backend in
    auto | own) unset AIO_RS_BACKEND ;;
    *) export AIO_RS_BACKEND="$backend" ;;
    esac
    start=$(date +%s)
    echo "@begin $backend $name"
    # The arguments are words of their own.
    # shellcheck disable=SC2086
    "$folder"/$command 2>&1 </dev/null
    status=$?
    # A program that is killed may leave half a line.
    printf '\n@end %s %s %s %s\n' "$backend" "$name" "$status" $(($(date +%s) - start))
done
