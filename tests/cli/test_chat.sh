# Conversations: a chat template recognised, training rows shown with what is learnt, training, and
# the same template for prompts; what is refused.
. "$1/tests/cli/lib.sh"

mkdir model
cp "$source/tests/golden/models/llama_tied/model/"* model
sed 's/<pad>/<|im_start|>/g; s#</s>#<|im_end|>#g' \
    "$source/tests/golden/generation/tokenizer.json" >model/tokenizer.json
cat >model/chat_template.jinja <<'END'
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\n' + message["content"] + '<|im_end|>' + '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
END
message() {
    printf '{"role":"%s","content":"%s"}' "$1" "$2"
}
{
    printf '{"messages":[%s,%s]}\n' "$(message user 'a b')" "$(message assistant 'b')"
    printf '{"messages":[%s,%s,%s,%s]}\n' "$(message user a)" "$(message assistant b)" \
        "$(message user c)" "$(message assistant '\u00e9')"
} >chats.jsonl
chat() {
    expect "$1" inspect --example $2 --model model --task chat --train-file "$3" ${4-}
}

# Each token, and what is learnt: answers and their end, not the line's end behind it.
chat 0 1 chats.jsonl
tail -n +7 out | cut -c 20- >tokens
tr '\n' ' ' >expected <<'END'
|  "<|im_start|>"
   "u"
   "s"
   "er"
   "\n"
   "a"
   " b"
   "<|im_end|>"
   "\n"
   "<|im_start|>"
   "a"
   "s"
   "s"
   "i"
   "s"
   "t"
   "an"
   "t"
   "\n"
+  "b"
+  "<|im_end|>"
   "\n"
END
[ "$(tr '\n' ' ' <tokens)" = "$(cat expected)" ] || fail "inspect --example prints: $(cat out)"
has out '^row          1 of 2 that are trained on$'
has out '^tokens       22, of which 2 are learnt$'
chat 0 2 chats.jsonl --json
has out '^  "n_learnt": 4,$'
has out '^      "token": "Ã©",$'
has out '^      "text": "é",$'
chat 0 1 chats.jsonl '--loss all'
has out '^tokens       22, of which 21 are learnt$' # nothing comes before the first
chat 0 1 chats.jsonl '--pack on --max-length 64'
has out '^row          1 of 1 that are trained on$'
has out '^sequences    2$'

# A row with nothing to learn within the limit is left out, not cut; those behind it count on.
{
    printf '{"messages":[%s,%s]}\n' "$(message user "a$(printf ' b%.0s' $(seq 40))")" "$(message assistant b)"
    cat chats.jsonl
} >long.jsonl
chat 0 1 long.jsonl '--max-length 30'
tail -n +7 out | cut -c 20- | cmp -s - tokens || fail "row 1 is not the first that is trained on: $(cat out)"
has out '^row          1 of 2 that are trained on$'
has out '^in all       1 texts cut to fit, 1 left out$'
expect 0 inspect --plan --model model --task chat --train-file long.jsonl --max-length 30
has out '^rows                       2  for training$'
has out '^                           1  of them cut to the length limit$'
has out '^                           1  more left out: nothing to learn within the limit$'

# Records by the same template, and by Alpaca's.
printf '{"instruction":"a","input":"","output":"b"}\n' >records.jsonl
expect 0 inspect --example --model model --task instruct --train-file records.jsonl --template model
has out '^tokens       21, of which 2 are learnt$'
expect 0 inspect --example --model model --task instruct --train-file records.jsonl --loss all
has out '^tokens       64, of which 63 are learnt$' # it is longer, and cut
grep -q im_start out && fail "records are written by a chat template without being told to"

# An input may come late, be empty, null or missing.
{
    cat records.jsonl
    printf '{"instruction":"a","input":"c","output":"b"}\n{"instruction":"a","output":"b","input":null}\n'
} | sed '1s/"input":"",//' >inputs.jsonl
for row in 1 3; do
    expect 0 inspect --example $row --model model --task instruct --train-file inputs.jsonl --loss all
    [ -e first ] || cp out first
    [ "$(tail -n +4 out)" = "$(tail -n +4 first)" ] || fail "row $row: $(cat out)"
done
expect 0 inspect --example 2 --model model --task instruct --train-file inputs.jsonl --loss all
[ "$(tail -n +4 out)" != "$(tail -n +4 first)" ] || fail "an input that comes late is lost: $(cat out)"

