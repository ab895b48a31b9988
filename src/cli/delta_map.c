/*
 * unmask delta map: where the parameters are. A grid of layers, modules or times of a run: the
 * share of each group's parameters that a delta holds, as text and as an SVG picture.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum axis { AXIS_LAYER, AXIS_MODULE, AXIS_STEP, N_AXES };
static const char *const axis_names[N_AXES] = {"layer", "module", "step"};

enum { LABELS_MAX = 512, LABEL_BYTES = 64, PERIODS = 10, NAME_BYTES = 256 };

struct labels {
    char names[LABELS_MAX][LABEL_BYTES];
    int n;
};

struct tensor {
    char name[NAME_BYTES];
    int64_t n_elements, n_values; /* in all; held by the delta */
};

struct map {
    enum axis axes[2];        /* of rows and columns */
    struct labels labels[2];
    double *held, *all;       /* [rows, columns], LABELS_MAX apart */
    struct tensor *tensors;
    size_t n_tensors, capacity;
    int64_t n_steps;          /* of the run: where an axis is time */
    int64_t n_elsewhere;      /* values of tensors that the base does not have */
    bool failed;
};

/* ---- names: "model.layers.3.mlp.up_proj.weight" is of layer 3 and module mlp.up_proj */

static bool is_number(const char *text, size_t n)
{
    return n > 0 && strspn(text, "0123456789") >= n;
}

/* The layer's number within the name, and what stands behind it; the whole name if there is
 * none. */
static const char *behind_layer(const char *name, const char **layer, size_t *n_layer)
{
    *n_layer = 0;
    *layer = name;
    for (const char *part = name; part;) {
        size_t n = strcspn(part, ".");
        if (is_number(part, n) && part[n] == '.') {
            *layer = part;
            *n_layer = n;
            return part + n + 1;
        }
        part = part[n] ? part + n + 1 : NULL;
    }
    return name;
}

static void label_of(char out[LABEL_BYTES], enum axis axis, const char *name, int64_t step,
                     int64_t n_steps)
{
    const char *layer;
    size_t n_layer;
    const char *module = behind_layer(name, &layer, &n_layer);
    const char *end = strrchr(module, '.');
    if (axis == AXIS_STEP)
        (void)snprintf(out, LABEL_BYTES, "%3lld %%",
                       (long long)(((step - 1) * PERIODS / n_steps + 1) * 100 / PERIODS));
    else if (axis == AXIS_LAYER)
        (void)snprintf(out, LABEL_BYTES, "%.*s", n_layer ? (int)n_layer : 1,
                       n_layer ? layer : "-");
    else
        (void)snprintf(out, LABEL_BYTES, "%.*s", (int)(end ? end - module : (long)strlen(module)),
                       module);
}

/* The place of a label, added if it is new; -1 when there are too many. */
static int place_of(struct labels *labels, const char *name)
{
    int i = 0;
    while (i < labels->n && strcmp(labels->names[i], name) != 0)
        i++;
    if (i == labels->n && i < LABELS_MAX)
        (void)snprintf(labels->names[labels->n++], LABEL_BYTES, "%s", name);
    return i < LABELS_MAX ? i : -1;
}

static double *cell(double *grid, int row, int column)
{
    return &grid[(size_t)row * LABELS_MAX + (size_t)column];
}

/* ---- filling the grid */

static void take_tensor(const struct um_tensor_info *info, void *user)
{
    struct map *map = user;
    if (!info->is_used)
        return;
    if (map->n_tensors == map->capacity) {
        size_t capacity = map->capacity ? 2 * map->capacity : 256;
        struct tensor *more = realloc(map->tensors, capacity * sizeof(*more));
        if (!more) {
            map->failed = true;
            return;
        }
        map->tensors = more;
        map->capacity = capacity;
    }
    struct tensor *t = &map->tensors[map->n_tensors++];
    *t = (struct tensor){.n_elements = info->n_elements};
    (void)snprintf(t->name, sizeof(t->name), "%s", info->name);
}

