/* A row that is trained on, token by token, with what of it is learnt. */
#include "cli.h"

struct table {
    int64_t position;
};

static void print_token(const struct um_example_token *token, void *user)
{
    struct table *table = user;
    char mark = token->is_learnt ? '+' : token->is_start ? '|' : ' ';
    printf("%8lld %8d  %c  ", (long long)table->position++, (int)token->id, mark);
    cli_json_literal(token->text, token->n_text);
    (void)putchar('\n');
}

static enum um_status print_table(struct um_run *run, int64_t row, struct um_error *err)
{
    struct um_example e;
    struct table table = {0};
    char rows[32], number[32];
    enum um_status status = um_run_example(&e, run, row, NULL, NULL, err);
    if (status != UM_OK)
        return status;
    printf("row          %s of %s that are trained on\n", cli_format_count(number, e.row + 1),
           cli_format_count(rows, e.n_rows));
    printf("tokens       %lld, of which %lld are learnt\n", (long long)e.n_tokens,
           (long long)e.n_learnt);
    printf("sequences    %lld\n", (long long)e.n_sequences);
    printf("in all       %lld texts cut to fit, %lld left out\n", (long long)e.n_truncated,
           (long long)e.n_left_out);
    printf("\n%8s %8s  %s\n", "position", "id", "learnt, text");
    return um_run_example(&e, run, row, print_token, &table, err);
}

static void print_json_token(const struct um_example_token *token, void *user)
{
    (void)user;
    cli_json_open(NULL, '{');
    cli_json_integer("id", token->id);
    cli_json_text("token", token->token);
    cli_json_text_n("text", token->text, token->n_text);
    cli_json_bool("learnt", token->is_learnt);
    cli_json_bool("start", token->is_start);
    cli_json_integer("segment", token->segment);
    cli_json_close('}');
}

static enum um_status print_json(struct um_run *run, int64_t row, struct um_error *err)
{
    struct um_example e;
    enum um_status status = um_run_example(&e, run, row, NULL, NULL, err);
    if (status != UM_OK)
        return status;
    cli_json_open(NULL, '{');
    cli_json_integer("row", e.row + 1);
    cli_json_integer("n_rows", e.n_rows);
    cli_json_integer("n_tokens", e.n_tokens);
    cli_json_integer("n_learnt", e.n_learnt);
    cli_json_integer("n_sequences", e.n_sequences);
    cli_json_integer("n_truncated", e.n_truncated);
    cli_json_integer("n_left_out", e.n_left_out);
    cli_json_open("tokens", '[');
    status = um_run_example(&e, run, row, print_json_token, NULL, err);
    cli_json_close(']');
    cli_json_close('}');
    return status;
}

enum um_status cli_print_example(struct um_run *run, int64_t row, bool is_json,
                                 struct um_error *err)
{
    return (is_json ? print_json : print_table)(run, row, err);
}
