"""Golden files of going on with texts: make_generation_golden.py tests/golden

OUT/generation/greedy.safetensors holds, for each tiny decoder in OUT/models, what transformers goes on with greedily
(float64 on the fp32 weights, so that near-ties cannot hide):
  NAME.prompt [sum of lengths], NAME.prompt_offsets [N+1], NAME.new [...], NAME.new_offsets [N+1]; and .varied,
  .varied_offsets with a repetition penalty of 1.5 (tiny tied models repeat themselves without)
OUT/generation/tokenizer.json is a byte-level BPE of 64 entries for all of them; it has pieces of characters.
OUT/generation/sampler.safetensors holds what transformers' logits processors leave of random logits, for the settings
of each CASE (a row of `settings` [C, 4]: repetition penalty, temperature, top-k, top-p; 0: not used):
  logits [C, 64], seen [C, 20], probabilities [C, 64] (0: not kept)
"""
import json, pathlib, sys
import torch
import transformers as tf
from safetensors.torch import save_file

LENGTHS, NEW, CONTEXT, GAP = [7, 1, 30, 3, 50, 12], 24, 64, 1e-5
out = pathlib.Path(sys.argv[1])
(out / "generation").mkdir(exist_ok=True)


def go_on(model, prompt, penalty):
    r = model.generate(prompt[None], do_sample=False, max_new_tokens=min(NEW, CONTEXT - len(prompt)), pad_token_id=0,
                       repetition_penalty=penalty, output_scores=True, return_dict_in_generate=True)
    for scores in r.scores:
        best = scores[0].topk(2).values
        assert best[0] - best[1] > GAP, "a tie"
    return r.sequences[0, len(prompt):]


def greedy(folder):
    model = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    g = torch.Generator().manual_seed(2)
    prompts = [torch.randint(3, 64, (length,), generator=g) for length in LENGTHS]
    rows = dict(prompt=prompts, new=[go_on(model, p, 1.0) for p in prompts], varied=[go_on(model, p, 1.5) for p in prompts])
    gold = dict(prompt=torch.cat(prompts), new=torch.cat(rows["new"]), varied=torch.cat(rows["varied"]))
    return gold | {f"{k}_offsets": torch.tensor([0] + [len(r) for r in v]).cumsum(0) for k, v in rows.items()}


def tokenizer():
    """Special tokens, letters and marks, the bytes of two characters, some merges: 64 entries."""
    pieces = list("abcdefghijklmnopqrstuvwxyz.,?!0123") + ["Ġ", "Ċ", "Ã", "©", "ð", "Ł", "ĺ", "Ģ"]
    merges = [("t", "h"), ("th", "e"), ("Ġ", "a"), ("Ġ", "the"), ("i", "n"), ("Ã", "©"), ("ð", "Ł"), ("e", "r"),
              ("o", "n"), ("Ġ", "s"), ("Ġ", "b"), ("Ġ", "c"), ("a", "n"), ("an", "d"), ("Ġ", "and"), ("o", "r"),
              ("r", "e"), ("Ġ", "o"), ("e", "d")]
    vocab = ["<pad>", "<s>", "</s>"] + pieces + [a + b for a, b in merges]
    assert len(set(vocab)) == len(vocab) and len(vocab) == 64, len(vocab)
    special = [dict(id=i, content=vocab[i], single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
               for i in range(3)]
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    return dict(version="1.0", truncation=None, padding=None, added_tokens=special, normalizer=None,
                pre_tokenizer=byte_level, post_processor=None, decoder=byte_level,
                model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None,
                           end_of_word_suffix=None, fuse_unk=False, byte_fallback=False,
                           vocab={p: i for i, p in enumerate(vocab)}, merges=[f"{a} {b}" for a, b in merges]))


def sampler():
    cases = [(1.3, 0, 0, 0), (0, 0.7, 0, 0), (0, 1.5, 5, 0), (0, 1, 0, 0.9), (0, 1, 0, 0.3), (0, 1, 1, 0), (0, 1, 100, 0),
             (1.2, 0.8, 10, 0.8), (2.0, 2.0, 40, 0.95), (0.8, 0.5, 0, 0.99), (0, 0.05, 0, 0), (0, 1, 0, 0.0001)]
    g = torch.Generator().manual_seed(3)
    gold = dict(settings=torch.tensor(cases), logits=2 * torch.randn(len(cases), 64, generator=g),
                seen=torch.randint(0, 64, (len(cases), 20), generator=g), probabilities=torch.zeros(len(cases), 64))
    for c, (penalty, temperature, top_k, top_p) in enumerate(cases):
        chain = []
        if penalty: chain.append(tf.RepetitionPenaltyLogitsProcessor(float(penalty)))
        if temperature: chain.append(tf.TemperatureLogitsWarper(float(temperature)))
        if top_k: chain.append(tf.TopKLogitsWarper(top_k))
        if top_p: chain.append(tf.TopPLogitsWarper(float(top_p)))
        scores = gold["logits"][c:c + 1].double()
        for processor in chain:
            scores = processor(gold["seen"][c:c + 1], scores)
        gold["probabilities"][c] = scores.softmax(-1)[0].float()
    return gold


made = {"made by": f"oracle/make_generation_golden.py, transformers {tf.__version__}, torch {torch.__version__}"}
gold = {}
for model in sorted(out.glob("models/*/model")):
    if "ForCausalLM" in (model / "config.json").read_text() or "LMHeadModel" in (model / "config.json").read_text():
        for key, value in greedy(model).items():
            gold[f"{model.parent.name}.{key}"] = value
        print(model.parent.name, gold[f"{model.parent.name}.new_offsets"].tolist())
save_file(gold, out / "generation/greedy.safetensors", metadata=made)
save_file(sampler(), out / "generation/sampler.safetensors", metadata=made)
(out / "generation/tokenizer.json").write_text(json.dumps(tokenizer(), ensure_ascii=False, indent=1) + "\n")
