# unmask generate: one prompt to the terminal, many from a file to a file, and what is refused.
. "$1/tests/cli/lib.sh"

decoder() {
    mkdir "$1"
    cp "$source/tests/golden/models/$1/model/"* "$source/tests/golden/generation/tokenizer.json" "$1"
}
decoder llama_rope_llama3
decoder gpt2
small=llama_rope_llama3

# One prompt: the text and a line's end; the same from standard input and by --prompt.
expect 0 generate --model $small --raw 'the band and the order' --max-new-tokens 10
cp out greedy
[ "$(wc -l <greedy)" = 1 ] && [ "$(wc -c <greedy)" -ge 4 ] || fail "generate prints: $(cat greedy)"
expect 0 generate --model $small --raw --prompt 'the band and the order' --max-new-tokens 10
cmp -s out greedy || fail "--prompt differs: $(cat out)"
status=0
echo 'the band and the order' | "$unmask" generate --model $small --raw - --max-new-tokens 10 >out || status=$?
[ "$status" = 0 ] && cmp -s out greedy || fail "a prompt from standard input differs: $(cat out)"

# A stop text is left out, with what follows it.
stop=$(cut -c3-4 greedy)
expect 0 generate --model $small --raw 'the band and the order' --max-new-tokens 10 --stop "$stop"
[ "$(cat out)" = "$(sed "s/$stop.*//" greedy)" ] || fail "--stop '$stop' of $(cat greedy): $(cat out)"

# By chance: the same for the same seed only.
for seed in 1 1 2; do
    expect 0 generate --model $small --raw 'the band' --temperature 2 --top-k 50 --top-p 0.99 --seed $seed
    cp out chance$seed
    [ "$seed" = 2 ] || { [ ! -e before ] || cmp -s before chance1 || fail "--seed 1 differs"; cp out before; }
done
cmp -s chance1 chance2 && fail "--seed changes nothing"

# Many: a line of JSON each, in order, whatever the batch.
printf '{"prompt":"%s"}\n' 'the band and the order' and 'the sea, the sea' b 'on and on' >prompts.jsonl
printf '%s\t1\n' 'prompt' 'the band and the order' and 'the sea, the sea' b 'on and on' >prompts.tsv
for name in $small gpt2; do
    for batch in 1 2 8; do
        expect 0 generate --model $name --raw --prompts prompts.jsonl --out many$batch --max-new-tokens 10 \
            --batch $batch
        sed 's/,"prompt_seconds.*//' many$batch >texts$batch
        [ "$(wc -l <texts$batch)" = 5 ] || fail "5 prompts give $(wc -l <texts$batch) lines"
        cmp -s texts1 texts$batch || fail "--batch $batch differs"
    done
    expect 0 generate --model $name --raw --prompts prompts.tsv --out many --max-new-tokens 10
    sed 's/,"prompt_seconds.*//' many | cmp -s - texts1 || fail "prompts from TSV differ"
done
expect 0 generate --model $small --raw --prompts prompts.jsonl --out many --max-new-tokens 10
has many '^\{"prompt":"the band and the order","text":".*","ids":\[[0-9,]+\],"prompt_tokens":[0-9]+,'
grep -qF "\"text\":\"$(sed 's/[\\"]/\\&/g' greedy)\"" many || fail "one prompt and many differ: $(head -1 many)"

# What is refused.
long=$(printf 'a%.0s' $(seq 64))
expect_error 3 'prompt 1 has 64 tokens; the model takes 1 to 63, so that one can follow' \
    generate --model $small --raw "$long"
expect_error 3 'prompt 1 has 0 tokens; the model takes 1 to 63, so that one can follow' \
    generate --model $small --raw ''
expect 3 generate --model $small --raw --prompts none.jsonl --out many
has err none.jsonl
expect_error 2 '--prompt beside --prompts: give one of them' \
    generate --model $small --raw --prompts none.jsonl --prompt a --out many
printf '{"question":"a"}\n' >wrong.jsonl
expect 3 generate --model $small --raw --prompts wrong.jsonl --out many
has err "'prompt'"
printf '{"prompt":"a"}\n{"prompt":""}\n' >empty.jsonl
expect 3 generate --model $small --raw --prompts empty.jsonl --out many
has err 'prompt 2 has 0 tokens'
expect_error 2 'this bert model is a classifier: it tells the class of a text, it cannot go on with one' \
    generate --model "$model" --raw a
has err "^hint: 'unmask predict' asks it"
expect_error 2 'this bert model is a regressor: it tells a number of a text, it cannot go on with one' \
    generate --model "${model%bert_cls/model}bert_reg/model" --raw a
expect_error 2 'no prompt: give one, or --prompts FILE' generate --model $small --raw
printf 'ab\0cd' >nul.txt
status=0
"$unmask" generate --model $small --raw - <nul.txt >out 2>err || status=$?
[ "$status" = 3 ] || fail "a NUL byte: exit status $status"
has err 'standard input holds a NUL byte'
printf 'ab\377cd\n' >bytes.txt
"$unmask" generate --model $small --raw - <bytes.txt >out 2>err || true
cp out from_input; cp err from_input.err
run generate --model $small --raw "$(printf 'ab\377cd')"
cmp -s out from_input && cmp -s err from_input.err || fail "standard input is not read whole"
expect_error 2 '--prompts and --out go together' generate --model $small --raw --prompts prompts.jsonl
for value in warm -1 nan; do
    expect_error 2 "option '--temperature' takes a number of at least 0 and at most 1e+06, found '$value'" \
        generate --model $small --raw a --temperature $value
done
for value in 0 -0.5 1.01 inf; do
    expect_error 2 "option '--top-p' takes a number above 0 and at most 1, found '$value'" \
        generate --model $small --raw a --temperature 1 --top-p $value
done
expect_error 2 "option '--repetition-penalty' takes a number above 0 and at most 1e+06, found '0'" \
    generate --model $small --raw a --repetition-penalty 0
expect_error 2 "option '--top-k' takes a whole number from 0 to 2147483647, found '-3'" \
    generate --model $small --raw a --temperature 1 --top-k -3
expect_error 2 'a system message is written by a chat template, and the prompt is taken as it is' \
    generate --model $small --raw a --system b
expect_error 2 "'unmask generate' has no use for 'b'" generate --model $small --raw a b
expect_error 2 "'unmask generate' has no use for 'b'" generate --model $small --raw --prompt a b
expect_error 2 "'unmask generate' has no use for 'b'" \
    generate --model $small --raw --prompts prompts.jsonl --out many b
expect_error 2 "option '--seed' takes a whole number from 0 to 2147483647, found '3000000000'" \
    generate --model $small --raw a --seed 3000000000
expect_error 2 "option '--stop' can be given 32 times, not more" \
    generate --model $small --raw a $(printf -- '--stop %d ' $(seq 33))
expect 2 generate --model $small --raw a --batch 0
expect 2 generate --model $small --raw a --max-new-tokens -1
expect 1 generate --model $small --raw --prompts prompts.jsonl --out none/many
finish
