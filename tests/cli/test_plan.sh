# Plans without data, of models known by their config.json: what is printed, and what is refused.
. "$1/tests/cli/lib.sh"
golden=$source/tests/golden/models

mkdir llama
cp "$golden/llama_untied/model/config.json" llama
chmod u+w llama/config.json
expect 0 inspect --plan --model llama --batch 4 --max-length 16
has out '^model .*by its config.json$'
has out '^steps .*1,000  each full: 1 x 4 of 16 tokens$'
has out '^or .* with --recompute on$'
expect 0 inspect --plan --model llama/config.json --batch 4 --max-length 16 --max-steps 7 --json
has out '"is_without_weights": true'
has out '"n_steps": 7'
has out '"max_tokens_per_step": 64'
has out '"savings": \['
expect 0 inspect --plan --model "$golden/llama_untied/model" --json
has out '"is_without_weights": false'

# Broken in turn: the file is named, status 3.
broken() {
    sed "$1" "$golden/llama_untied/model/config.json" >llama/config.json
    expect 3 inspect --plan --model llama
    has err "^unmask: .*llama/config.json.*$2"
}
broken 's/"model_type": "llama"/"model_type": "unheard-of"/' 'unheard-of'
broken 's/"model_type"/"type"/' 'model_type'
broken 's/"vocab_size"/"words"/' 'vocab_size'
broken 's/"hidden_size"/"size"/' 'hidden_size'
broken 's/"dtype"/"type"/' "neither 'dtype' nor 'torch_dtype'"
has err '^hint: --dtype'
expect 0 inspect --plan --model llama --dtype bf16
broken 's/"dtype": "float32"/"dtype": "float8"/' 'float8'
broken 's/"dtype": "float32"/"dtype": 32/' 'dtype'
echo '[]' >llama/config.json
expect 3 inspect --plan --model llama/config.json
has err 'llama/config.json'
expect 3 inspect --plan --model nowhere

# Wrong usage: status 2.
cp "$golden/llama_untied/model/config.json" llama
expect 2 inspect --plan --model llama --dtype float8
expect 2 inspect --plan --model llama --dtype q4_k # rows are not whole blocks
expect 2 inspect --plan
expect 2 inspect --plan --model "$golden/bert_base/model"
has err 'task: not given'
expect 2 inspect --plan --model "$golden/bert_base/model" --task instruct
# Training needs the weights, and says where a plan is to be had.
printf 'lo mu ba\n' >text.txt
chmod u+w llama/config.json
expect 3 train --model llama --task text --train-file text.txt --out run
has err '^hint: .*inspect --plan'
finish
