/* Asking, and keeping the score. */
#include "train/questions.h"

#include <stdlib.h>

#include "base/cpu.h"
#include "base/json.h"

/* What a model that goes on past its answer begins the next one with; LLM-Adapters, too, takes no
 * notice of what is behind it. */
static const char *const stops[] = {"### Response:"};

static bool is_too_long(const struct um_questions *q, size_t n_tokens)
{
    return (int64_t)n_tokens >= q->tm->model.dims.P;
}

static enum um_status add_question(struct um_questions *q, int64_t row, struct um_prose *prose,
                                   struct um_marked *marked, struct um_error *err)
{
    const struct um_row *r = &q->data->rows[row];
    const char *path = q->data->table.path;
    UM_RETURN_IF(um_answer_truth(&q->truths[row], q->data->task->answer, r, path, err));
    UM_RETURN_IF(um_prose_render(prose, r, &q->prose, true, path, err));
    UM_RETURN_IF(um_prose_encode(marked, prose, q->tm->tokenizer, q->prose.end_id, err));
    if (is_too_long(q, marked->n)) {
        q->n_too_long++;
        return UM_OK;
    }
    UM_RETURN_IF(um_check_ids(q->tm->tokenizer, marked->ids, marked->n, q->tm->model.dims.V, err));
    q->rows[q->prompts.n] = row;
    return um_prompts_add(&q->prompts, marked->ids, marked->n, err);
}

enum um_status um_questions_open(struct um_questions *q, struct um_task_model *tm,
                                 const struct um_dataset *data,
                                 const struct um_prose_options *prose_options, struct um_error *err)
{
    struct um_prose prose = {0};
    struct um_marked marked = {0};
    int64_t n = data->n_rows;
    enum um_status status = UM_OK;
    *q = (struct um_questions){.tm = tm,
                               .data = data,
                               .prose = *prose_options,
                               .rows = UM_NEW(n, int64_t),
                               .truths = UM_NEW(n, struct um_found),
                               .replies = UM_NEW(n, struct um_reply)};
    if (!q->rows || !q->truths || !q->replies)
        UM_TRY(um_fail_memory(err, "questions", (size_t)n * sizeof(*q->replies)));
    for (int64_t row = 0; row < n; row++)
        UM_TRY(add_question(q, row, &prose, &marked, err));
    UM_TRY(um_prompts_end(&q->prompts, err));
out:
    um_prose_free(&prose);
    um_marked_free(&marked);
    if (status != UM_OK)
        um_questions_close(q);
    return status;
}

static void forget_replies(struct um_questions *q)
{
    for (int64_t row = 0; q->replies && row < q->data->n_rows; row++) {
        um_generation_free(&q->replies[row].generation);
        q->replies[row] = (struct um_reply){0};
    }
}

void um_questions_close(struct um_questions *q)
{
    forget_replies(q);
    um_free(q->replies);
    um_free(q->truths);
    um_free(q->rows);
    um_prompts_free(&q->prompts);
    *q = (struct um_questions){0};
}

/* ---- asking */

/* An evaluation under way. */
struct asking {
    struct um_questions *questions;
    const struct um_ask_options *options;
    struct um_answering so_far;
    int64_t n_tokens;
    double start;
    enum um_status status; /* of what went wrong in the callback */
    struct um_error *err;
};

static void tell_rate(struct asking *a)
{
    struct um_answering *s = &a->so_far;
    s->seconds = um_seconds() - a->start;
    s->tokens_per_second = (double)a->n_tokens / s->seconds;
    s->seconds_left = s->seconds / (double)s->n_done * (double)(s->n_rows - s->n_done);
}

static bool on_finished(int64_t index, const struct um_generation *g, void *user)
{
    struct asking *a = user;
    struct um_questions *q = a->questions;
    int64_t row = q->rows[index];
    struct um_reply *reply = &q->replies[row];
    enum um_answer rule = q->data->task->answer;
    a->status = um_answer_find(&reply->found, rule, g->text, g->n_text, a->err);
    if (a->status != UM_OK)
        return false;
    reply->is_right = um_answer_is_right(&reply->found, &q->truths[row], rule);
    reply->is_awaited = false;
    a->n_tokens += g->n_ids;
    a->so_far.n_done++;
    a->so_far.n_right += reply->is_right;
    tell_rate(a);
    return !a->options->answering || a->options->answering(&a->so_far, a->options->user);
}

static struct um_generate_options generate_options(const struct um_ask_options *o)
{
    return (struct um_generate_options){.max_new_tokens = o->max_new_tokens,
                                        .stops = stops,
                                        .n_stops = UM_COUNT(stops),
                                        .batch = o->batch};
}