static struct tensor *find_tensor(struct map *map, const char *name)
{
    for (size_t i = 0; i < map->n_tensors; i++)
        if (strcmp(map->tensors[i].name, name) == 0)
            return &map->tensors[i];
    return NULL;
}

/* Adds values of a tensor to its cell, at a step of the run (0: no time on the map). */
static void put(struct map *map, const struct tensor *t, int64_t step, int64_t n_held)
{
    int place[2];
    for (int a = 0; a < 2; a++) {
        char label[LABEL_BYTES];
        label_of(label, map->axes[a], t->name, step, map->n_steps);
        place[a] = place_of(&map->labels[a], label);
    }
    if (place[0] < 0 || place[1] < 0)
        map->failed = true;
    else
        *cell(map->held, place[0], place[1]) += (double)n_held;
}

static void take_history(int64_t step, const char *name, int64_t n, void *user)
{
    struct map *map = user;
    const struct tensor *t = name ? find_tensor(map, name) : NULL;
    if (t && step > 0 && step <= map->n_steps)
        put(map, t, step, n);
}

static void find_last(int64_t step, const char *name, int64_t n, void *user)
{
    struct map *map = user;
    (void)name;
    (void)n;
    map->n_steps = step > map->n_steps ? step : map->n_steps;
}

/* How many parameters the base has in each cell: at any time, if one axis is time. */
static void count_all(struct map *map)
{
    for (size_t i = 0; i < map->n_tensors; i++) {
        const struct tensor *t = &map->tensors[i];
        char label[2][LABEL_BYTES];
        for (int a = 0; a < 2; a++)
            label_of(label[a], map->axes[a], t->name, 1, 1);
        for (int r = 0; r < map->labels[0].n; r++)
            for (int c = 0; c < map->labels[1].n; c++)
                if ((map->axes[0] == AXIS_STEP || !strcmp(map->labels[0].names[r], label[0])) &&
                    (map->axes[1] == AXIS_STEP || !strcmp(map->labels[1].names[c], label[1])))
                    *cell(map->all, r, c) += (double)t->n_elements;
    }
}

static enum um_status fill_from_run(struct map *map, const char *run, struct um_error *err)
{
    enum um_status status = um_run_history(run, find_last, map, err);
    for (int p = 0; status == UM_OK && p < PERIODS; p++) { /* also those in which nothing came */
        char label[LABEL_BYTES];
        label_of(label, AXIS_STEP, "", p + 1, PERIODS);
        for (int a = 0; a < 2; a++)
            if (map->axes[a] == AXIS_STEP)
                (void)place_of(&map->labels[a], label);
    }
    return status == UM_OK ? um_run_history(run, take_history, map, err) : status;
}

static enum um_status fill(struct map *map, const struct cli_args *args,
                           const struct cli_target *target, struct um_error *err)
{
    struct um_model_info info;
    struct um_delta_tensor held;
    struct um_delta *delta = NULL;
    bool has_time = map->axes[0] == AXIS_STEP || map->axes[1] == AXIS_STEP;
    enum um_status status = um_inspect(&info, target->model, take_tensor, map, err);
    if (status == UM_OK && has_time)
        status = target->n_used ? fill_from_run(map, args->positionals[0], err)
                                : cli_fail(err, UM_E_USAGE, "--by step needs a run folder");
    if (status == UM_OK && !has_time)
        status = um_delta_open(&delta, target->delta, err);
    for (int64_t i = 0; delta && um_delta_get_tensor(&held, delta, i); i++) {
        struct tensor *t = find_tensor(map, held.name);
        if (t)
            t->n_values = held.n_values;
        else
            map->n_elsewhere += held.n_values;
    }
    for (size_t i = 0; delta && i < map->n_tensors; i++)
        put(map, &map->tensors[i], 0, map->tensors[i].n_values);
    um_delta_free(delta);
    count_all(map);
    if (status == UM_OK && map->failed)
        status = cli_fail(err, UM_E_RUNTIME, "out of memory, or more than %d groups", LABELS_MAX);
    return status;
}

