/* Rows to text to tokens, with what is learnt marked. */
#include "data/prose.h"

#include <string.h>

void um_prose_free(struct um_prose *prose)
{
    um_str_free(&prose->text);
    um_free(prose->learnt);
    *prose = (struct um_prose){0};
}

void um_prose_clear(struct um_prose *prose)
{
    um_str_clear(&prose->text);
    prose->n_learnt = prose->n_prompt = 0;
    prose->takes_special = prose->takes_end = false;
}

void um_prose_add(struct um_prose *p, const char *text, size_t n, bool is_learnt)
{
    size_t start = p->text.length;
    um_str_add_n(&p->text, text, n);
    if (!is_learnt || n == 0)
        return;
    if (p->n_learnt && p->learnt[p->n_learnt - 1].end == start) {
        p->learnt[p->n_learnt - 1].end += n;
        return;
    }
    if (!um_grow(&p->learnt, &p->learnt_capacity, p->n_learnt + 1, sizeof(*p->learnt))) {
        p->text.failed = true;
        return;
    }
    p->learnt[p->n_learnt++] = (struct um_span){start, start + n};
}

static void add_text(struct um_prose *p, const char *text, bool is_learnt)
{
    um_prose_add(p, text, strlen(text), is_learnt);
}

/* The prompt of Stanford Alpaca (Taori et al. 2023), which LLM-Adapters takes over. */
static void render_record(struct um_prose *p, const struct um_row *row, bool learns_all)
{
    add_text(p, "Below is an instruction that describes a task", learns_all);
    if (row->pair)
        add_text(p, ", paired with an input that provides further context", learns_all);
    add_text(p, ". Write a response that appropriately completes the request.", learns_all);
    add_text(p, "\n\n### Instruction:\n", learns_all);
    um_prose_add(p, row->text, row->n_text, learns_all);
    if (row->pair) {
        add_text(p, "\n\n### Input:\n", learns_all);
        um_prose_add(p, row->pair, row->n_pair, learns_all);
    }
    add_text(p, "\n\n### Response:\n", learns_all);
}

static enum um_status render_texts(struct um_prose *p, const struct um_row *row,
                                   const struct um_prose_options *o, bool is_prompt,
                                   struct um_error *err)
{
    p->takes_special = true;
    p->takes_end = !is_prompt && o->end_id >= 0;
    if (o->style == UM_STYLE_PLAIN)
        um_prose_add(p, row->text, row->n_text, true);
    else if (o->style == UM_STYLE_RECORD)
        render_record(p, row, o->learns_all);
    else
        um_prose_add(p, row->text, row->n_text, o->learns_all);
    if (is_prompt || o->style == UM_STYLE_PLAIN)
        return UM_OK;
    if (row->n_completion == 0)
        return um_fail(err, UM_E_INPUT, "the completion is empty: nothing to learn");
    p->n_prompt = p->text.length;
    um_prose_add(p, row->completion, row->n_completion, true);
    return UM_OK;
}

enum um_status um_prose_render(struct um_prose *p, const struct um_row *row,
                               const struct um_prose_options *o, bool is_prompt, const char *path,
                               struct um_error *err)
{
    um_prose_clear(p);
    enum um_status status =
        (o->chat ? um_prose_render_chat : render_texts)(p, row, o, is_prompt, err);
    if (status == UM_OK && p->text.failed)
        status = um_fail_memory(err, "a row's text", p->text.length);
    if (status != UM_OK)
        um_error_prefix(err, "%s:%lld", path, (long long)row->line);
    return status;
}

void um_marked_free(struct um_marked *m)
{
    um_free(m->ids);
    um_free(m->learnt);
    um_tokens_free(&m->tokens);
    um_tokens_free(&m->part);
    *m = (struct um_marked){0};
}

/* Tokens that text[0..n) shares with the whole: where a span starts or ends. */
static enum um_status shared_tokens(size_t *n_shared, struct um_marked *m,
                                    const struct um_prose *p, size_t n,
                                    const struct um_tokenizer *tokenizer, struct um_error *err)
{
    UM_RETURN_IF(um_tokenizer_encode(&m->part, tokenizer, p->text.text, n, NULL, 0,
                                     p->takes_special, 0, err));
    size_t k = 0;
    while (k < m->part.n && k < m->n && m->part.ids[k] == m->ids[k])
        k++;
    *n_shared = k;
    return UM_OK;
}