static struct um_generate_job job_of(const struct um_questions *q,
                                     const struct um_generate_options *options)
{
    return (struct um_generate_job){.engine = &q->tm->engine,
                                    .tokenizer = q->tm->tokenizer,
                                    .prompts = q->prompts.items,
                                    .n = q->prompts.n,
                                    .options = options,
                                    .end_text = q->tm->end_text};
}

enum um_status um_questions_plan(struct um_generate_need *need, const struct um_questions *q,
                                 const struct um_ask_options *options, struct um_error *err)
{
    const struct um_generate_options generate = generate_options(options);
    const struct um_generate_job job = job_of(q, &generate);
    *need = (struct um_generate_need){0};
    return q->prompts.n ? um_generate_plan(need, &job, err) : UM_OK;
}

/* What a job wrote, from the order of prompts to that of rows, also where it was stopped; right
 * answers counted already. */
static enum um_status generate(struct asking *a, struct um_error *err)
{
    struct um_questions *q = a->questions;
    const struct um_generate_options options = generate_options(a->options);
    struct um_generate_job job = job_of(q, &options);
    struct um_generation *written = UM_NEW(q->prompts.n, struct um_generation);
    if (!written)
        return um_fail_memory(err, "answers", (size_t)q->prompts.n * sizeof(*written));
    job.finished = on_finished;
    job.user = a;
    enum um_status status = um_generate(written, &job, err);
    for (int64_t i = 0; i < q->prompts.n; i++)
        q->replies[q->rows[i]].generation = written[i];
    um_free(written);
    return status;
}

enum um_status um_questions_ask(struct um_questions *q, const struct um_ask_options *options,
                                struct um_error *err)
{
    struct um_error fault = {0}; /* a failed callback's, which the job's would stand over */
    struct asking a = {.questions = q,
                       .options = options,
                       .so_far = {.n_done = q->n_too_long, .n_rows = q->data->n_rows},
                       .start = um_seconds(),
                       .err = &fault};
    forget_replies(q);
    for (int64_t i = 0; i < q->prompts.n; i++)
        q->replies[q->rows[i]].is_awaited = true;
    enum um_status status = q->prompts.n ? generate(&a, err) : UM_OK;
    if (a.status != UM_OK && err)
        *err = fault;
    if (a.status != UM_OK)
        return a.status;
    if (status == UM_E_INTERRUPTED)
        return um_fail(err, status, "the evaluation was stopped after %lld of %lld rows",
                       (long long)a.so_far.n_done, (long long)a.so_far.n_rows);
    return status;
}

/* ---- predictions */

/* A number or a letter; null where there is none, or none that JSON has. */
static json_t *json_of(const struct um_found *found, enum um_answer rule)
{
    if (!found->is_there)
        return json_null();
    return rule == UM_ANSWER_NUMBER ? json_real(found->number) : json_stringn(&found->letter, 1);
}

static enum um_status add_line(struct um_str *lines, const struct um_questions *q, int64_t row,
                               struct um_prose *prose, struct um_error *err)
{
    const struct um_reply *reply = &q->replies[row];
    const struct um_generation *g = &reply->generation;
    const char *path = q->data->table.path;
    enum um_answer rule = q->data->task->answer;
    UM_RETURN_IF(um_prose_render(prose, &q->data->rows[row], &q->prose, true, path, err));
    json_t *json =
        json_pack("{s:I, s:I, s:s%, s:s%, s:o, s:o, s:b, s:I}", "row", (json_int_t)row + 1, "line",
                  (json_int_t)q->data->rows[row].line, "prompt", prose->text.text,
                  prose->text.length, "text", g->text ? g->text : "", g->n_text, "prediction",
                  json_of(&reply->found, rule), "answer", json_of(&q->truths[row], rule), "correct",
                  reply->is_right ? 1 : 0, "tokens", (json_int_t)g->n_ids);
    um_json_add_line(lines, json);
    return UM_OK;
}

enum um_status um_questions_save(const struct um_questions *q, const char *path,
                                 struct um_error *err)
{
    struct um_str lines = {0};
    struct um_prose prose = {0};
    enum um_status status = UM_OK;
    for (int64_t row = 0; row < q->data->n_rows; row++)
        if (!q->replies[row].is_awaited)
            UM_TRY(add_line(&lines, q, row, &prose, err));
    status = um_file_write_str(path, &lines, err);
out:
    um_prose_free(&prose);
    um_str_free(&lines);
    return status;
}
