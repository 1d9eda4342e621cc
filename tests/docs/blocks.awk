# Splits a Markdown file's code blocks of one language into files, each beginning with a #line that
# says where it stands: -v language=cpp -v folder=OUT; blocks are OUT/LINE.LANGUAGE, LINE is that of
# the block's first line in the document.
/^```/ {
    if (inside) {
        inside = 0
        close(file)
    } else if ($0 == "```" language) {
        inside = 1
        file = sprintf("%s/%04d.%s", folder, NR + 1, language)
        if (language == "c" || language == "cpp")
            printf "#line %d \"%s\"\n", NR + 1, FILENAME >file
        else
            printf "" >file
    }
    next
}
inside { print >file }
