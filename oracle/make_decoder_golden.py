"""Golden files of tiny random decoders: make_decoder_golden.py tests/golden/models

OUT/NAME/model/ is a Hugging Face folder without a tokenizer (config.json, safetensors), and
OUT/NAME/golden.safetensors holds a ragged batch and what transformers makes of it, dropout off:
  input_ids [T], offsets [B+1], loss_mask [T] (1: this token is predicted, from the one before it),
  loss [1] (mean over the loss tokens), logit_positions [P] (into T), logits [P, V],
  hidden [P, D] (after the last norm), grad.PARAM (of the loss; a tied pair is one PARAM),
  losses [10] (full fine-tuning by torch.optim.AdamW: lr 1e-3, betas 0.9 0.999, eps 1e-8,
  weight_decay 0.01)
Each sequence runs on its own, so that no padding can leak. The reference runs in float64 on the fp32
weights; rotary angles and norms that transformers computes in float32 stay so.
"""
import pathlib, sys
import torch
import transformers as tf
from safetensors.torch import save_file

LENGTHS, PROMPTS = [11, 24, 5, 17], [4, 9, 1, 6]
V, D, H, K, E, F, L = 64, 16, 4, 2, 4, 24, 2
COMMON = dict(vocab_size=V, hidden_size=D, num_hidden_layers=L, num_attention_heads=H,
              intermediate_size=F, max_position_embeddings=64, tie_word_embeddings=False,
              pad_token_id=0, bos_token_id=1, eos_token_id=2)
GQA = COMMON | dict(num_key_value_heads=K)
HEADS = GQA | dict(head_dim=8)
ROPE = dict(rope_theta=10000.0)
MODELS = {
    "llama_tied": (tf.LlamaForCausalLM, tf.LlamaConfig, GQA | dict(tie_word_embeddings=True)),
    "llama_untied": (tf.LlamaForCausalLM, tf.LlamaConfig, GQA | dict(attention_bias=True, mlp_bias=True)),
    "llama_rope_llama3": (tf.LlamaForCausalLM, tf.LlamaConfig, GQA | dict(rope_parameters=ROPE | dict(
        rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=16))),
    "llama_rope_linear": (tf.LlamaForCausalLM, tf.LlamaConfig, GQA | dict(
        rope_parameters=ROPE | dict(rope_type="linear", factor=2.5))),
    "llama_rope_yarn": (tf.LlamaForCausalLM, tf.LlamaConfig, HEADS | dict(rope_parameters=ROPE | dict(
        rope_type="yarn", factor=4.0, original_max_position_embeddings=16))),
    "mistral_window": (tf.MistralForCausalLM, tf.MistralConfig, HEADS | dict(sliding_window=6)),
    "qwen2": (tf.Qwen2ForCausalLM, tf.Qwen2Config, GQA),
    "qwen3": (tf.Qwen3ForCausalLM, tf.Qwen3Config, HEADS | dict(tie_word_embeddings=True)),
    "gemma": (tf.GemmaForCausalLM, tf.GemmaConfig, HEADS | dict(
        num_key_value_heads=1, tie_word_embeddings=True, hidden_activation="gelu_pytorch_tanh")),
    "gemma2": (tf.Gemma2ForCausalLM, tf.Gemma2Config, HEADS | dict(
        tie_word_embeddings=True, query_pre_attn_scalar=6, sliding_window=6,
        attn_logit_softcapping=3.0, final_logit_softcapping=2.0)),
    "gemma3": (tf.Gemma3ForCausalLM, tf.Gemma3TextConfig, HEADS | dict(
        num_hidden_layers=3, tie_word_embeddings=True, query_pre_attn_scalar=6, sliding_window=6,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"])),
    "gpt2": (tf.GPT2LMHeadModel, tf.GPT2Config, dict(
        vocab_size=V, n_embd=D, n_layer=L, n_head=H, n_positions=64, resid_pdrop=0, embd_pdrop=0,
        attn_pdrop=0, bos_token_id=1, eos_token_id=2)),
}


def randomise(model):
    g = torch.Generator().manual_seed(0)
    for name, p in model.named_parameters():
        is_norm = p.dim() == 1 and not name.endswith("bias")
        base = 1.0 if is_norm and not name.startswith("gemma") and "gemma" not in model.config.model_type else 0.0
        p.data = base + (0.25 if p.dim() > 1 else 0.1) * torch.randn(p.shape, generator=g)


def batch():
    g = torch.Generator().manual_seed(1)
    ids = torch.randint(3, V, (sum(LENGTHS),), generator=g)
    offsets = torch.tensor([0] + LENGTHS).cumsum(0)
    mask = torch.zeros(len(ids), dtype=torch.long)
    for b, prompt in enumerate(PROMPTS):
        ids[offsets[b]] = 1
        mask[offsets[b] + prompt:offsets[b + 1]] = 1
    return ids, offsets, mask


def run(model, ids, offsets, mask):
    """Mean loss over the masked tokens, logits and last hidden states of all positions."""
    total, logits, hidden = 0, [], []
    for s, e in zip(offsets[:-1], offsets[1:]):
        out = model(input_ids=ids[None, s:e], output_hidden_states=True, use_cache=False)
        logits.append(out.logits[0])
        hidden.append(out.hidden_states[-1][0])
        each = torch.nn.functional.cross_entropy(out.logits[0, :-1], ids[s + 1:e], reduction="none")
        total = total + (each * mask[s + 1:e]).sum()
    return total / mask.sum(), torch.cat(logits), torch.cat(hidden)


def make(out, name, cls, config_cls, options):
    folder = out / name / "model"
    folder.mkdir(parents=True, exist_ok=True)
    config = config_cls(**options)
    config._attn_implementation = "eager"
    model = cls(config)
    randomise(model)
    model.float().save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    model = model.double().eval()
    data = ids, offsets, mask = batch()
    loss, logits, hidden = run(model, *data)
    loss.backward()
    at = torch.tensor([0, 5, int(offsets[1]) - 1, int(offsets[2]) - 1, int(offsets[3]) - 1, int(offsets[4]) - 1])
    gold = dict(input_ids=ids, offsets=offsets, loss_mask=mask, loss=loss.reshape(1),
                logit_positions=at, logits=logits[at], hidden=hidden[at])
    for p, v in model.named_parameters():
        assert v.grad is not None, p
        gold["grad." + p] = v.grad.clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = run(model, *data)[0]
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    gold["losses"] = torch.tensor(losses, dtype=torch.float64)
    gold = {k: (v.detach().float() if v.is_floating_point() else v).contiguous() for k, v in gold.items()}
    save_file(gold, out / name / "golden.safetensors", metadata={
        "made by": f"oracle/make_decoder_golden.py, transformers {tf.__version__}, torch {torch.__version__}"})
    size = sum(f.stat().st_size for f in (out / name).rglob("*") if f.is_file())
    print(f"{name}: {size} bytes, loss {losses[0]:.4f} to {losses[-1]:.4f}")


for name, how in MODELS.items():
    make(pathlib.Path(sys.argv[1]), name, *how)
