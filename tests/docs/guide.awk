# Makes a unit of C++ of a document's pieces of code: each block that is no whole program, and the
# code in the last cell of each row of a table with five columns. Whole programs (they begin with
# #include) go into files of their own: -v folder=OUT; the unit is OUT/guide.cpp.
function put(line) { print line >unit }
# Lines are numbered as in the document. Not named: in another file than its own GCC sees headers.
function origin(number) { put("#line " number) }

BEGIN {
    unit = folder "/guide.cpp"
    put("#include \"given.hpp\"")
}

/^```/ {
    if (!inside && $0 == "```cpp") {
        inside = 1
        first = NR + 1
        count = 0
    } else if (inside) {
        inside = 0
        if (lines[1] ~ /^#include/) {
            program = sprintf("%s/%04d.cpp", folder, first)
            printf "#line %d\n", first >program
            for (i = 1; i <= count; i++)
                print lines[i] >program
            close(program)
        } else {
            # Definitions are the namespace's; statements are a coroutine's.
            defines = lines[1] ~ /^(struct|class|template) / ||
                lines[1] ~ /^(aio::task<|aio::result<|int ).*\(.*{$/
            put("namespace block_" first " {" (defines ? "" : " aio::task<> statements() {"))
            origin(first)
            for (i = 1; i <= count; i++)
                put(lines[i])
            put(defines ? "}" : "co_return; } }")
        }
    }
    next
}
inside {
    lines[++count] = $0
    next
}

# | what | kio | Boost.Asio | condy | `code` |
/^\|.*`.*` \|$/ {
    row = $0
    gsub(/\\\|/, "\001", row)
    if (split(row, cells, "|") != 7)
        next
    code = cells[6]
    sub(/^ *`/, "", code)
    sub(/` *$/, "", code)
    gsub("\001", "|", code)
    put("aio::task<> row_" NR "() {")
    origin(NR)
    put(code ~ /;$/ ? code : "static_cast<void>(" code ");")
    put("co_return; }")
    rows++
}

# None would pass too.
END { if (rows < 60) { print rows " rows" >"/dev/stderr"; exit 1 } }
