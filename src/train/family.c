/*
 * The families by name, for help, validation and "one of ..." messages. Each family's list stands
 * in its own layer; a new family is two lines here.
 */
#include <string.h>

#include "data/task.h"
#include "method/method.h"
#include "metric/metric.h"
#include "model/addition.h"
#include "optim/optimizer.h"
#include "text/chat.h"

/* Member i of a family; false past its end. */
typedef bool member_fn(struct um_member_info *member, size_t i);

/* Defines get_FAMILY for a family of `count` members, the i-th at `at_i`, with a name and a
 * summary. */
#define DEFINE_GET(family, at_i, count)                                                            \
    static bool get_##family(struct um_member_info *member, size_t i)                              \
    {                                                                                              \
        if (i >= (count))                                                                          \
            return false;                                                                          \
        *member = (struct um_member_info){(at_i)->name, (at_i)->summary};                          \
        return true;                                                                               \
    }

DEFINE_GET(method, &um_methods[i], um_n_methods)
DEFINE_GET(importance, &um_importances[i], um_n_importances)
DEFINE_GET(strategy, &um_strategies[i], um_n_strategies)
DEFINE_GET(region, &um_regions[i], um_n_regions)
DEFINE_GET(schedule, &um_schedules[i], um_n_schedules)
DEFINE_GET(optimizer, &um_optimizers[i], um_n_optimizers)
DEFINE_GET(lr_schedule, &um_lr_schedules[i], um_n_lr_schedules)
DEFINE_GET(addition, &um_additions[i], um_n_additions)
DEFINE_GET(architecture, um_archs[i], um_n_archs)
DEFINE_GET(task, &um_tasks[i], um_n_tasks)
DEFINE_GET(metric, &um_metrics[i], um_n_metrics)

/* The model's own, then the table. */
static bool get_template(struct um_member_info *member, size_t i)
{
    if (i > um_n_chat_templates)
        return false;
    *member = i == 0 ? (struct um_member_info){"model", "the model's own, read from its files"}
                     : (struct um_member_info){um_chat_templates[i - 1]->name,
                                               um_chat_templates[i - 1]->summary};
    return true;
}

static const struct {
    const char *name;
    member_fn *get;
} families[] = {
    {"method", get_method},
    {"importance", get_importance},
    {"strategy", get_strategy},
    {"schedule", get_schedule},
    {"region", get_region},
    {"optimizer", get_optimizer},
    {"lr_schedule", get_lr_schedule},
    {"addition", get_addition},
    {"architecture", get_architecture},
    {"task", get_task},
    {"metric", get_metric},
    {"template", get_template},
};

bool um_method_get_info(struct um_method_info *info, size_t index)
{
    if (index >= um_n_methods)
        return false;
    const struct um_method *method = &um_methods[index];
    *info = (struct um_method_info){.name = method->name,
                                    .summary = method->summary,
                                    .strategy = method->strategy,
                                    .importance = method->importance,
                                    .region = method->region ? method->region : "all",
                                    .addition = method->addition,
                                    .rate = method->rate,
                                    .samples = method->samples};
    return true;
}

size_t um_family_members(struct um_member_info *out, size_t capacity, const char *family)
{
    size_t n = 0;
    for (size_t f = 0; f < UM_COUNT(families); f++)
        if (strcmp(families[f].name, family) == 0)
            while (n < capacity && families[f].get(&out[n], n))
                n++;
    return n;
}
