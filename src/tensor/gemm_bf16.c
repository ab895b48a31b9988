/*
 * Products of bfloat16 matrices, by oneDNN's matmul. Its AMX kernels take dense matrices only, so
 * operands are kept in panels of columns, and the product is made tile by tile: each the sum of
 * products of dense pieces, made aside, and then written or added where it belongs. So few shapes
 * are met too, as the library compiles (and keeps) code for each. Threads take tiles; what a tile
 * adds up, and in which order, does not depend on them. Its C interface is not the same in versions
 * 2 and 3: what stands behind DNNL_VERSION_MAJOR is the difference.
 */
#include "tensor/gemm.h"

#include <assert.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

#include "base/cpu.h"
#include "tensor/kernels.h"

/* Columns of a panel; rows and columns of a tile. Widths are whole units. */
enum { PANEL = 256, UNIT = 16 };

static dnnl_engine_t cpu; /* NULL: this processor has no such products of its own */

/* Dense pieces of a and b that add to a dense tile, or begin it; a is stored [k, m] if
 * transposed. */
struct piece {
    int64_t m, n, k;
    enum um_trans trans_a;
    bool adds;
    const uint16_t *a, *b;
    float *tile;
};

enum operand { A, B, C, N_OPERANDS };

typedef dnnl_memory_desc_t description; /* a pointer in version 3, a structure in version 2 */

#if DNNL_VERSION_MAJOR >= 3

static void forget(description *d)
{
    if (*d)
        (void)dnnl_memory_desc_destroy(*d);
}

static dnnl_status_t add_to_c(dnnl_post_ops_t ops, float scale)
{
    return dnnl_post_ops_append_sum(ops, scale, 0, dnnl_data_type_undef);
}

static dnnl_status_t prepare(dnnl_primitive_desc_t *to, const description d[N_OPERANDS],
                             dnnl_primitive_attr_t attributes)
{
    return dnnl_matmul_primitive_desc_create(to, cpu, d[A], d[B], NULL, d[C], attributes);
}

static dnnl_status_t wrap(dnnl_memory_t *to, const description *d, void *values)
{
    return dnnl_memory_create(to, *d, cpu, values);
}

#else

#define dnnl_memory_desc_create_with_strides dnnl_memory_desc_init_by_strides /* but for its name */

static void forget(description *d)
{
    (void)d;
}

static dnnl_status_t add_to_c(dnnl_post_ops_t ops, float scale)
{
    return dnnl_post_ops_append_sum(ops, scale);
}

static dnnl_status_t prepare(dnnl_primitive_desc_t *to, const description d[N_OPERANDS],
                             dnnl_primitive_attr_t attributes)
{
    dnnl_matmul_desc_t matmul;
    dnnl_status_t fault = dnnl_matmul_desc_init(&matmul, &d[A], &d[B], NULL, &d[C]);
    return fault ? fault : dnnl_primitive_desc_create(to, &matmul, attributes, cpu, NULL);
}

static dnnl_status_t wrap(dnnl_memory_t *to, const description *d, void *values)
{
    return dnnl_memory_create(to, d, cpu, values);
}

#endif

/* A product that the library has prepared: for pieces that differ in their addresses alone. */
struct call {
    struct piece shape;
    description described[N_OPERANDS];
    dnnl_memory_t memory[N_OPERANDS];
    dnnl_post_ops_t ops;
    dnnl_primitive_attr_t attributes;
    dnnl_primitive_desc_t prepared;
    dnnl_primitive_t primitive;
};

/* What a thread has prepared, until it ends. */
enum { CALLS_MAX = 32 };
struct calls {
    dnnl_stream_t stream;
    struct call of[CALLS_MAX];
    int n;
};

static bool describe(description *to, int64_t rows, int64_t cols, enum um_trans trans,
                     dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {rows, cols};
    const dnnl_dims_t strides = {trans == UM_PLAIN ? cols : 1, trans == UM_PLAIN ? 1 : rows};
    return dnnl_memory_desc_create_with_strides(to, 2, dims, type, strides) == dnnl_success;
}

