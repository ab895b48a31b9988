# Bad files: exit status 3, one line that names the file and the place; nothing is left behind.
. "$1/tests/cli/lib.sh"
. "$1/tests/cli/data.sh"

# bad 'PATTERN' OPTION...: training with these must fail with a message that matches.
bad() {
    pattern=$1
    shift
    expect 3 train --model "$base" --task classification --train-file train.tsv \
        --eval-file dev.tsv --max-steps 2 --budget 900 --out run "$@"
    has err "$pattern"
    [ ! -e run/delta.safetensors ] || fail "a failed run left a delta"
    rm -rf run
}

# data FILE 'CONTENT'
data() {
    printf "$2" >"$1"
}

bad "nowhere" --model nowhere
bad "none.tsv" --train-file none.tsv
data empty.tsv ''
bad "empty.tsv" --train-file empty.tsv
data header.tsv 'text\tlabel\n'
bad "header.tsv" --train-file header.tsv
data column.tsv 'words\tlabel\nbaba\tbaba\ndeba\tdeba\n'
bad "column.tsv.*text" --train-file column.tsv
data short.tsv 'text\tlabel\nbaba\tbaba\ndeba\n'
bad "short.tsv:3" --train-file short.tsv
data utf8.tsv 'text\tlabel\nbaba\tbaba\n\377\tdeba\n'
bad "utf8.tsv:3.*UTF-8" --train-file utf8.tsv
data one.tsv 'text\tlabel\nbaba\tbaba\nbaba\tbaba\n'
bad "one.tsv" --train-file one.tsv
data unknown.tsv 'text\tlabel\nbaba\tbaba\nbaba\tnothing\n'
bad "unknown.tsv:3.*nothing" --eval-file unknown.tsv

# Models: each file of a good one broken in turn.
copy_model() {
    rm -rf broken
    mkdir broken
    cp "$base"/* broken/
    chmod u+w broken/*
}
copy_model
head -c 2000 "$base/model.safetensors" >broken/model.safetensors
bad "broken/model.safetensors" --model broken
copy_model
: >broken/model.safetensors
bad "broken/model.safetensors" --model broken
copy_model
rm broken/model.safetensors
bad "broken" --model broken
copy_model
echo '{"model_type": "bert", ' >broken/config.json
bad "broken/config.json.*line 2" --model broken
copy_model
echo '{"model_type": "unheard-of"}' >broken/config.json
bad "unheard-of" --model broken
copy_model
sed 's/"hidden_size": 32/"hidden_size": 36/' "$base/config.json" >broken/config.json
bad "36" --model broken
copy_model
echo '{"model": {"type": "Marvellous"}}' >broken/tokenizer.json
bad "broken/tokenizer.json.*Marvellous" --model broken

# A weight that is no number: there is no class then, and no score.
rm -rf broken
cp -r "$model" broken
chmod u+w broken/*
size=$(wc -c <broken/model.safetensors)
printf '\000\000\300\177' | dd of=broken/model.safetensors bs=1 seek=$((size - 400)) conv=notrunc 2>/dev/null
sed 's/baba$/LABEL_0/; s/deba$/LABEL_1/; s/bana$/LABEL_2/' three.tsv >classes.tsv
expect 3 eval --model broken --task classification --eval-file classes.tsv
has err "^unmask: the model's outputs are not finite: weight '.*' holds nan at position [0-9]+$"
for input in "baba kiba" --eval-file=classes.tsv; do
    run predict --model broken --task classification "$input"
    [ "$status" = 3 ] || fail "predict by a weight that is no number: exit status $status"
    grep -q LABEL out && fail "predicted by a weight that is no number: $(cat out)"
done

# GGUF files with a tokenizer, without one, and that are none.
run tokenize "$source/fuzz/corpus/gguf_tokenizer/gpt-2" 'ab a'
[ "$(cat out)" = '2 7' ] || fail "the ids of a GGUF file's tokenizer are '$(cat out)'"
expect 3 tokenize "$source/tests/golden/gguf/types.gguf" text
has err 'types.gguf.*holds none .tokenizer.ggml.model is missing'
expect 3 tokenize "$base/config.json" text
has err 'config.json.*GGUF'

# Deltas that are none.
head -c 100 "$base/model.safetensors" >cut.safetensors
expect 3 delta info cut.safetensors
has err 'cut.safetensors'
expect 3 delta info "$base/model.safetensors"
expect 3 delta info none.safetensors

# Wrong settings that only model and data reveal: status 2.
expect 2 train --model "$base" --task classification --train-file train.tsv --eval-file dev.tsv \
    --out run --budget 10
has err 'budget'
expect 2 train --model "$base" --task classification --train-file train.tsv --eval-file dev.tsv \
    --out run --budget 900 --include 'no.such.*'
has err 'no\.such\.\*'
expect 2 train --model "$base" --task classification --train-file train.tsv --eval-file dev.tsv \
    --budget 900
has err 'out'
finish
