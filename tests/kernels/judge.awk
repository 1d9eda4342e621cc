# Judges what a guest of tools/kernels said. A test must pass; it may be skipped if this machine
# skips it too, and must be if a row of differs.txt says so, alone or with its family.
#
#   awk -v kernel=6.12 -v over=REASON -f judge.awk \
#       file=1 expected file=2 differs.txt file=3 here file=4 guest
#
#   expected  BACKEND PROGRAM TEST: what must have a result
#   here      what run_plan.sh printed on this machine, for the programs with skipped tests
#   guest     what it printed in the guest
#   over      why the guest is at its end
#
# Prints a line per backend, the tests that did not pass with what they said, and in the end
# PASSED FAILED SKIPPED.

# Versions as numbers: 6.12 is above 6.2.
function number(version,    parts) {
    split(version, parts, ".")
    return parts[1] * 1000 + parts[2]
}

function kernel_is(range,    bound) {
    bound = range
    gsub(/[<>=]/, "", bound)
    if (range == "*")
        return 1
    if (range ~ /^<[0-9]/)
        return number(kernel) < number(bound)
    if (range ~ /^>=[0-9]/)
        return number(kernel) >= number(bound)
    return number(kernel) == number(bound)
}

# The reason of one test, or of all that a pattern (*, [...]) names; false: it names none.
function give_reason(backend, pattern, why,    key, at, count, whole) {
    if ((backend, pattern) in known) {
        reason[backend, pattern] = why
        return 1
    }
    if (pattern !~ /[[*]/)
        return 0
    whole = pattern
    gsub(/[.]/, "[.]", whole)
    gsub(/[*]/, ".*", whole)
    for (key in known) {
        split(key, at, SUBSEP)
        if (at[1] == backend && at[2] ~ ("^" whole "$")) {
            reason[backend, at[2]] = why
            count++
        }
    }
    return count
}

function words_from(first,    i, text) {
    text = $first
    for (i = first + 1; i <= NF; i++)
        text = text " " $i
    return text
}

# On this machine the fallback must be asked for.
function counterpart(backend) {
    return backend == "auto" ? "epoll" : backend
}

function fail(backend, test, why) {
    failed[backend]++
    report[backend] = report[backend] "    FAILED  " test "\n" indented(why)
}

# The first lines say what went wrong; a context's dump can have hundreds.
function indented(text,    lines, count, i) {
    sub(/\n$/, "", text)
    count = split(text, lines, "\n")
    if (count > 20) {
        text = lines[1]
        for (i = 2; i <= 15; i++)
            text = text "\n" lines[i]
        text = text "\n... " (count - 15) " lines more"
    }
    gsub(/\n/, "\n        ", text)
    return text == "" ? "" : "        " text "\n"
}

file == 1 {
    if (!($1 in passed)) {
        backends[++backend_count] = $1
        passed[$1] = failed[$1] = skipped[$1] = seconds[$1] = 0
    }
    tests[++test_count] = $0
    planned[$1, $2]
    known[$1, $3]
    next
}

file == 2 {
    sub(/#.*/, "")
    if (NF && NF < 4)
        fail(backends[1], "differs.txt: not KERNEL BACKEND TEST REASON: " $0)
    if (NF < 4 || !kernel_is($1))
        next
    program = $3
    if (program !~ /^soak\./)
        sub(/\..*/, "", program)
    for (i = 1; i <= backend_count; i++) {
        backend = backends[i]
        if (!($2 == "*" || $2 == backend) || !((backend, program) in planned))
            continue
        if (!give_reason(backend, $3, words_from(4)))
            fail(backend, "differs.txt: there is no test " $3)
    }
    program = ""
    next
}

$1 == "@begin" {
    backend = $2
    program = $3
    text = ""
    next
}

$1 == "@end" {
    fate[file, $2, $3] = text "the program ended with status " $4
    if (file == 4)
        seconds[$2] += $5
    # A program that is one test has no lines of its own.
    if ($3 ~ /^soak\./) {
        outcome[file, $2, $3] = $4 == 0 ? "ok" : $4 == 77 ? "skip" : "FAIL"
        message[file, $2, $3] = text
    }
    program = text = ""
    next
}

program != "" && program !~ /^soak\./ && NF == 2 && /^(ok  |skip|FAIL) / {
    outcome[file, backend, program "." $2] = $1
    message[file, backend, program "." $2] = text
    text = ""
    next
}

NF { text = text $0 "\n" }

END {
    if (program != "")
        fate[4, backend, program] = text over
    for (i = 1; i <= test_count; i++) {
        split(tests[i], field, " ")
        judge(field[1], field[2], field[3])
    }
    for (i = 1; i <= backend_count; i++) {
        backend = backends[i]
        printf "%-8s%-7s%d passed, %d failed, %d skipped%6d s\n%s", kernel, backend,
            passed[backend], failed[backend], skipped[backend], seconds[backend], report[backend]
        all_passed += passed[backend]
        all_failed += failed[backend]
        all_skipped += skipped[backend]
    }
    print all_passed, all_failed, all_skipped
}

function judge(backend, program, test,    got, said) {
    got = outcome[4, backend, test]
    said = message[4, backend, test]
    if (got == "") {
        missing(backend, program, test)
    } else if ((backend, test) in reason) {
        if (got == "skip")
            skip(backend, test, reason[backend, test])
        else
            fail(backend, test, "differs.txt says that it is skipped, but: " got "\n" said)
    } else if (got == "ok") {
        passed[backend]++
    } else if (got == "skip" && outcome[3, counterpart(backend), test] == "skip") {
        sub(/^[^:]*: skipped: /, "", said)
        sub(/\n.*/, "", said)
        skip(backend, test, said)
    } else if (got == "skip") {
        fail(backend, test, "skipped, and not on this machine\n" said)
    } else {
        fail(backend, test, said)
    }
}

function skip(backend, test, why) {
    skipped[backend]++
    report[backend] = report[backend] "    skipped " test ": " why "\n"
}

# All count; of a program's the first is told of, which is the one that did not end.
function missing(backend, program, test,    why) {
    if ((backend, program) in told) {
        failed[backend]++
        return
    }
    told[backend, program]
    why = fate[4, backend, program]
    fail(backend, test " and what follows it", why == "" ? "not run: " over : why)
}
