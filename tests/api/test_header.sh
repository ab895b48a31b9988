# The public header compiles alone, in C and in C++, without a warning.
set -eu
source=$1
try() {
    printf '#include <unmask.h>\n' | "$@" -fsyntax-only -Wall -Wextra -Wpedantic -Werror \
        -I"$source/include" -
}
try "${CC:-gcc}" -std=c99 -x c
try "${CC:-gcc}" -std=c17 -Wstrict-prototypes -x c
if command -v "${CXX:-g++}" >/dev/null; then
    try "${CXX:-g++}" -std=c++11 -x c++
else
    echo "no C++ compiler here: the C++ half is not tested"
fi
