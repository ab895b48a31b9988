/* Going on with prompts by a predictor: from texts, and from a file to a file. */
#include <stdlib.h>
#include <string.h>

#include "train/predictor.h"
#include "train/prompts.h"

/* The template that prompts are written by: the one named, or that the delta's training named; else
 * as that task is written; else the model's own. NULL: prompts as they are. */
static enum um_status open_chat(struct um_chat **chat, const struct um_predictor *p,
                                const struct um_generate_options *o, struct um_error *err)
{
    const struct um_task *task = p->delta ? um_task_find(p->delta->task) : NULL;
    const char *name = o->chat_template && *o->chat_template ? o->chat_template
                       : p->delta && *p->delta->template     ? p->delta->template
                                                             : NULL;
    *chat = NULL;
    if (o->is_raw)
        return UM_OK;
    if (!name && task && (task->style == UM_STYLE_PROMPT || task->style == UM_STYLE_PLAIN))
        return UM_OK;
    if (!name)
        name = task && task->style == UM_STYLE_RECORD ? "alpaca" : "model";
    enum um_status status = um_task_model_find_chat(chat, &p->tm, name, err);
    if (status != UM_OK && strcmp(name, "model") == 0)
        um_error_hint(err, "name the one that it is like (--template), or go on with the prompt as "
                           "it is (--raw)");
    return status;
}

static enum um_status check_options(const struct um_generate_options *o, struct um_error *err)
{
    const struct {
        const char *name;
        int64_t value;
    } counts[] = {
        {"max_new_tokens", o->max_new_tokens}, {"top_k", o->top_k}, {"batch", o->batch}};
    const struct {
        const char *name;
        double value, most;
    } numbers[] = {{"temperature", o->temperature, 1e6},
                   {"top_p", o->top_p, 1},
                   {"repetition_penalty", o->repetition_penalty, 1e6}};
    for (size_t i = 0; i < UM_COUNT(counts); i++)
        if (counts[i].value < 0)
            return um_fail(err, UM_E_USAGE, "%s is %lld, expected a number from 0 on",
                           counts[i].name, (long long)counts[i].value);
    for (size_t i = 0; i < UM_COUNT(numbers); i++)
        if (!(numbers[i].value >= 0 && numbers[i].value <= numbers[i].most))
            return um_fail(err, UM_E_USAGE, "%s is %g, expected a number from 0 to %g",
                           numbers[i].name, numbers[i].value, numbers[i].most);
    return UM_OK;
}

/* A prompt as the model sees it; `system` NULL: without such a message of its own. */
static enum um_status render_prompt(struct um_prose *prose, const struct um_chat *chat,
                                    const char *system, const char *text, struct um_error *err)
{
    const struct um_chat_message messages[] = {
        {UM_CHAT_SYSTEM, system, system ? strlen(system) : 0}, {UM_CHAT_USER, text, strlen(text)}};
    um_prose_clear(prose);
    prose->takes_special = true;
    enum um_status status = UM_OK;
    if (chat)
        status = um_prose_write_chat(prose, chat, system ? messages : messages + 1,
                                     system ? 2 : 1, false, true, err);
    else
        um_prose_add(prose, text, strlen(text), false);
    if (status != UM_OK)
        um_error_prefix(err, "the prompt");
    else if (prose->text.failed)
        status = um_fail_memory(err, "a prompt", strlen(text));
    return status;
}

static enum um_status encode_prompts(struct um_prompts *prompts, const struct um_predictor *p,
                                     int64_t n, const char *const *texts,
                                     const struct um_chat *chat, const char *system,
                                     struct um_error *err)
{
    struct um_marked marked = {0};
    struct um_prose prose = {0};
    const struct um_model *model = &p->tm.model;
    enum um_status status = UM_OK;
    for (int64_t i = 0; i < n; i++) {
        UM_TRY(render_prompt(&prose, chat, system, texts[i], err));
        UM_TRY(um_prose_encode(&marked, &prose, p->tm.tokenizer, um_model_end(model), err));
        UM_TRY(um_check_ids(p->tm.tokenizer, marked.ids, marked.n, model->dims.V, err));
        UM_TRY(um_prompts_add(prompts, marked.ids, marked.n, err));
    }
    UM_TRY(um_prompts_end(prompts, err));
out:
    um_prose_free(&prose);
    um_marked_free(&marked);
    return status;
}