static double share(const struct map *map, int row, int column)
{
    double all = *cell(map->all, row, column);
    return all > 0 ? *cell(map->held, row, column) / all : 0;
}

static double greatest_share(const struct map *map)
{
    double most = 0;
    for (int r = 0; r < map->labels[0].n; r++)
        for (int c = 0; c < map->labels[1].n; c++)
            most = fmax(most, share(map, r, c));
    return most > 0 ? most : 1;
}

/* ---- text: columns are numbered, their names stand below */

static void print_text(const struct map *map)
{
    static const char shades[] = " .:-=+*#%@";
    double most = greatest_share(map);
    printf("%10s", axis_names[map->axes[0]]);
    for (int c = 0; c < map->labels[1].n; c++)
        printf(" %7d ", c + 1);
    printf("\n");
    for (int r = 0; r < map->labels[0].n; r++) {
        printf("%10s", map->labels[0].names[r]);
        for (int c = 0; c < map->labels[1].n; c++) {
            double s = share(map, r, c);
            int shade = (int)ceil(fmax(s, 0) / most * (double)(sizeof(shades) - 2));
            if (*cell(map->all, r, c) > 0)
                printf(" %6.3f%%%c", 100 * s, shades[shade]);
            else
                printf(" %8s", "");
        }
        printf("\n");
    }
    printf("\n%% of a group's parameters; columns are of each %s:\n", axis_names[map->axes[1]]);
    for (int c = 0; c < map->labels[1].n; c++)
        printf("%4d  %s\n", c + 1, map->labels[1].names[c]);
    if (map->n_elsewhere)
        printf(
            "\nNot on the map: %lld values of what the base does not have (a task head, low-rank "
            "changes, adapters)\n",
            (long long)map->n_elsewhere);
}

/* ---- SVG: a square for each group, the darker the greater its share */

enum { SIDE = 28, LEFT = 90, TOP = 170, MARGIN = 20 };

static void put_square(FILE *to, const struct map *map, int r, int c, double most)
{
    double s = share(map, r, c), rest = 1 - fmax(s, 0) / most;
    if (*cell(map->all, r, c) <= 0)
        return;
    (void)fprintf(to,
                  "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"rgb(%d,%d,%d)\">"
                  "<title>%s, %s: %.0f of %.0f, %.4f %%</title></rect>\n",
                  LEFT + c * SIDE, TOP + r * SIDE, SIDE - 1, SIDE - 1, (int)(20 + 225 * rest),
                  (int)(60 + 187 * rest), (int)(120 + 131 * rest), map->labels[0].names[r],
                  map->labels[1].names[c], *cell(map->held, r, c), *cell(map->all, r, c),
                  100 * s);
}

static void put_svg(FILE *to, const struct map *map)
{
    int rows = map->labels[0].n, columns = map->labels[1].n;
    double most = greatest_share(map);
    (void)fprintf(to,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                  "font-family=\"sans-serif\" font-size=\"12\">\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
                  "<text x=\"%d\" y=\"20\">Share of the parameters, by %s and %s; the darkest: "
                  "%.4f %%</text>\n",
                  LEFT + columns * SIDE + TOP, TOP + rows * SIDE + MARGIN, MARGIN,
                  axis_names[map->axes[0]], axis_names[map->axes[1]], 100 * most);
    for (int c = 0; c < columns; c++) {
        int x = LEFT + c * SIDE + SIDE / 2 + 4;
        (void)fprintf(to, "<text transform=\"translate(%d,%d) rotate(-60)\">%s</text>\n", x,
                      TOP - 6, map->labels[1].names[c]);
    }
    for (int r = 0; r < rows; r++) {
        (void)fprintf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", LEFT - 8,
                      TOP + r * SIDE + SIDE / 2 + 4, map->labels[0].names[r]);
        for (int c = 0; c < columns; c++)
            put_square(to, map, r, c, most);
    }
    (void)fprintf(to, "</svg>\n");
}

