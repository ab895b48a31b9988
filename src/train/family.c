/*
 * The families by name, for help, validation and "one of ..." messages. Each family's list stands
 * in its own layer; a new family is one accessor and one row here.
 */
#include <string.h>

#include "optim/optimizer.h"

/* Member i of a family; false past its end. */
typedef bool member_fn(struct um_member_info *member, size_t i);

static bool get_optimizer(struct um_member_info *member, size_t i)
{
    if (i >= um_n_optimizers)
        return false;
    *member = (struct um_member_info){um_optimizers[i]->name, um_optimizers[i]->summary};
    return true;
}

static bool get_lr_schedule(struct um_member_info *member, size_t i)
{
    if (i >= um_n_lr_schedules)
        return false;
    *member = (struct um_member_info){um_lr_schedules[i]->name, um_lr_schedules[i]->summary};
    return true;
}

static const struct {
    const char *name;
    member_fn *get;
} families[] = {
    {"optimizer", get_optimizer},
    {"lr_schedule", get_lr_schedule},
};

size_t um_family_members(struct um_member_info *out, size_t capacity, const char *family)
{
    size_t n = 0;
    for (size_t f = 0; f < UM_COUNT(families); f++)
        if (strcmp(families[f].name, family) == 0)
            while (n < capacity && families[f].get(&out[n], n))
                n++;
    return n;
}