enum um_status um_predictor_generate(struct um_generation *out, struct um_predictor *p, int64_t n,
                                     const char *const *texts,
                                     const struct um_generate_options *options, um_text_fn *visit,
                                     void *user, struct um_error *err)
{
    struct um_prompts prompts = {0};
    struct um_chat *chat = NULL;
    enum um_status status;
    if (n)
        memset(out, 0, (size_t)n * sizeof(*out));
    UM_RETURN_IF(um_predictor_check_words(p, err));
    UM_TRY(check_options(options, err));
    UM_TRY(open_chat(&chat, p, options, err));
    if (options->system && !chat)
        UM_TRY(um_fail(err, UM_E_USAGE, "a system message is written by a chat template, and the "
                                        "prompt is taken as it is"));
    const char *end_text = chat ? um_task_model_add_end(&p->tm, chat) : NULL;
    UM_TRY(encode_prompts(&prompts, p, n, texts, chat, options->system, err));
    const struct um_generate_job job = {.engine = &p->tm.engine,
                                        .tokenizer = p->tm.tokenizer,
                                        .prompts = prompts.items,
                                        .n = n,
                                        .options = options,
                                        .end_text = end_text,
                                        .visit = visit,
                                        .user = user};
    if (n)
        UM_TRY(um_generate(out, &job, err));
out:
    um_chat_free(chat);
    um_prompts_free(&prompts);
    return status;
}

/* ---- from file to file */

static json_t *line_of(const char *prompt, const struct um_generation *g)
{
    json_t *ids = json_array();
    for (int64_t i = 0; i < g->n_ids; i++)
        (void)json_array_append_new(ids, json_integer(g->ids[i]));
    return json_pack("{s:s, s:s%, s:o, s:I, s:f, s:f}", "prompt", prompt, "text", g->text,
                     g->n_text, "ids", ids, "prompt_tokens", (json_int_t)g->n_prompt,
                     "prompt_seconds", g->prompt_seconds, "seconds", g->seconds);
}

static enum um_status write_lines(const char *path, const char *const *texts,
                                  const struct um_generation *generations, int64_t n,
                                  struct um_error *err)
{
    struct um_str lines = {0};
    for (int64_t i = 0; i < n; i++)
        um_json_add_line(&lines, line_of(texts[i], &generations[i]));
    enum um_status status = um_file_write_str(path, &lines, err);
    um_str_free(&lines);
    return status;
}

enum um_status um_predictor_generate_file(struct um_predictor *p, const char *prompts,
                                          const char *out,
                                          const struct um_generate_options *options,
                                          um_text_fn *visit, void *user, struct um_error *err)
{
    struct um_table table = {0};
    struct um_table_options format = {.has_header = true};
    struct um_generation *generations = NULL;
    const char **texts = NULL;
    size_t column;
    enum um_status status;
    UM_TRY(um_table_format_of(&format.format, "", prompts, err));
    UM_TRY(um_table_open(&table, prompts, &format, err));
    UM_TRY(um_table_column(&column, &table, "prompt", err));
    texts = UM_NEW(table.n_rows, const char *);
    generations = UM_NEW(table.n_rows, struct um_generation);
    if (!texts || !generations)
        UM_TRY(um_fail_memory(err, prompts, (size_t)table.n_rows * sizeof(*generations)));
    for (int64_t i = 0; i < table.n_rows; i++) {
        struct um_cell cell;
        UM_TRY(um_table_text(&cell, &table, i, column, err));
        texts[i] = cell.text;
    }
    UM_TRY(um_predictor_generate(generations, p, table.n_rows, texts, options, visit, user, err));
    UM_TRY(write_lines(out, texts, generations, table.n_rows, err));
out:
    for (int64_t i = 0; generations && i < table.n_rows; i++)
        um_generation_free(&generations[i]);
    um_free(generations);
    um_free(texts);
    um_table_close(&table);
    return status;
}