static enum um_status write_svg(const char *path, const struct map *map, struct um_error *err)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return cli_fail(err, UM_E_RUNTIME, "cannot write '%s'", path);
    put_svg(file, map);
    bool is_failed = ferror(file) != 0;
    is_failed = fclose(file) != 0 || is_failed;
    return is_failed ? cli_fail(err, UM_E_RUNTIME, "cannot write '%s'", path) : UM_OK;
}

/* ---- the command */

/* "layer,module": rows and columns. */
static enum um_status read_axes(enum axis axes[2], const char *text, struct um_error *err)
{
    const char *comma = strchr(text, ',');
    const char *parts[2] = {text, comma ? comma + 1 : ""};
    size_t lengths[2] = {comma ? (size_t)(comma - text) : strlen(text), strlen(parts[1])};
    int n_found = 0;
    for (int a = 0; a < 2; a++)
        for (int k = 0; k < N_AXES; k++)
            if (strlen(axis_names[k]) == lengths[a] &&
                strncmp(axis_names[k], parts[a], lengths[a]) == 0) {
                axes[a] = (enum axis)k;
                n_found++;
            }
    return n_found == 2 && axes[0] != axes[1]
               ? UM_OK
               : cli_fail(err, UM_E_USAGE, "--by: '%s' is not two of layer, module, step", text);
}

static enum um_status run_map(const struct cli_args *args, struct um_error *err)
{
    struct cli_target target;
    struct map *map = calloc(1, sizeof(*map));
    const char *by = cli_value(args, "--by"), *svg = cli_value(args, "--svg");
    enum um_status status = cli_target_open_delta(&target, args, err);
    if (status == UM_OK && map) {
        map->n_steps = 1;
        map->held = calloc((size_t)LABELS_MAX * LABELS_MAX, sizeof(double));
        map->all = calloc((size_t)LABELS_MAX * LABELS_MAX, sizeof(double));
    }
    if (status == UM_OK && (!map || !map->held || !map->all))
        status = cli_fail(err, UM_E_RUNTIME, "out of memory");
    if (status == UM_OK)
        status = read_axes(map->axes, by ? by : "layer,module", err);
    if (status == UM_OK)
        status = fill(map, args, &target, err);
    if (status == UM_OK)
        print_text(map);
    if (status == UM_OK && svg)
        status = write_svg(svg, map, err);
    if (map) {
        free(map->held);
        free(map->all);
        free(map->tensors);
    }
    free(map);
    cli_target_close(&target);
    return status;
}

static const char *const usage[] = {"RUN [--by ROWS,COLUMNS] [--svg FILE]",
                                    "--model DIR --delta FILE [--by ROWS,COLUMNS]", NULL};

static const char *const examples[] = {
    "unmask delta map RUN --svg map.svg",
    "unmask delta map RUN --by step,module",
    NULL,
};

static const struct cli_option options[] = {
    {"--delta", "FILE", "delta to draw: a file or a run folder", false},
    {"--by", "AXES", "two of layer, module, step (default: layer,module)", false},
    {"--svg", "FILE", "write a picture, too", false},
};

static const char *const keys[] = {"model", NULL};

const struct cli_command cli_delta_map = {
    .name = "delta map",
    .summary = "show where a delta's parameters are",
    .usage = usage,
    .description =
        "Prints, for each layer and each kind of module, the share of its parameters that "
        "a delta holds; as an SVG picture, too, with --svg. With `step` as one axis: "
        "what share came in each tenth of the run (below 0: more was dropped than came).",
    .examples = examples,
    .options = options,
    .n_options = CLI_COUNT(options),
    .recipe_keys = keys,
    .n_positionals_max = 1,
    .run = run_map,
};
