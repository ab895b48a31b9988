# The same rows in other formats give the same delta.
. "$1/tests/cli/lib.sh"
. "$1/tests/cli/data.sh"

train_into run --max-steps 6

# same NAME OPTION...: a run from these files is bit for bit the run above.
same() {
    name=$1
    shift
    train_into "$name" --max-steps 6 "$@"
    cmp -s run/delta.safetensors "$name/delta.safetensors" || fail "$name: another delta"
}

for part in train dev; do
    awk -F '\t' -v OFS=, 'NR > 1 { print $2, "\"" $1 "\"" }' $part.tsv >$part.csv
    awk -F '\t' 'NR > 1 { print "{\"label\": \"" $2 "\", \"text\": \"" $1 "\", \"ids\": [1]}" }' \
        $part.tsv >$part.jsonl
    { echo '['; sed '$!s/$/,/' $part.jsonl; echo ']'; } >$part.json
done
same csv --train-file train.csv --eval-file dev.csv --header no --text-column 2 --label-column 1
same jsonl --train-file train.jsonl --eval-file dev.jsonl
same json --train-file train.json --eval-file dev.json

# Evaluation remembers how its files are read.
expect 0 eval csv
has out '^accuracy +[01]\.'
expect 3 eval csv --header yes --label-column label
has err "dev.csv.*no column 'label'"

# QQP has rows that are broken in two; they are left out, and it is said.
mkdir -p glue/QQP
for part in train dev; do
    awk -F '\t' -v OFS='\t' '
        NR == 1 { print "id", "qid1", "qid2", "question1", "question2", "is_duplicate"; next }
        { print NR, 1, 2, $1, $1, $2 == "baba" }
        NR == 5 { print NR, 1, 2, $1; print "broken", 1 }' $part.tsv >glue/QQP/$part.tsv
done
expect 0 train --model "$base" --task qqp --data glue --budget 900 --batch 8 --max-steps 2 --out qqp
has err '^2 rows to evaluate on have too few fields and were left out$'

# Pairs: a tab stands before the second text, on the command line, in standard input, in a file.
awk -F'\t' -v OFS='\t' 'NR == 1 { print "text", "pair", "label"; next } { print $1, "kiba " $2, $2 }' train.tsv >pairs.tsv
expect 0 train --model "$base" --task classification --train-file pairs.tsv --pair-column pair --budget 900 \
    --batch 8 --max-steps 4 --out paired
tab=$(printf '\t')
expect 0 predict paired "muba kide${tab}kiba baba" "kide" "loba${tab}deba"
cp out predicted
[ "$(cut -f3 predicted | sed -n 2p)" = "muba kide  |  kiba baba" ] || fail "a pair: $(cat predicted)"
[ "$(cut -f3 predicted | sed -n 3p)" = "kide" ] || fail "a single text: $(cat predicted)"
status=0
printf 'muba kide\tkiba baba\nkide\nloba\tdeba\n' | "$unmask" predict paired >out || status=$?
[ "$status" = 0 ] && cmp -s out predicted || fail "standard input: $(cat out)"
finish
