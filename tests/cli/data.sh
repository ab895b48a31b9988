# Tiny data for the golden models: sentences of their vocabulary; the class is told by one word.
# Sourced after lib.sh. Leaves train.tsv, dev.tsv (2 classes) and three.tsv (3 classes).
base=$source/tests/golden/models/bert_base/model

# table N SEED WORD...: N rows; the label of a row is its word.
table() {
    n=$1 seed=$2
    shift 2
    awk -v n="$n" -v seed="$seed" -v words="$*" 'BEGIN {
        n_words = split(words, word, " ")
        n_fill = split("kiba kide kiki loba lode muba mude mumu", fill, " ")
        print "text\tlabel"
        for (i = 0; i < n; i++) {
            text = word[i % n_words + 1]
            for (k = 0; k < 3 + i % 3; k++) {
                seed = (seed * 16807) % 2147483647
                text = text " " fill[seed % n_fill + 1]
            }
            print text "\t" word[i % n_words + 1]
        }
    }'
}
table 64 1 baba deba >train.tsv
table 30 7 baba deba >dev.tsv
table 48 3 baba deba bana >three.tsv

# Trains on the two classes into a run folder: train_into RUN OPTION...
train_into() {
    run_folder=$1
    shift
    expect 0 train --model "$base" --task classification --train-file train.tsv \
        --eval-file dev.tsv --budget 900 --batch 8 --epochs 6 --lr 5e-3 --out "$run_folder" "$@"
}

# number FILE KEY: the value of a key in JSON written one key a line.
number() {
    sed -n "s/^ *\"$2\": \([^,]*\),*$/\1/p" "$1"
}
