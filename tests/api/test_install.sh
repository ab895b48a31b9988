# What is installed is enough: the example is built against a copy found by pkg-config, and run.
set -eu
source=$1 build=$2
temporary=$(mktemp -d "${TMPDIR:-/tmp}/unmask install XXXXXX")
trap 'rm -rf "$temporary"' EXIT
prefix="$temporary/prefix"

cmake --install "$build" --prefix "$prefix" >"$temporary/log"
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name unmask.pc)")
export PKG_CONFIG_PATH
[ "$(pkg-config --modversion unmask)" = "$("$prefix/bin/unmask" --version | cut -d' ' -f2)" ]

# The sanitizers of the library, if it has any, must be in the program too.
sanitizers=$(sed -n 's/^UNMASK_SANITIZE:STRING=\(..*\)/-fsanitize=\1/p' "$build/CMakeCache.txt")
eval "set -- $(pkg-config --cflags --libs unmask)"
"${CC:-gcc}" -std=c17 -Wall -Wextra -Werror $sanitizers "$source/examples/finetune.c" "$@" \
    -o "$temporary/finetune"
LD_LIBRARY_PATH=$(dirname "$(find "$prefix" -name libunmask.so)")
export LD_LIBRARY_PATH

awk 'BEGIN {
    print "text\tlabel"
    for (i = 0; i < 32; i++)
        print (i % 2 ? "a b" : "c d") "\t" (i % 2 ? "odd" : "even")
}' >"$temporary/data.tsv"
"$temporary/finetune" "$source/tests/golden/models/bert_cls/model" "$temporary/data.tsv" \
    "$temporary/data.tsv" "$temporary/run" "a b" >"$temporary/out"
cat "$temporary/out"
grep -q 'base intact: yes' "$temporary/out"
grep -Eq "^'a b' is of class (odd|even)$" "$temporary/out"
[ -f "$temporary/run/delta.safetensors" ]
man=$(find "$prefix" -name unmask-train.1)
[ -n "$man" ]