static bool add_attributes(struct call *call)
{
    return dnnl_post_ops_create(&call->ops) == dnnl_success &&
           add_to_c(call->ops, 1) == dnnl_success &&
           dnnl_primitive_attr_create(&call->attributes) == dnnl_success &&
           dnnl_primitive_attr_set_post_ops(call->attributes, call->ops) == dnnl_success;
}

static bool open_call(struct call *call, const struct piece *p)
{
    call->shape = *p;
    if (!describe(&call->described[A], p->m, p->k, p->trans_a, dnnl_bf16) ||
        !describe(&call->described[B], p->k, p->n, UM_PLAIN, dnnl_bf16) ||
        !describe(&call->described[C], p->m, p->n, UM_PLAIN, dnnl_f32) ||
        (p->adds && !add_attributes(call)) ||
        prepare(&call->prepared, call->described, call->attributes) != dnnl_success ||
        dnnl_primitive_create(&call->primitive, call->prepared) != dnnl_success)
        return false;
    for (int i = 0; i < N_OPERANDS; i++)
        if (wrap(&call->memory[i], &call->described[i], DNNL_MEMORY_NONE) != dnnl_success)
            return false;
    return true;
}

static void close_call(struct call *call)
{
    for (int i = 0; i < N_OPERANDS; i++) {
        if (call->memory[i])
            (void)dnnl_memory_destroy(call->memory[i]);
        forget(&call->described[i]);
    }
    if (call->primitive)
        (void)dnnl_primitive_destroy(call->primitive);
    if (call->prepared)
        (void)dnnl_primitive_desc_destroy(call->prepared);
    if (call->attributes)
        (void)dnnl_primitive_attr_destroy(call->attributes);
    if (call->ops)
        (void)dnnl_post_ops_destroy(call->ops);
    *call = (struct call){0};
}

static void forget_calls(struct calls *calls)
{
    while (calls->n > 0)
        close_call(&calls->of[--calls->n]);
}

static void close_calls(void *user)
{
    struct calls *calls = user;
    forget_calls(calls);
    if (calls->stream)
        (void)dnnl_stream_destroy(calls->stream);
    free(calls);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t calls_key;

static void open_library(void)
{
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    bool is_native = (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
    if (is_native && (pthread_key_create(&calls_key, close_calls) != 0 ||
                      dnnl_engine_create(&cpu, dnnl_cpu, 0) != dnnl_success))
        cpu = NULL;
}

bool um_gemm_bf16_is_native(void)
{
    (void)pthread_once(&once, open_library);
    return cpu != NULL;
}

/* Of the calling thread; NULL if there is no memory for them. */
static struct calls *own_calls(void)
{
    struct calls *calls = pthread_getspecific(calls_key);
    if (calls)
        return calls;
    calls = calloc(1, sizeof(*calls));
    if (!calls)
        return NULL;
    if (dnnl_stream_create(&calls->stream, cpu, dnnl_stream_default_flags) == dnnl_success &&
        pthread_setspecific(calls_key, calls) == 0)
        return calls;
    close_calls(calls);
    return NULL;
}

static bool has_shape(const struct call *call, const struct piece *p)
{
    const struct piece *s = &call->shape;
    return s->m == p->m && s->n == p->n && s->k == p->k && s->trans_a == p->trans_a &&
           s->adds == p->adds;
}

/* NULL if the library could not prepare it (no memory, say). */
static const struct call *find_call(struct calls *calls, const struct piece *p)
{
    for (int i = 0; i < calls->n; i++)
        if (has_shape(&calls->of[i], p))
            return &calls->of[i];
    if (calls->n == CALLS_MAX)
        forget_calls(calls);
    struct call *call = &calls->of[calls->n];
    if (open_call(call, p)) {
        calls->n++;
        return call;
    }
    close_call(call);
    return NULL;
}

/* False, with the tile as it was, if the library could not. */
static bool multiply_native(const struct piece *p)
{
    struct calls *calls = um_gemm_bf16_is_native() ? own_calls() : NULL;
    const struct call *call = calls ? find_call(calls, p) : NULL;
    if (!call)
        return false;
    void *const values[] = {
        [A] = (void *)(uintptr_t)p->a, [B] = (void *)(uintptr_t)p->b, [C] = p->tile};
    for (int i = 0; i < N_OPERANDS; i++)
        if (dnnl_memory_set_data_handle(call->memory[i], values[i]) != dnnl_success)
            return false;
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, call->memory[A]},
                                         {DNNL_ARG_WEIGHTS, call->memory[B]},
                                         {DNNL_ARG_DST, call->memory[C]}};
    return dnnl_primitive_execute(call->primitive, calls->stream, UM_COUNT(arguments), arguments) ==
               dnnl_success &&
           dnnl_stream_wait(calls->stream) == dnnl_success;
}

