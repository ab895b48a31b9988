# Help of every command, and man pages that are current, lint-free and made from the same tables.
. "$1/tests/cli/lib.sh"

expect 0 --help
cp out commands
expect 0 help
cmp -s out commands || fail "'unmask help' and 'unmask --help' differ"
expect 0 --version
has out '^unmask [0-9]+\.[0-9]+\.[0-9]+$'
expect 0 delta --help
has out '^  delta info '
expect 0 help recipe
has out '^  method.budget B '
has out '^  adamw '

expect 0 help methods
has out '^  fish +static +fisher +all +0.001$'
has out '^  movement '
[ "$(wc -L <out)" -le 80 ] || fail "help of methods is wider than 80 columns"

# page FILE WORD...: the man page in docs/man must be what the program writes.
page() {
    name=$1
    shift
    expect 0 help --man "$@"
    cmp -s out "$source/docs/man/$name" ||
        fail "docs/man/$name is out of date; scripts/update-man renews all pages"
    if command -v groff >/dev/null; then
        groff -man -Tutf8 -ww -z out >lint 2>&1
        [ ! -s lint ] || fail "docs/man/$name: $(cat lint)"
    fi
}
page unmask.1
page unmask-recipe.5 recipe
n_pages=2
sed -n 's/^  \([a-z ]*[a-z]\)   *.*/\1/p' commands >names
while read -r first second; do
    expect 0 $first $second --help
    has out "^usage: unmask $first"
    has out '^  --help '
    [ "$(wc -L <out)" -le 80 ] || fail "help of $first $second is wider than 80 columns"
    page "unmask-$first${second:+-$second}.1" $first $second
    n_pages=$((n_pages + 1))
done <names
[ "$n_pages" -ge 12 ] || fail "only $n_pages pages"
[ "$(find "$source/docs/man" -type f | wc -l)" = "$n_pages" ] || fail "docs/man has stray files"
finish
