/*
 * A delta laid over a model in memory, with what it attaches to the base; and low-rank changes
 * folded into the base's maps, for formats that have no room for them.
 */
#ifndef UM_DELTA_ATTACHED_H
#define UM_DELTA_ATTACHED_H

#include "delta/delta.h"
#include "model/addition.h"

/* How a converter changes a parameter's values on their way from a folder to a GGUF file. Of what
 * is attached to a map: UM_GGUF_PAIRED, if its rows are those of a map that is changed so. */
enum um_gguf_change um_delta_gguf_change(const struct um_model *model,
                                         const struct um_param *param);

/* Attaches what the delta says, and lays its values over the model's parameters (borrows them from
 * the delta where they are sparse over a base that is not fp32). `where` names the delta.
 * UM_E_INPUT if something does not fit. */
enum um_status um_delta_lay_over(struct um_model *model, const struct um_delta *delta,
                                 const char *where, struct um_error *err);

/* A delta must hold every attached parameter: there is no other place for its values. */
enum um_status um_delta_check_attached(const struct um_delta *delta, const struct um_model *model,
                                       const char *where, struct um_error *err);

/* Opens the base at `path` with the delta over it and takes what is attached out of the delta's
 * list: what stays there is the base's own, or a head. UM_E_USAGE if adapters are attached, which
 * cannot be folded. Does nothing (model->n_params is 0) if nothing is attached. Close with
 * um_model_close. */
enum um_status um_delta_open_folded(struct um_model *model, struct um_delta *delta,
                                    const char *path, struct um_error *err);

/* What PEFT puts before a parameter's name in its files. */
#define UM_PEFT_PREFIX "base_model.model."

#endif