/* ---- without such instructions: the same numbers in fp32, a block at a time */

enum { BLOCK_K = 64 };

static int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

/* Rows and columns of a matrix [., ld] as fp32, [rows, cols]. */
static void expand_block(float *to, const uint16_t *from, int64_t ld, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++)
        um_kernels()->expand[UM_BF16](to + i * cols, from + i * ld, cols);
}

static void multiply_expanded(const struct piece *p)
{
    static UM_THREAD_LOCAL float a[PANEL * BLOCK_K], b[BLOCK_K * PANEL];
    bool is_plain = p->trans_a == UM_PLAIN;
    for (int64_t at = 0; at < p->k; at += BLOCK_K) {
        int64_t k = at_most(p->k - at, BLOCK_K);
        expand_block(b, p->b + at * p->n, p->n, k, p->n);
        if (is_plain)
            expand_block(a, p->a + at, p->k, p->m, k);
        else
            expand_block(a, p->a + at * p->m, p->m, k, p->m);
        um_gemm(p->tile, p->n, a, is_plain ? k : p->m, p->trans_a, b, p->n, UM_PLAIN, p->m, p->n, k,
                p->adds || at ? 1 : 0);
    }
}

/* ---- panels: whole units both ways, filled up with zeros */

static int64_t padded(int64_t n)
{
    return (n + UNIT - 1) / UNIT * UNIT;
}

/* Columns of the panel that begins at column `first`. */
static int64_t panel_width(const struct um_bf16 *o, int64_t first)
{
    return at_most(padded(o->cols) - first, PANEL);
}

/* Where a row of it is, of elements from the first one on. */
static int64_t panel_row(const struct um_bf16 *o, int64_t first, int64_t row)
{
    return padded(o->rows) * first + row * panel_width(o, first);
}

int64_t um_bf16_floats(int64_t rows, int64_t cols)
{
    return padded(rows) * padded(cols) / 2;
}

struct um_bf16 um_round_bf16(float *to, const float *from, int64_t ld, int64_t rows, int64_t cols)
{
    const struct um_kernels *k = um_kernels();
    uint16_t *values = (uint16_t *)(void *)to;
    const struct um_bf16 o = {.values = values, .rows = rows, .cols = cols};
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < padded(rows); i++) {
        for (int64_t first = 0; first < cols; first += PANEL) {
            int64_t n = i < rows ? at_most(cols - first, PANEL) : 0;
            uint16_t *row = values + panel_row(&o, first, i);
            if (n > 0)
                k->round_bf16(row, from + i * ld + first, n);
            memset(row + n, 0, (size_t)(panel_width(&o, first) - n) * sizeof(*row));
        }
    }
    return o;
}

/* ---- tiles */

struct product {
    float *c;
    int64_t ldc, m; /* rows of c */
    struct um_bf16 a, b;
    enum um_trans trans_a;
    const float *bias;
    bool adds;
};

/* A dense part of the product from c[row, col] on, filled up to whole units. */
struct tile {
    float *values;
    int64_t row, col, rows, cols;
};

