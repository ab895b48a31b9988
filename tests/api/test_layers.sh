# An include points only where src/LAYERS allows, private headers stay in their folder, and the
# program sees nothing of the library but unmask.h.
set -eu
cd "$1/src"
find . -name '*.[ch]' | sort | xargs awk '
    FNR == 1 {
        split(FILENAME, part, "/")
        folder = part[2]
    }
    /^#include "/ {
        split($0, quoted, "\"")
        path = quoted[2]
        n = split(path, step, "/")
        if (path == "unmask.h" || (n == 1 && folder == "cli"))
            next
        if (n != 2)
            complain("is not \"folder/file.h\"")
        else if (step[1] != folder && !((folder, step[1]) in allowed))
            complain("is against src/LAYERS")
        else if (step[1] != folder && path ~ /_private\.h$/)
            complain("is private to " step[1])
    }
    function complain(what) {
        printf "src/%s:%d: include of \"%s\" %s\n", substr(FILENAME, 3), FNR, path, what
        failed = 1
    }
    BEGIN {
        while ((getline line < "LAYERS") > 0) {
            if (line ~ /^#/)
                continue
            n = split(line, name, /[: ]+/)
            known[name[1]] = 1
            for (i = 2; i <= n; i++) {
                if (name[i] != "" && !(name[i] in known)) {
                    printf "src/LAYERS: %s may not include %s, which comes later\n", name[1], name[i]
                    failed = 1
                }
                allowed[name[1], name[i]] = 1
            }
        }
    }
    END { exit failed }'
