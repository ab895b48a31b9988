/*
 * Products of bfloat16 matrices, by oneDNN's matmul, in fixed pieces of columns: token counts differ
 * from batch to batch, and the library compiles (and keeps) code for every shape that it meets.
 * Its C interface is not the same in versions 2 and 3: what stands behind DNNL_VERSION_MAJOR is the difference.
 */
#include "tensor/gemm.h"

#include <assert.h>
#include <pthread.h>

#include <oneapi/dnnl/dnnl.h>

#include "base/cpu.h"
#include "tensor/kernels.h"

/* Columns of c at a time; what is left over is 16 to 496 wide, and then less than 16. */
enum { PIECE_COLUMNS = 512, PIECE_UNIT = 16 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static dnnl_engine_t cpu; /* NULL: this processor has no such products of its own */
static dnnl_stream_t stream;

static void open_library(void)
{
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    bool is_native = (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
    if (!is_native || dnnl_engine_create(&cpu, dnnl_cpu, 0) != dnnl_success)
        return;
    if (dnnl_stream_create(&stream, cpu, dnnl_stream_default_flags) == dnnl_success)
        return;
    (void)dnnl_engine_destroy(cpu);
    cpu = NULL;
}

bool um_gemm_bf16_is_native(void)
{
    (void)pthread_once(&once, open_library);
    return cpu != NULL;
}

/* One product: c += or = op(a) op(b). */
struct product {
    float *c;
    struct um_bf16 a, b;
    int64_t ldc, m, n, k;
    float beta;
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

static bool describe(description *to, int64_t rows, int64_t cols, int64_t row_stride,
                     int64_t col_stride, dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {rows, cols}, strides = {row_stride, col_stride};
    return dnnl_memory_desc_create_with_strides(to, 2, dims, type, strides) == dnnl_success;
}

/* What one call of the library takes. */
struct call {
    description described[N_OPERANDS];
    dnnl_memory_t memory[N_OPERANDS];
    dnnl_post_ops_t ops;
    dnnl_primitive_attr_t attributes;
    dnnl_primitive_desc_t prepared;
    dnnl_primitive_t primitive;
};

static bool describe_operand(description *to, const struct um_bf16 *o, int64_t rows, int64_t cols)
{
    bool is_plain = o->trans == UM_PLAIN;
    return describe(to, rows, cols, is_plain ? o->ld : 1, is_plain ? 1 : o->ld, dnnl_bf16);
}

static bool add_attributes(struct call *call, float beta)
{
    return beta == 0 || (dnnl_post_ops_create(&call->ops) == dnnl_success &&
                         add_to_c(call->ops, beta) == dnnl_success &&
                         dnnl_primitive_attr_create(&call->attributes) == dnnl_success &&
                         dnnl_primitive_attr_set_post_ops(call->attributes, call->ops) ==
                             dnnl_success);
}

static bool run_call(struct call *call, const struct product *p)
{
    if (!describe_operand(&call->described[A], &p->a, p->m, p->k) ||
        !describe_operand(&call->described[B], &p->b, p->k, p->n) ||
        !describe(&call->described[C], p->m, p->n, p->ldc, 1, dnnl_f32) ||
        !add_attributes(call, p->beta) ||
        prepare(&call->prepared, call->described, call->attributes) != dnnl_success ||
        dnnl_primitive_create(&call->primitive, call->prepared) != dnnl_success ||
        wrap(&call->memory[A], &call->described[A], (void *)(uintptr_t)p->a.values) ||
        wrap(&call->memory[B], &call->described[B], (void *)(uintptr_t)p->b.values) ||
        wrap(&call->memory[C], &call->described[C], p->c))
        return false;
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, call->memory[A]},
                                         {DNNL_ARG_WEIGHTS, call->memory[B]},
                                         {DNNL_ARG_DST, call->memory[C]}};
    return dnnl_primitive_execute(call->primitive, stream, UM_COUNT(arguments), arguments) ==
               dnnl_success &&
           dnnl_stream_wait(stream) == dnnl_success;
}

/* False, with c as it was, if the library could not (no memory, say). */
static bool multiply_native(const struct product *p)
{
    struct call call = {0};
    bool is_done = run_call(&call, p);
    for (int i = 0; i < N_OPERANDS; i++) {
        if (call.memory[i])
            (void)dnnl_memory_destroy(call.memory[i]);
        forget(&call.described[i]);
    }
    if (call.primitive)
        (void)dnnl_primitive_destroy(call.primitive);
    if (call.prepared)
        (void)dnnl_primitive_desc_destroy(call.prepared);
    if (call.attributes)
        (void)dnnl_primitive_attr_destroy(call.attributes);
    if (call.ops)
        (void)dnnl_post_ops_destroy(call.ops);
    return is_done;
}

/* ---- without such instructions: the same numbers in fp32, a block at a time */

enum { BLOCK_M = 256, BLOCK_N = PIECE_COLUMNS, BLOCK_K = 64 };

/* Rows and columns from (row, col) on of op(o), as fp32, laid out as o is. Returns its row stride. */
static int64_t expand_block(float *to, const struct um_bf16 *o, int64_t row, int64_t col,
                            int64_t rows, int64_t cols)
{
    bool is_plain = o->trans == UM_PLAIN;
    const uint16_t *from = o->values + (is_plain ? row * o->ld + col : col * o->ld + row);
    int64_t n_lines = is_plain ? rows : cols, length = is_plain ? cols : rows;
    for (int64_t i = 0; i < n_lines; i++)
        um_kernels()->expand[UM_BF16](to + i * length, from + i * o->ld, length);
    return length;
}

static int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

static void multiply_expanded(const struct product *p)
{
    static UM_THREAD_LOCAL float a[BLOCK_M * BLOCK_K], b[BLOCK_K * BLOCK_N];
    for (int64_t at = 0; at < p->k; at += BLOCK_K) {
        int64_t k = at_most(p->k - at, BLOCK_K);
        int64_t ldb = expand_block(b, &p->b, at, 0, k, p->n);
        for (int64_t i = 0; i < p->m; i += BLOCK_M) {
            int64_t m = at_most(p->m - i, BLOCK_M);
            int64_t lda = expand_block(a, &p->a, i, at, m, k);
            um_gemm(p->c + i * p->ldc, p->ldc, a, lda, p->a.trans, b, ldb, p->b.trans, m, p->n, k,
                    at ? 1 : p->beta);
        }
    }
}

void um_gemm_bf16(float *c, int64_t ldc, struct um_bf16 a, struct um_bf16 b, int64_t m, int64_t n,
                  int64_t k, float beta)
{
    bool is_native = um_gemm_bf16_is_native();
    assert(k > 0);
    for (int64_t first = 0, width; m > 0 && first < n; first += width) {
        width = at_most(n - first, PIECE_COLUMNS);
        if (width > PIECE_UNIT)
            width -= width % PIECE_UNIT;
        struct product p = {.c = c + first, .ldc = ldc, .a = a, .b = b, .m = m, .n = width,
                            .k = k, .beta = beta};
        p.b.values += b.trans == UM_PLAIN ? first : first * b.ld;
        if (!is_native || !multiply_native(&p))
            multiply_expanded(&p);
    }
}

/* Rows begin on cache lines. */
static int64_t stride(int64_t cols)
{
    return (cols + 31) / 32 * 32;
}

int64_t um_bf16_floats(int64_t rows, int64_t cols)
{
    return rows * stride(cols) / 2;
}

struct um_bf16 um_round_bf16(float *to, const float *from, int64_t ld, int64_t rows, int64_t cols,
                             enum um_trans trans)
{
    const struct um_kernels *k = um_kernels();
    uint16_t *values = (uint16_t *)(void *)to;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++)
        k->round_bf16(values + i * stride(cols), from + i * ld, cols);
    return (struct um_bf16){.values = values, .ld = stride(cols), .trans = trans};
}

int64_t um_gemm_rounded_floats(int64_t m, int64_t n, int64_t k, enum um_trans trans_a)
{
    return (trans_a == UM_PLAIN ? um_bf16_floats(m, k) : um_bf16_floats(k, m)) + um_bf16_floats(k, n);
}

void um_gemm_rounded(float *c, int64_t ldc, const float *a, int64_t lda, enum um_trans trans_a,
                     const float *b, int64_t ldb, int64_t m, int64_t n, int64_t k, float beta,
                     float *scratch)
{
    int64_t rows = trans_a == UM_PLAIN ? m : k, cols = trans_a == UM_PLAIN ? k : m;
    struct um_bf16 rounded_a = um_round_bf16(scratch, a, lda, rows, cols, trans_a);
    scratch += um_bf16_floats(rows, cols);
    um_gemm_bf16(c, ldc, rounded_a, um_round_bf16(scratch, b, ldb, k, n, UM_PLAIN), m, n, k, beta);
}
