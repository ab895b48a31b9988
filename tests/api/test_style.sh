# Lines of at most 100 columns, no tabs, no spaces at their ends.
set -eu
cd "$1"
find src include tests fuzz examples -name '*.[ch]' | sort | xargs awk '
    length > 100 { complain("is longer than 100 columns") }
    /\t/ { complain("has a tab") }
    / $/ { complain("ends in a space") }
    function complain(what) {
        printf "%s:%d: %s\n", FILENAME, FNR, what
        failed = 1
    }
    END { exit failed }'
