# What the script tests of the program share. Sourced as `. "$1/tests/cli/lib.sh"`; afterwards the
# working folder is a temporary one (with a space in its name), which goes away at the end.
set -eu
source=$1 build=$2
unmask=$build/unmask
model=$source/tests/golden/models/bert_cls/model
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive
temporary=$(mktemp -d "${TMPDIR:-/tmp}/unmask cli XXXXXX")
trap 'rm -rf "$temporary"' EXIT
cd "$temporary"
n_failed=0

fail() {
    n_failed=$((n_failed + 1))
    printf 'FAILED: %s\n' "$*"
}

# Runs the program with the arguments; leaves status, out and err.
run() {
    status=0
    "$unmask" "$@" >out 2>err </dev/null || status=$?
}

# expect STATUS ARGUMENT...: runs, and compares the exit status; a failure has at most an error line
# and a hint, and nothing on standard output.
expect() {
    expected=$1
    shift
    run "$@"
    [ "$status" = "$expected" ] || {
        fail "unmask $*: exit status $status, expected $expected"
        cat err
    }
    [ "$expected" = 0 ] || {
        [ ! -s out ] || fail "unmask $*: writes to standard output though it fails"
        grep -Evq '^unmask: |^hint: ' err && fail "unmask $*: more than an error: $(cat err)"
        [ "$(grep -c '^unmask: ' err)" = 1 ] || fail "unmask $*: not one line of error: $(cat err)"
        [ "$(grep -c '^hint: ' err)" -le 1 ] || fail "unmask $*: more than one hint"
    }
    return 0
}

# expect_error STATUS 'MESSAGE' ARGUMENT...: the first line of standard error must be the message.
expect_error() {
    message=$2
    expected=$1
    shift 2
    expect "$expected" "$@"
    [ "$(head -n 1 err)" = "unmask: $message" ] || {
        fail "unmask $*: wrong message"
        printf '  expected: unmask: %s\n  found:    %s\n' "$message" "$(head -n 1 err)"
    }
}

# has FILE PATTERN: a line of the file must match (grep -E).
has() {
    grep -Eq -- "$2" "$1" || {
        fail "no line of '$1' matches: $2"
        cat "$1"
    }
}

finish() {
    [ "$n_failed" = 0 ] || exit 1
}