# Training and going on: the prompt is written as the training data was.
expect 0 train --model model --task chat --train-file chats.jsonl --eval-file chats.jsonl \
    --budget 50 --batch 2 --max-steps 2 --out run
expect 0 eval run
has out '^perplexity '
printf '{"prompt":"a"}\n' >prompts.jsonl
expect 0 generate run --prompts prompts.jsonl --out answers --max-new-tokens 2
has answers '"prompt_tokens":18,'
expect 0 generate run --prompts prompts.jsonl --out answers --max-new-tokens 2 --raw
has answers '"prompt_tokens":1,'
expect 0 generate run --prompts prompts.jsonl --out answers --max-new-tokens 2 --template gemma2
has answers '"prompt_tokens":[0-9]{2},'
# A system message stands before it.
expect 0 generate run --prompts prompts.jsonl --out answers --max-new-tokens 2 --system 'be kind'
printf '{"prompt":"<|im_start|>system\\nbe kind<|im_end|>\\n<|im_start|>user\\na<|im_end|>\\n<|im_start|>assistant\\n"}\n' \
    >whole.jsonl
expect 0 generate run --prompts whole.jsonl --out raw --max-new-tokens 2 --raw
ids='s/.*"ids":\(\[[0-9,]*\],"prompt_tokens":[0-9]*\),.*/\1/'
[ "$(sed "$ids" answers)" = "$(sed "$ids" raw)" ] || fail "--system: $(cat answers raw)"
expect_error 3 "the prompt: message 1 is of role 'system', which template 'gemma2' does not have" \
    generate run --prompts prompts.jsonl --out answers --template gemma2 --system 'be kind'
# The delta knows the template that was named.
expect 0 train --model model --task instruct --train-file records.jsonl --template model --budget 50 \
    --max-steps 1 --out named
for from in named '--model model --delta named' '--model model --delta named/delta.safetensors'; do
    expect 0 generate $from --prompts prompts.jsonl --out answers --max-new-tokens 2
    has answers '"prompt_tokens":18,'
done

# What is refused.
printf '{"messages":[%s,%s]}\n' "$(message user a)" "$(message user b)" >twice.jsonl
expect_error 3 "twice.jsonl:1: message 2 is of role 'user' where 'assistant' must stand" \
    inspect --example --model model --task chat --train-file twice.jsonl
has err '^hint: a conversation is an optional system message'
printf '{"messages":"hello"}\n' >text.jsonl
expect_error 3 'text.jsonl:1: the messages are not a JSON array' \
    train --model model --task chat --train-file text.jsonl --out none
expect_error 2 'row 3: rows 1 to 2 are trained on' \
    inspect --example 3 --model model --task chat --train-file chats.jsonl
expect_error 2 "data.template: task 'text' has no messages to write by one" \
    train --model model --task text --train-file records.jsonl --template chatml --out none \
    --text-column output
printf '{"chat_template": "{{ messages }}"}' >model/tokenizer_config.json # the file comes first, there too
expect 0 delta diff model model --out nothing.safetensors
expect 0 merge --model model --delta nothing.safetensors --format gguf --out merged.gguf
grep -aq '{{- .<|im_start|>assistant' merged.gguf || fail "another template than the one trained with"
rm model/chat_template.jinja model/tokenizer_config.json
expect_error 2 "'model' has no chat template; name one by data.template (--template)" \
    train --model model --task chat --train-file chats.jsonl --out none
expect 0 inspect --example --model model --task chat --train-file chats.jsonl --template chatml
expect 0 generate --model model --prompts prompts.jsonl --out answers --max-new-tokens 2
has answers '"prompt_tokens":1,' # as it is
printf '{"chat_template": "{{ messages }}", "model_max_length": 1000000000000000019884624838656}' \
    >model/tokenizer_config.json
expect_error 3 "'model': the model's chat template is not one of those known" \
    train --model model --task chat --train-file chats.jsonl --out none
has err '^hint: .*--template.*chatml, .*alpaca$'
expect 3 generate --model model a
has err '^hint: .*--raw'
expect 0 generate --model model a --raw --max-new-tokens 1
expect 0 inspect --example --model model --task chat --train-file chats.jsonl --template gemma2 \
    --loss all

finish
