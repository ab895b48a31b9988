/* What is in a model folder, and which of it the architecture uses. */
#include <stdio.h>
#include <string.h>

#include "model/model.h"

static bool is_used(const struct um_model *model, const struct um_tensor_view *tensor)
{
    for (int64_t p = 0; p < model->n_params; p++)
        if (model->params[p].stored == tensor->bytes)
            return true;
    return false;
}

enum um_status um_inspect(struct um_model_info *info, const char *path, um_tensor_fn *visit,
                          void *user, struct um_error *err)
{
    struct um_model model;
    const struct um_model_options options = {.dropout = -1};
    UM_RETURN_IF(um_model_open(&model, path, &options, err));
    *info = (struct um_model_info){.n_parameters = um_model_n_elements(&model, false),
                                   .n_layers = model.dims.L,
                                   .n_features = model.dims.D,
                                   .n_vocabulary = model.dims.V,
                                   .max_length = model.dims.P,
                                   .file_bytes = um_folder_bytes(&model.folder)};
    (void)snprintf(info->architecture, sizeof(info->architecture), "%s", model.arch->name);
    const struct um_tensor_view *view;
    for (size_t t = 0; visit && (view = um_folder_tensor(&model.folder, t)); t++) {
        struct um_tensor_info tensor = {.name = view->name,
                                        .dtype = um_dtype_name(view->dtype),
                                        .n_dims = view->n_dims,
                                        .n_elements = view->n_elements,
                                        .is_used = is_used(&model, view)};
        memcpy(tensor.dims, view->dims, sizeof(tensor.dims));
        visit(&tensor, user);
    }
    um_model_close(&model);
    return UM_OK;
}
