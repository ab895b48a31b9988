/* A row of the training data as the model will see it: the encoded row itself, token by token. */
#include "train/run.h"

/* What is said of token i: segments where classes are learnt, marks where tokens are. */
static struct um_example_token describe(const struct um_run *run, int64_t i, bool is_first)
{
    const struct um_encoded *e = &run->train_tokens;
    struct um_example_token token = {.id = e->ids[i],
                                     .token = um_tokenizer_token(run->tm.tokenizer, e->ids[i]),
                                     .is_start = is_first};
    if (!um_style_is_prose(run->task->style)) {
        token.segment = e->types[i];
        token.is_learnt = e->words && e->words[i] >= 0;
    } else {
        token.is_learnt = e->types[i] == UM_MARK_LEARNT;
        token.is_start = e->types[i] == UM_MARK_START;
    }
    return token;
}

static void count(struct um_example *example, const struct um_run *run, int64_t row)
{
    const struct um_encoded *e = &run->train_tokens;
    *example = (struct um_example){.row = row,
                                   .n_rows = e->n_rows,
                                   .n_tokens = e->lengths[row],
                                   .n_truncated = e->n_truncated,
                                   .n_left_out = e->n_left_out};
    example->n_sequences = !um_style_is_prose(run->task->style);
    for (int64_t i = e->offsets[row]; i < e->offsets[row + 1]; i++) {
        struct um_example_token token = describe(run, i, false);
        example->n_sequences += token.is_start;
        example->n_learnt += token.is_learnt;
    }
}

/* Decodes tokens one by one; what is held back at a sequence's end is half a character. */
static enum um_status visit_tokens(const struct um_run *run, int64_t row, um_example_fn *visit,
                                   void *user, struct um_error *err)
{
    const struct um_encoded *e = &run->train_tokens;
    struct um_decoder *decoder = NULL;
    enum um_status status;
    UM_TRY(um_decoder_new(&decoder, run->tm.tokenizer, false, err));
    for (int64_t i = e->offsets[row]; i < e->offsets[row + 1]; i++) {
        struct um_example_token token = describe(run, i, i == e->offsets[row]);
        if (token.is_start) /* begins anew */
            UM_TRY(um_decoder_end(&token.text, &token.n_text, decoder, err));
        UM_TRY(um_decoder_put(&token.text, &token.n_text, decoder, &token.id, 1, err));
        visit(&token, user);
    }
out:
    um_decoder_free(decoder);
    return status;
}

enum um_status um_run_example(struct um_example *example, struct um_run *run, int64_t row,
                              um_example_fn *visit, void *user, struct um_error *err)
{
    if (!run->tm.tokenizer)
        return um_fail(err, UM_E_USAGE, "a run that was opened without data has no rows to show");
    if (row < 0 || row >= run->train_tokens.n_rows)
        return um_fail(err, UM_E_USAGE, "row %lld: rows 1 to %lld are trained on",
                       (long long)row + 1, (long long)run->train_tokens.n_rows);
    count(example, run, row);
    return visit ? visit_tokens(run, row, visit, user, err) : UM_OK;
}
