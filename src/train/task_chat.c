/* Which chat template a task's rows are written by. */
#include <string.h>

#include "train/task_model.h"

enum um_status um_task_model_find_chat(struct um_chat **chat, const struct um_task_model *tm,
                                       const char *name, struct um_error *err)
{
    const struct um_model *model = &tm->model;
    const json_t *bos = json_object_get(model->folder.config, "bos_token_id");
    json_int_t id = json_is_integer(bos) ? json_integer_value(bos) : -1;
    const char *begin = id >= 0 && id <= INT32_MAX ? um_tokenizer_token(tm->tokenizer, (int32_t)id)
                                                   : NULL;
    const char *end = um_tokenizer_token(tm->tokenizer, um_model_end(model));
    return um_chat_open(chat, &model->folder, name, begin, end, err);
}

static enum um_status fail_none(const char *model, struct um_error *err)
{
    struct um_str names = {0};
    for (size_t i = 0; i < um_n_chat_templates; i++)
        um_str_add_item(&names, um_chat_templates[i]->name);
    um_fail(err, UM_E_USAGE, "'%s' has no chat template; name one by data.template (--template)",
            model);
    um_error_hint(err, "a new one may be any, as chatml: %s", names.text ? names.text : "");
    um_str_free(&names);
    return UM_E_USAGE;
}

enum um_status um_task_model_open_chat(struct um_task_model *tm, const struct um_task *task,
                                       const char *name, struct um_error *err)
{
    bool is_chat = task->style == UM_STYLE_CHAT;
    um_chat_free(tm->chat);
    tm->chat = NULL;
    tm->end_text = NULL;
    if (*name && (!um_style_is_prose(task->style) || task->style == UM_STYLE_PLAIN))
        return um_fail(err, UM_E_USAGE, "data.template: task '%s' has no messages to write by one",
                       task->name);
    /* Records have Alpaca's prompt, with its place for an input, as they are. */
    if (!is_chat && (!*name || (task->style == UM_STYLE_RECORD && strcmp(name, "alpaca") == 0)))
        return UM_OK;
    UM_RETURN_IF(um_task_model_find_chat(&tm->chat, tm, *name ? name : "model", err));
    if (!tm->chat)
        return fail_none(tm->model.folder.path, err);
    tm->end_text = um_task_model_add_end(tm, tm->chat);
    return UM_OK;
}

const char *um_task_model_add_end(struct um_task_model *tm, const struct um_chat *chat)
{
    struct um_model *model = &tm->model;
    const char *close = um_chat_end(chat);
    int32_t id = um_tokenizer_find(tm->tokenizer, close);
    for (int i = 0; i < model->n_ends; i++)
        if (model->end_ids[i] == id)
            return NULL;
    if (id < 0 || model->n_ends == UM_ENDS_MAX)
        return close;
    model->end_ids[model->n_ends++] = id;
    return NULL;
}
