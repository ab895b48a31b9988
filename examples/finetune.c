/*
 * Fine-tunes a model on a table with the columns `text` and `label`, then predicts with the result:
 * all that a program needs of libunmask.
 *
 *   cc finetune.c $(pkg-config --cflags --libs unmask) -o finetune
 *   ./finetune MODEL TRAIN.tsv EVAL.tsv RUN "a text to classify"
 */
#include <stdio.h>
#include <stdlib.h>

#include <unmask.h>

static bool on_progress(const struct um_progress *p, void *user)
{
    (void)user;
    if (p->split)
        printf("step %lld: %s %s %.4f\n", (long long)p->step, p->split, p->metric, p->metric_value);
    return true; /* false would save a checkpoint and stop */
}

/* Sets what the run is to do; what is not set stays at its default. */
static enum um_status describe(struct um_recipe *recipe, char **argv, struct um_error *err)
{
    const char *const settings[][2] = {
        {"model", argv[1]},       {"task", "classification"}, {"data.train", argv[2]},
        {"data.eval", argv[3]},   {"data.text", "text"},      {"data.label", "label"},
        {"out", argv[4]},         {"method.name", "id3"},     {"method.budget", "1%"},
        {"train.epochs", "3"},
    };
    enum um_status status = UM_OK;
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]) && status == UM_OK; i++)
        status = um_recipe_set(recipe, settings[i][0], settings[i][1], err);
    return status;
}

static enum um_status train(const struct um_recipe *recipe, struct um_error *err)
{
    struct um_callbacks callbacks = {.progress = on_progress};
    struct um_summary summary;
    struct um_run *run;
    enum um_status status = um_run_open(&run, recipe, &callbacks, err);
    if (status != UM_OK)
        return status;
    status = um_run_train(&summary, run, err);
    if (status == UM_OK)
        printf("changed %lld of at most %lld parameters; base intact: %s\n",
               (long long)summary.n_changed, (long long)summary.budget,
               summary.is_base_intact ? "yes" : "no");
    um_run_free(run);
    return status;
}

static enum um_status predict(const char *model, const char *run, const char *text,
                              struct um_error *err)
{
    struct um_predictor *predictor;
    enum um_status status = um_predictor_open(&predictor, model, run, err);
    if (status != UM_OK)
        return status;
    int64_t n = um_predictor_outputs(predictor), best = 0;
    float *logits = calloc((size_t)n, sizeof(*logits));
    if (!logits)
        status = UM_E_RUNTIME;
    else
        status = um_predictor_run(logits, predictor, 1, &text, NULL, err);
    for (int64_t k = 1; k < n && status == UM_OK; k++)
        best = logits[k] > logits[best] ? k : best;
    if (status == UM_OK)
        printf("'%s' is of class %s\n", text, um_predictor_label(predictor, best));
    free(logits);
    um_predictor_free(predictor);
    return status;
}

int main(int argc, char **argv)
{
    struct um_error err = {.message = "out of memory"};
    struct um_recipe *recipe = NULL;
    if (argc != 6) {
        (void)fprintf(stderr, "usage: %s MODEL TRAIN.tsv EVAL.tsv RUN TEXT\n", argv[0]);
        return 2;
    }
    enum um_status status = um_recipe_new(&recipe, &err);
    if (status == UM_OK)
        status = describe(recipe, argv, &err);
    if (status == UM_OK)
        status = train(recipe, &err);
    if (status == UM_OK)
        status = predict(argv[1], argv[4], argv[5], &err);
    if (status != UM_OK)
        (void)fprintf(stderr, "%s: %s\n", argv[0], err.message);
    um_recipe_free(recipe);
    return um_status_exit_code(status);
}