/* bias, and a b summed over a's panels or, if it is transposed, down one of them. */
static void sum_tile(const struct tile *t, const struct product *p)
{
    bool is_plain = p->trans_a == UM_PLAIN;
    int64_t k = padded(p->b.rows), step = is_plain ? PANEL : k;
    int64_t n_bias = p->bias ? at_most(p->m - t->row, t->rows) : 0;
    for (int64_t i = 0; i < n_bias; i++)
        um_kernels()->fill(t->values + i * t->cols, p->bias[t->row + i], t->cols);
    for (int64_t at = 0; at < k; at += step) {
        const struct piece piece = {.m = t->rows,
                                    .n = t->cols,
                                    .k = at_most(k - at, step),
                                    .trans_a = p->trans_a,
                                    .adds = at > 0 || p->bias,
                                    .a = p->a.values + (is_plain ? panel_row(&p->a, at, t->row)
                                                                 : panel_row(&p->a, t->row, 0)),
                                    .b = p->b.values + panel_row(&p->b, t->col, at),
                                    .tile = t->values};
        if (!multiply_native(&piece))
            multiply_expanded(&piece);
    }
}

/* Writes to c, or adds. */
static void put_tile(const struct tile *t, const struct product *p)
{
    int64_t n_rows = at_most(p->m - t->row, t->rows), n = at_most(p->b.cols - t->col, t->cols);
    for (int64_t i = 0; i < n_rows; i++) {
        float *to = p->c + (t->row + i) * p->ldc + t->col;
        if (p->adds)
            um_kernels()->add_to(to, t->values + i * t->cols, n);
        else
            memcpy(to, t->values + i * t->cols, (size_t)n * sizeof(*to));
    }
}

int64_t um_gemm_bf16_floats(void)
{
    return (int64_t)PANEL * PANEL * um_threads();
}

void um_gemm_bf16(float *c, int64_t ldc, struct um_bf16 a, enum um_trans trans_a, struct um_bf16 b,
                  const float *bias, bool adds, float *scratch)
{
    int64_t m = trans_a == UM_PLAIN ? a.rows : a.cols;
    const struct product p = {c, ldc, m, a, b, trans_a, bias, adds};
    int64_t n_down = (m + PANEL - 1) / PANEL, n_tiles = n_down * ((b.cols + PANEL - 1) / PANEL);
    assert(b.rows > 0 && b.rows == (trans_a == UM_PLAIN ? a.cols : a.rows));
#pragma omp parallel for schedule(static) if (n_tiles > 1)
    for (int64_t i = 0; i < n_tiles; i++) {
        struct tile t = {.row = i % n_down * PANEL, .col = i / n_down * PANEL};
        t.values = scratch + (int64_t)omp_get_thread_num() * PANEL * PANEL;
        t.rows = at_most(padded(m) - t.row, PANEL);
        t.cols = panel_width(&b, t.col);
        sum_tile(&t, &p);
        put_tile(&t, &p);
    }
}

int64_t um_gemm_rounded_floats(int64_t m, int64_t n, int64_t k)
{
    /* Either way round, a takes the same. */
    return um_bf16_floats(m, k) + um_bf16_floats(k, n) + um_gemm_bf16_floats();
}

void um_gemm_rounded(float *c, int64_t ldc, const float *a, int64_t lda, enum um_trans trans_a,
                     const float *b, int64_t ldb, int64_t m, int64_t n, int64_t k,
                     const float *bias, bool adds, float *scratch)
{
    bool is_plain = trans_a == UM_PLAIN;
    float *scratch_b = scratch + um_bf16_floats(m, k);
    struct um_bf16 rounded = um_round_bf16(scratch, a, lda, is_plain ? m : k, is_plain ? k : m);
    um_gemm_bf16(c, ldc, rounded, trans_a, um_round_bf16(scratch_b, b, ldb, k, n), bias,
                 adds, scratch_b + um_bf16_floats(k, n));
}