/* `n_prompt`: tokens of p->n_prompt bytes. */
static enum um_status mark(struct um_marked *m, const struct um_prose *p, size_t n_prompt,
                           const struct um_tokenizer *tokenizer, struct um_error *err)
{
    for (size_t s = 0; s < p->n_learnt; s++) {
        bool is_completion = p->learnt[s].start == p->n_prompt;
        size_t first = is_completion ? n_prompt : 0, end = m->n;
        if (p->learnt[s].start && !is_completion)
            UM_RETURN_IF(shared_tokens(&first, m, p, p->learnt[s].start, tokenizer, err));
        if (p->learnt[s].end < p->text.length)
            UM_RETURN_IF(shared_tokens(&end, m, p, p->learnt[s].end, tokenizer, err));
        if (end > first)
            memset(m->learnt + first, 1, end - first);
    }
    return UM_OK;
}

static enum um_status append(struct um_marked *m, const int32_t *ids, size_t n,
                             struct um_error *err)
{
    size_t most = m->n + n + 1; /* and an end token */
    if (!um_grow(&m->ids, &m->ids_capacity, most, sizeof(*m->ids)) ||
        !um_grow(&m->learnt, &m->learnt_capacity, most, 1))
        return um_fail_memory(err, "tokens", most * sizeof(*m->ids));
    if (n)
        memcpy(m->ids + m->n, ids, n * sizeof(*m->ids));
    m->n += n;
    return UM_OK;
}

/* Of a prompt, which is to be gone on with, though the tokenizer's own template may end it. */
static size_t length_without_end(const struct um_tokens *prompt, int32_t end_id)
{
    return prompt->n - (prompt->n && prompt->ids[prompt->n - 1] == end_id);
}

/* A completion's tokens, where they are not those of the whole text: behind a line's end, so that
 * no tokenizer begins it as it begins a text (SentencePiece's with a space), if that stands
 * apart. */
static enum um_status append_completion(struct um_marked *m, const char *text, size_t n,
                                        const struct um_tokenizer *tokenizer, struct um_error *err)
{
    struct um_tokens *whole = &m->tokens, *line = &m->part;
    struct um_str joined = {0};
    enum um_status status = UM_OK;
    um_str_add(&joined, "\n");
    um_str_add_n(&joined, text, n);
    if (joined.failed)
        UM_TRY(um_fail_memory(err, "a completion", n));
    UM_TRY(um_tokenizer_encode(line, tokenizer, "\n", 1, NULL, 0, false, 0, err));
    UM_TRY(
        um_tokenizer_encode(whole, tokenizer, joined.text, joined.length, NULL, 0, false, 0, err));
    size_t k = line->n;
    if (k == 0 || k > whole->n || memcmp(whole->ids, line->ids, k * sizeof(*line->ids)) != 0) {
        k = 0;
        UM_TRY(um_tokenizer_encode(whole, tokenizer, text, n, NULL, 0, false, 0, err));
    }
    UM_TRY(append(m, whole->ids + k, whole->n - k, err));
out:
    um_str_free(&joined);
    return status;
}

/* Fills m->ids, the first *n_prompt of them with the prompt. */
static enum um_status encode_text(size_t *n_prompt, struct um_marked *m, const struct um_prose *p,
                                  const struct um_tokenizer *tokenizer, int32_t end_id,
                                  struct um_error *err)
{
    const char *text = p->text.text ? p->text.text : "";
    struct um_tokens *whole = &m->tokens, *prompt = &m->part;
    *n_prompt = m->n = 0;
    UM_RETURN_IF(um_tokenizer_encode(whole, tokenizer, text, p->text.length, NULL, 0,
                                     p->takes_special, 0, err));
    bool is_prompt = p->takes_special && !p->takes_end;
    if (p->n_prompt == 0)
        return append(m, whole->ids, is_prompt ? length_without_end(whole, end_id) : whole->n, err);
    UM_RETURN_IF(um_tokenizer_encode(prompt, tokenizer, text, p->n_prompt, NULL, 0,
                                     p->takes_special, 0, err));
    size_t n = *n_prompt = length_without_end(prompt, end_id);
    if (n == 0 ||
        (n <= whole->n && memcmp(prompt->ids, whole->ids, n * sizeof(*whole->ids)) == 0))
        return append(m, whole->ids, whole->n, err);
    UM_RETURN_IF(append(m, prompt->ids, n, err));
    return append_completion(m, text + p->n_prompt, p->text.length - p->n_prompt, tokenizer, err);
}

enum um_status um_prose_encode(struct um_marked *m, const struct um_prose *p,
                               const struct um_tokenizer *tokenizer, int32_t end_id,
                               struct um_error *err)
{
    size_t n_prompt;
    UM_RETURN_IF(encode_text(&n_prompt, m, p, tokenizer, end_id, err));
    memset(m->learnt, 0, m->n + 1);
    UM_RETURN_IF(mark(m, p, n_prompt, tokenizer, err));
    if (!p->takes_end)
        return UM_OK;
    if (m->n == 0 || m->ids[m->n - 1] != end_id) /* else the tokenizer's own template ends so */
        m->ids[m->n++] = end_id;
    m->learnt[m->n - 1] = 1;
    return UM_OK;
}
