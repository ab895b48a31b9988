/* Scope and budget of a tuning: worked out once, when it is opened. */
#ifndef UM_METHOD_SCOPE_H
#define UM_METHOD_SCOPE_H

#include "method/method.h"

struct um_scope {
    struct um_param **params; /* in scope, by parameter order */
    bool *is_whole;
    size_t n;
    int64_t n_elements, n_whole, n_base, n_attached;
};

/* Marks wants_grad of all params. Free with um_scope_free, also after a failure. */
enum um_status um_scope_work_out(struct um_scope *scope, struct um_param *params,
                                 int64_t n_params, const struct um_tuning_options *options,
                                 struct um_error *err);
void um_scope_free(struct um_scope *scope);

enum um_status um_budget_work_out(int64_t *budget, const struct um_scope *scope,
                               const struct um_tuning_options *options, struct um_error *err);

#endif
