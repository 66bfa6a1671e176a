/* The C interface of the native kernels. Valid C11 and C++.
 *
 * Conventions
 *   Tensors are contiguous, row-major float32. Write modes are those of the managed seam: outputs and
 *   activation gradients are written, parameter gradients are added to.
 *   A function returns NL_OK or another status; nl_last_error() then says what was wrong, for this thread.
 *   An argument struct begins with its size in bytes, so that a struct may grow at its end. It has no padding.
 *   A kernel works on the pieces [begin, end) of its work. Pieces are independent, and cut by shape alone;
 *   the caller runs them on as many threads as it likes, with equal results. No function starts a thread
 *   or keeps memory of the caller. Scratch memory is the caller's: where a function takes a workspace,
 *   another tells how many floats it needs; 64-byte alignment is best, none is required.
 *   What a call can tell is checked before anything is written, and refused with NL_INVALID_ARGUMENT: a struct that is
 *   too small, an axis or a setting out of range (shapes end at 2^58 numbers, the axes of a product at 2^34), pieces that
 *   there are not, null where something is needed, an index out of range. The rest is the caller's promise: a pointer that
 *   is not null leads to as many numbers as its shape says (where pieces are elements, to all that are asked for), and an
 *   output overlaps nothing else but where it may be an input.
 *   The caller's floating-point environment, its control and its status words, is the same after a call as
 *   before it, whether the call succeeds or fails. Within, numbers are rounded to nearest, no exception is
 *   trapped, and subnormal numbers are zeros: one that is read counts as zero, and no result is one, but
 *   for copies.
 *
 * The C# declarations are made from this file by ./build.sh generate, with the comment that ends in the line above a
 * declaration or begins behind it. What is not of the forms that stand here is an error of the generator's.
 */
#ifndef NESTED_LEARNING_H_
#define NESTED_LEARNING_H_

#include <stdint.h>

#if defined(_WIN32)
#if defined(NL_BUILDING_LIBRARY)
#define NL_API __declspec(dllexport)
#else
#define NL_API __declspec(dllimport)
#endif
#else
#define NL_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status ---- */

/* Raised by one with every change that an older caller could not live with. */
#define NL_ABI_VERSION 4

enum nl_status {
  NL_OK = 0,
  NL_INVALID_ARGUMENT = 1,
  NL_UNSUPPORTED_TARGET = 2,
  NL_OUT_OF_MEMORY = 3,
  NL_INTERNAL_ERROR = 4
};

NL_API int32_t nl_abi_version(void);

/* The message of this thread's last failure; empty before the first. Valid until the thread's next
 * failure. */
NL_API const char* nl_last_error(void);

/* The size of a struct of this header by its name, such as "nl_elementwise_arguments"; 0 for a name
 * not known. */
NL_API uint32_t nl_struct_size(const char* name);

/* ---- Targets: the instruction sets that the kernels were compiled for ---- */

/* How many, the plainest first. */
NL_API int32_t nl_target_count(void);

/* "SCALAR", "AVX2", "AVX3" (AVX-512), "NEON"; null outside 0..count-1. */
NL_API const char* nl_target_name(int32_t target);

/* 1 where the processor and the operating system can run it, else 0. */
NL_API int32_t nl_target_supported(int32_t target);

/* The target in use. At first the best supported one, or the one that the environment variable
 * NESTED_LEARNING_TARGET names; a name that is unknown or not supported here is an error, for this
 * function and for every kernel. */
NL_API int32_t nl_target_current(int32_t* target);

/* Makes a target the one in use, for the whole process; for tests. Not while kernels run. */
NL_API int32_t nl_target_choose(int32_t target);

/* Why large products of bfloat16 operands are not multiplied by AMX tiles in this process, in a few words, such
 * as "not in this processor"; null where they are. With ask = 0 a permission of the operating system that is
 * still to be asked for counts as given; else it is asked for, as by the first such product, once in a process.
 * The environment variable NESTED_LEARNING_AMX set to "off" leaves AMX out; "on" makes such a product an error
 * where AMX cannot be had. Valid until the thread's next call. */
NL_API const char* nl_amx_obstacle(int32_t ask);

/* ---- Elementwise: pieces are elements ---- */

enum nl_activation {
  NL_SIGMOID = 0,     /* 1 / (1 + e^-x) */
  NL_SOFTPLUS = 1,    /* log(1 + e^x) */
  NL_LOG_SIGMOID = 2, /* -softplus(-x) */
  NL_GELU = 3         /* x Phi(x), with erf */
};

typedef struct nl_elementwise_arguments {
  uint32_t size;
  int32_t activation; /* enum nl_activation, where one is asked for */
  float factor;
  int32_t reserved;
  const float* x;
  const float* y;
  float* z;
} nl_elementwise_arguments;

/* z = f(x). z may be x. */
NL_API int32_t nl_activation_forward(const nl_elementwise_arguments* arguments, int64_t begin,
                                     int64_t end);

/* z = y f'(x): y is the gradient of f's result. z may be y. */
NL_API int32_t nl_activation_backward(const nl_elementwise_arguments* arguments, int64_t begin,
                                      int64_t end);

/* z += factor x. */
NL_API int32_t nl_add_scaled(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end);

/* z = x y. z may be either. */
NL_API int32_t nl_multiply(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end);

/* z = factor x. z may be x. */
NL_API int32_t nl_scale(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end);

/* Elements of one piece of a sum of squares. */
#define NL_SUM_BLOCK 16384

/* The double sum of squares of each block of NL_SUM_BLOCK elements of x, the last one shorter, in
 * an order that depends on its length alone: sums[block] is written for the blocks begin..end-1. */
NL_API int32_t nl_sum_of_squares(const float* x, int64_t count, double* sums, int64_t begin,
                                 int64_t end);

/* ---- GEMM: pieces are blocks of C ---- */

enum nl_epilogue {
  NL_EPILOGUE_NONE = 0,
  /* z Phi(z); pre_activation, if not null, receives z = AB + bias */
  NL_EPILOGUE_GELU = 1,
  /* (AB + bias) times GELU's derivative at pre_activation, an input */
  NL_EPILOGUE_GELU_GRADIENT = 2,
  /* A weight's gradient and its commit: AB, and + adam->g where that is not null, is the gradient of Adam's step on adam's
   * w, m and v [m, n]. It is written nowhere: adam->g, if it is there, is left as it is or cleared. Neither c nor another
   * argument of the epilogue is taken, nor adam->sums. */
  NL_EPILOGUE_ADAM = 3
};

enum nl_precision {
  NL_PRECISION_FLOAT32 = 0,
  /* A and B are rounded to bfloat16, to nearest even; sums stay float32. */
  NL_PRECISION_BFLOAT16 = 1
};

/* C = epilogue(op(A) op(B) + bias) + residual_scale residual, or that added to C. Matrices are
 * contiguous; op is the identity or the transpose. Each element is summed over k in order, in blocks
 * cut by k alone, so it does not depend on the pieces. */
typedef struct nl_gemm_arguments {
  uint32_t size;
  int32_t transpose_a;
  int32_t transpose_b;
  int32_t epilogue; /* enum nl_epilogue */
  int32_t accumulate;
  int32_t precision; /* enum nl_precision */
  int64_t m, n, k;
  const float* a;        /* [m, k], or [k, m] when transposed */
  const float* b;        /* [k, n], or [n, k] when transposed */
  float* c;              /* [m, n] */
  const float* bias;     /* [n], or null */
  float* pre_activation; /* [m, n], or null */
  const float* residual; /* [m, n], or null; may be c */
  float residual_scale;
  /* The caller knows that C is symmetric, a residual with it: half is computed, and mirrored. m = n, without bias and
   * epilogue. */
  int32_t symmetric;
  const struct nl_adam_arguments* adam; /* NL_EPILOGUE_ADAM alone */
} nl_gemm_arguments;

/* A product runs pass by pass; in each, first all pieces of nl_gemm_pack, then all of nl_gemm. Or nl_gemm alone with packed
 * null: then each call copies for itself what its pieces need of the operands, so few calls with many pieces each are best.
 * The bits are the same. */
typedef struct nl_gemm_sizes {
  uint32_t size;
  uint32_t reserved;
  int64_t passes;
  int64_t pack_pieces; /* of each pass; 0 where operands are read where they lie */
  int64_t pieces;      /* of each pass */
  int64_t packed;      /* floats that all pieces of a pass share */
  int64_t workspace;   /* floats that each call of nl_gemm needs to itself */
} nl_gemm_sizes;

NL_API int32_t nl_gemm_plan(const nl_gemm_arguments* arguments, nl_gemm_sizes* sizes);

NL_API int32_t nl_gemm_pack(const nl_gemm_arguments* arguments, int64_t pass, int64_t begin,
                            int64_t end, float* packed);

NL_API int32_t nl_gemm(const nl_gemm_arguments* arguments, int64_t pass, int64_t begin, int64_t end,
                       const float* packed, float* workspace);

/* `batch` products of contiguous matrices, one after the other in each operand. Pieces are products, each on
 * one thread with its operands where they lie: meant for matrices that fit a second-level cache. Of the arguments, bias,
 * epilogue, residual, precision and symmetric are not taken: 0 or null. */
NL_API int32_t nl_batched_gemm(const nl_gemm_arguments* arguments, int64_t batch, int64_t begin,
                               int64_t end);

/* ---- Column sum: pieces are blocks of NL_COLUMN_BLOCK columns ---- */

/* Columns of one piece. */
#define NL_COLUMN_BLOCK 64

/* sums [columns] += the sums over the rows of x [rows, columns]. */
typedef struct nl_column_sum_arguments {
  uint32_t size;
  int32_t reserved;
  int64_t rows, columns;
  const float* x;
  float* sums;
} nl_column_sum_arguments;

NL_API int32_t nl_column_sum(const nl_column_sum_arguments* arguments, int64_t begin, int64_t end);

/* ---- Norms of rows ---- */

enum nl_norm_kind {
  NL_NORM_RMS = 0,   /* gain x / sqrt(sum x^2 / columns + epsilon) */
  NL_NORM_LAYER = 1, /* gain (x - mean) / sqrt(variance + epsilon) + bias */
  NL_NORM_L2 = 2     /* x / sqrt(sum x^2 + epsilon^2) */
};

typedef struct nl_norm_arguments {
  uint32_t size;
  int32_t kind; /* enum nl_norm_kind */
  int64_t rows, columns;
  float epsilon;
  int32_t reserved;
  const float* x;    /* [rows, columns] */
  const float* gain; /* [columns], or null for 1 */
  const float* bias; /* [columns], or null for 0 */
  float* y;          /* [rows, columns]; forward */
  const float* dy;   /* [rows, columns]; backward, as all that follows */
  float* dx;         /* [rows, columns], or null; may be dy */
  float* dgain;      /* [blocks, columns], or null: the sums over each block's rows, written */
  float* dbias;      /* [blocks, columns], or null */
} nl_norm_arguments;

/* Pieces are rows. y may be x. */
NL_API int32_t nl_norm_forward(const nl_norm_arguments* arguments, int64_t begin, int64_t end);

/* Rows of one piece of the backward pass. */
#define NL_NORM_BLOCK 32

/* Pieces are blocks of NL_NORM_BLOCK rows; nl_column_sum adds their dgain and dbias together. */
NL_API int32_t nl_norm_backward(const nl_norm_arguments* arguments, int64_t begin, int64_t end);

/* ---- Causal depthwise convolution of width 4 ---- */

typedef struct nl_convolution_arguments {
  uint32_t size;
  int32_t reserved;
  int64_t batch, time, channels;
  const float* x;      /* [batch, time, channels] */
  const float* weight; /* [channels, 4] */
  const float* bias;   /* [channels], or null */
  const float* state;  /* [batch, 3, channels], the tokens before the first, or null for zeros */
  float* y;            /* [batch, time, channels]; forward */
  const float* dy;     /* [batch, time, channels]; backward, as all that follows */
  float* dx;           /* [batch, time, channels], written */
  float* dweight;      /* [channels, 4], added to, or null */
  float* dbias;        /* [channels], added to, or null */
} nl_convolution_arguments;

/* Pieces of y and of dx: blocks of NL_CONVOLUTION_TIME tokens of one sequence, all of a sequence's
 * before the next's. */
#define NL_CONVOLUTION_TIME 64
/* Pieces of dweight and dbias: blocks of NL_CONVOLUTION_CHANNELS channels. */
#define NL_CONVOLUTION_CHANNELS 64

/* Floats of workspace for nl_convolution_forward and nl_convolution_backward_input. */
NL_API int32_t nl_convolution_workspace(const nl_convolution_arguments* arguments,
                                        int64_t* workspace);

/* y_t = bias + sum over j = 0..3 of weight[:, j] x_{t-3+j}. */
NL_API int32_t nl_convolution_forward(const nl_convolution_arguments* arguments, int64_t begin,
                                      int64_t end, float* workspace);

/* dx_t = sum over j of weight[:, j] dy_{t+3-j}. */
NL_API int32_t nl_convolution_backward_input(const nl_convolution_arguments* arguments,
                                             int64_t begin, int64_t end, float* workspace);

/* dweight[:, j] += sum over tokens of dy_t x_{t-3+j}; dbias += sum of dy_t. */
NL_API int32_t nl_convolution_backward_weight(const nl_convolution_arguments* arguments,
                                              int64_t begin, int64_t end);

/* ---- Embedding ---- */

typedef struct nl_embedding_arguments {
  uint32_t size;
  int32_t reserved;
  int64_t tokens, columns, rows;
  const int32_t* indices; /* [tokens], each in 0..rows-1 */
  const float* table;     /* [rows, columns]; forward */
  float* y;               /* [tokens, columns]; forward */
  const float* dy;        /* [tokens, columns]; backward */
  float* dtable;          /* [rows, columns], added to; backward */
} nl_embedding_arguments;

/* y = the rows of the table that the indices name. Pieces are tokens. */
NL_API int32_t nl_embedding_forward(const nl_embedding_arguments* arguments, int64_t begin,
                                    int64_t end);

/* The named rows of dtable += dy's rows, in the order of the tokens. Pieces are blocks of
 * NL_COLUMN_BLOCK columns. */
NL_API int32_t nl_embedding_backward(const nl_embedding_arguments* arguments, int64_t begin,
                                     int64_t end);

/* ---- Softmax cross-entropy: pieces are rows ---- */

typedef struct nl_cross_entropy_arguments {
  uint32_t size;
  float gradient_scale; /* of nl_cross_entropy_with_gradient */
  int64_t rows, columns;
  const float* logits;    /* [rows, columns] */
  const int32_t* targets; /* [rows], each in 0..columns-1, or -1 for a row that does not count */
  float* losses;          /* [rows]; forward */
  /* [rows]; written forward, read backward; null when not wanted with the gradient */
  float* log_sums;
  const float* dlosses; /* [rows]; backward */
  float* dlogits;       /* [rows, columns]; backward; may be logits */
} nl_cross_entropy_arguments;

/* log_sums = log(sum exp logits); losses = log_sums - logits[target], 0 where the target is -1. */
NL_API int32_t nl_cross_entropy_forward(const nl_cross_entropy_arguments* arguments, int64_t begin,
                                        int64_t end);

/* dlogits = (exp(logits - log_sums) - onehot(target)) dlosses, 0 where the target is -1. */
NL_API int32_t nl_cross_entropy_backward(const nl_cross_entropy_arguments* arguments, int64_t begin,
                                         int64_t end);

/* Both at once: losses, and dlogits = gradient_scale (softmax(logits) - onehot(target)), 0 where the target is -1. Needs
 * a workspace of `columns` floats. */
NL_API int32_t nl_cross_entropy_with_gradient(const nl_cross_entropy_arguments* arguments,
                                              int64_t begin, int64_t end, float* workspace);

/* ---- Adam and AdamW: pieces are elements ---- */

enum nl_moments {
  NL_MOMENTS_FLOAT32 = 0,
  /* Two bytes an element, rounded stochastically: random bits r are added below those that are kept,
   * 16 for m and their complement for v. They are those of Philox4x32-10 with the key seed and the
   * counter (block, step). 16 blocks serve 128 elements: element e, with i = e % 128 / 2, takes of
   * word 2 (i / 32) + i % 2 of block 16 (e / 128) + i % 32 / 2 the low half where e is even, else the
   * high one. */
  NL_MOMENTS_BFLOAT16 = 1
};

/* g' = gradient_scale g, and + weight_decay w where not decoupled
 * m = beta1 m + (1 - beta1) g'
 * v = beta2 v + (1 - beta2) g'^2
 * w = w - learning_rate (m / correction1) / (sqrt(v / correction2) + epsilon)
 *       - learning_rate weight_decay w where decoupled
 * with correction_i = 1 - beta_i^step; m and v here are those before their rounding to bfloat16. epsilon is
 * a normal number above 0. No operation is fused with another, so that every instruction set gives the same
 * bits; what each takes and gives is a zero where it would be subnormal. */
typedef struct nl_adam_arguments {
  uint32_t size;
  int32_t decoupled;
  int32_t moments;        /* enum nl_moments */
  int32_t clear_gradient; /* whether g becomes 0 */
  float learning_rate, epsilon, weight_decay, gradient_scale;
  double beta1, beta2, correction1, correction2;
  int64_t step; /* with bfloat16 moments, as is seed */
  uint64_t seed;
  float* w;
  float* g;
  void* m; /* float or bfloat16, as told by moments */
  void* v;
  /* Null, or two numbers that are written: over this call's elements, the sums of squares of w's
   * change and of w before it. */
  double* sums;
} nl_adam_arguments;

NL_API int32_t nl_adam_commit(const nl_adam_arguments* arguments, int64_t begin, int64_t end);

/* ---- Moments of gradients: pieces are elements ---- */

/* g' = gradient_scale g
 * m = keep1 m + write1 g'
 * v = keep2 v + write2 g'^2
 * r = read_moment m + read_gradient g'
 * w = start - (decay start + learning_rate r / (sqrt(v) + epsilon))
 * Without m it counts as 0, and without v nothing is divided. Without w only m and v are written. Without start, w
 * itself is where it starts from. With w and v, epsilon is a normal number above 0. No operation is fused with another, as in nl_adam_commit. */
typedef struct nl_moment_arguments {
  uint32_t size;
  int32_t clear_gradient; /* whether g becomes 0 */
  float gradient_scale, keep1, write1, keep2, write2, read_moment, read_gradient, learning_rate,
      decay, epsilon;
  float* w; /* or null, as are m, v and start */
  float* g;
  float* m;
  float* v;
  const float* start;
  double* sums; /* as in nl_adam_arguments; null without w */
} nl_moment_arguments;

NL_API int32_t nl_moment_commit(const nl_moment_arguments* arguments, int64_t begin, int64_t end);

/* ---- Recursive ridge memory: the two passes of a group of samples over the factor ---- */

/* Rows of a panel of L: each is as long as the panel's last, zero above the diagonal. */
#define NL_RIDGE_PANEL 8
/* The most samples of a group. */
#define NL_RIDGE_GROUP 8
/* Pieces that read L are blocks of so many rows. */
#define NL_RIDGE_ROWS 32
/* Pieces that read W are blocks of so many outputs, pieces that write of so many columns of L. */
#define NL_RIDGE_COLUMNS 64

/* With N = features, rounded up to whole panels by rows that are zero. */
typedef struct nl_ridge_arguments {
  uint32_t size;
  int32_t samples; /* 1 to NL_RIDGE_GROUP */
  int64_t features, outputs;
  double* rows;    /* L: its panels' rows one after the other, N (N + NL_RIDGE_PANEL) / 2 numbers */
  const double* x; /* [samples, N] */
  double* f;       /* [N, samples]: written by reading, c for writing */
  const double* v; /* [N, samples] */
  double* o;       /* [samples, outputs]: written by reading */
  const double* e; /* [samples, outputs] */
  float* w;        /* [features, outputs] */
  float* w_low;    /* [features, outputs]: what w lacks of the sum in float64 */
} nl_ridge_arguments;

/* f_j = L_j x of each sample. Pieces are blocks of NL_RIDGE_ROWS rows. */
NL_API int32_t nl_ridge_read_rows(const nl_ridge_arguments* arguments, int64_t begin, int64_t end);

/* o = x (w + w_low). Pieces are blocks of NL_RIDGE_COLUMNS outputs. */
NL_API int32_t nl_ridge_read_outputs(const nl_ridge_arguments* arguments, int64_t begin,
                                     int64_t end);

/* From K = 0, for each row j and sample: L_j -= c_j K, K += v_j L_j (the row before); then
 * w + w_low += K e, in as many rows. Pieces are blocks of NL_RIDGE_COLUMNS columns of L. */
NL_API int32_t nl_ridge_write(const nl_ridge_arguments* arguments, int64_t begin, int64_t end);

/* ---- Scan: pieces are heads, or blocks of a head's value columns ---- */

/* The longest chunk, of every operation that has chunks. */
#define NL_MAX_CHUNK 256

enum nl_scan_read {
  NL_READ_AFTER = 0,      /* o_t = scale q_t S_t */
  NL_READ_BEFORE = 1,     /* o_t = scale q_t S_{t-1} */
  NL_READ_CHUNK_START = 2 /* o_t = scale q_t S_c */
};

enum nl_scan_write {
  NL_WRITE_GIVEN = 0,  /* u_t = U_t */
  NL_WRITE_SCALED = 1, /* u_t = theta_t U_t */
  /* u_t = theta_t (U_t - k_t S_c), S_c the state at the start of the token's chunk */
  NL_WRITE_FROZEN_L2 = 2
};

/* w_t = u_t - e_t (k_t S_{t-1});  P_t = m_t P_{t-1} + k_t^T w_t;  S_t = a_t S_{t-1} + P_t;  o_t as read.
 * Gates that are null: a = 1, e = 0, m = 0 (and then there is no P). States that are null: zero. */
typedef struct nl_scan_arguments {
  uint32_t size;
  /* B, T, H, Dk, Dv */
  int32_t batch, time, heads, key_dim, value_dim;
  int32_t chunk; /* 1 to NL_MAX_CHUNK */
  int32_t read;  /* enum nl_scan_read */
  int32_t write; /* enum nl_scan_write */
  float scale;
  const float* q;         /* [B, T, H, Dk] */
  const float* k;         /* [B, T, H, Dk] */
  const float* u;         /* [B, T, H, Dv]: U */
  const float* log_alpha; /* [B, T, H] each: log a <= 0, -infinity is total decay */
  const float* erase;     /* e */
  const float* mu;        /* m */
  const float* theta;     /* given exactly when write is not NL_WRITE_GIVEN */
  const float* s0;        /* [B, H, Dk, Dv] */
  const float* p0;
  float* o; /* [B, T, H, Dv] */
  float* s; /* [B, H, Dk, Dv]: the final memory; may be s0 */
  float* p; /* the same of P, given exactly when mu is; may be p0 */
  /* [B, H, chunks, Dk, Dv]: S at each chunk's start. Forward: an output, null when not wanted. Backward: an input. */
  float* states;
  float* momenta;           /* the same of P, where mu is given */
  const float* chunk_start; /* S_c of the first chunk, given exactly when phase is not 0 */
  /* S_c of the chunk that the token after the last belongs to; null when not wanted. */
  float* next_chunk_start;
  int32_t phase; /* tokens of the first chunk that came before, 0 to chunk - 1 */
  int32_t reserved;
} nl_scan_arguments;

/* What arrives at the results (null is zero) and where the inputs' gradients go (null is not wanted). Only the inputs and
 * the chunk-start states of nl_scan_arguments are read. */
typedef struct nl_scan_gradients {
  uint32_t size;
  uint32_t reserved;
  const float* d_o; /* [B, T, H, Dv] */
  const float* d_s; /* [B, H, Dk, Dv]: of the final memory */
  const float* d_p;
  float* dq; /* written, each with its input's shape */
  float* dk;
  float* du;
  float* d_log_alpha; /* 0 where a = 0 */
  float* d_erase;
  float* d_mu;
  float* d_theta;
  float* ds0;
  float* dp0;
  const float* d_next_chunk_start;
  float* d_chunk_start;
} nl_scan_gradients;

/* Pieces of the forward pass; the backward pass has B H. */
NL_API int32_t nl_scan_forward_pieces(const nl_scan_arguments* arguments, int64_t* pieces);

/* Floats of workspace that one call needs, whatever its pieces. */
NL_API int32_t nl_scan_forward_workspace(const nl_scan_arguments* arguments, int64_t* floats);
NL_API int32_t nl_scan_backward_workspace(const nl_scan_arguments* arguments, int64_t* floats);

NL_API int32_t nl_scan_forward(const nl_scan_arguments* arguments, int64_t begin, int64_t end,
                               float* workspace);
NL_API int32_t nl_scan_backward(const nl_scan_arguments* arguments,
                                const nl_scan_gradients* gradients, int64_t begin, int64_t end,
                                float* workspace);

/* ---- Self-modifying scan: pieces are heads ---- */

enum nl_memory_objective { NL_OBJECTIVE_L2 = 0, NL_OBJECTIVE_DOT = 1 };

/* Bits of nl_self_modifying_arguments.flags. */
enum nl_self_modifying_flags {
  NL_SELF_MODIFYING_NORMALIZE_VALUES = 1, /* v = norm(x S_v,c) */
  NL_SELF_MODIFYING_EXACT_GRADIENT = 2 /* L2's gradient at S_{t-1}: k S_{t-1} in place of k S_c */
};

/* The memories of a head lie side by side as the columns [k (D) | v (D) | mem (D) | eta (1) | alpha (1)] of S [D, 3D + 2].
 * With S_c the state at the start of the token's chunk:
 *   k = norm(x S_k,c)   v = x S_v,c   eta = softplus(x S_eta,c + eta_bias) eta_scale   a = sigmoid(x S_alpha,c + alpha_bias)
 *   S_t = a S_{t-1} - eta k^T (k S_{t-1}) - eta k^T (k S_c - v S_c)     the last bracket is -v S_c for the dot product
 *   o_t = q S_mem,t-1, q S_mem,t or q S_mem,c, as read */
typedef struct nl_self_modifying_arguments {
  uint32_t size;
  /* B, T, H, D */
  int32_t batch, time, heads, dim;
  int32_t chunk;     /* 1 to NL_MAX_CHUNK */
  int32_t objective; /* enum nl_memory_objective */
  int32_t read;      /* enum nl_scan_read */
  float eta_scale, eta_bias, alpha_bias;
  float norm_epsilon; /* norm(x) = x / sqrt(sum x^2 + epsilon^2) */
  const float* x;     /* [B, T, H, D] */
  const float* q;     /* [B, T, H, D] */
  const float* s0;    /* [B, H, D, 3D + 2] */
  float* o;           /* [B, T, H, D] */
  float* s;           /* the final memories; may be s0 */
  /* [B, H, chunks, D, 3D + 2] at each chunk's start. Forward: an output, null when not wanted. Backward: an input. */
  float* states;
  const float* chunk_start; /* these three as in nl_scan_arguments */
  float* next_chunk_start;
  int32_t phase;
  uint32_t flags; /* of enum nl_self_modifying_flags */
} nl_self_modifying_arguments;

/* As nl_scan_gradients. Only the inputs and the chunk-start states of nl_self_modifying_arguments are read. */
typedef struct nl_self_modifying_gradients {
  uint32_t size;
  uint32_t reserved;
  const float* d_o; /* [B, T, H, D] */
  const float* d_s; /* [B, H, D, 3D + 2], of the final memories */
  float* dx;        /* written */
  float* dq;
  float* ds0;
  const float* d_next_chunk_start;
  float* d_chunk_start;
} nl_self_modifying_gradients;

NL_API int32_t nl_self_modifying_forward_workspace(const nl_self_modifying_arguments* arguments,
                                                   int64_t* floats);
NL_API int32_t nl_self_modifying_backward_workspace(const nl_self_modifying_arguments* arguments,
                                                    int64_t* floats);

NL_API int32_t nl_self_modifying_forward(const nl_self_modifying_arguments* arguments,
                                         int64_t begin, int64_t end, float* workspace);
NL_API int32_t nl_self_modifying_backward(const nl_self_modifying_arguments* arguments,
                                          const nl_self_modifying_gradients* gradients,
                                          int64_t begin, int64_t end, float* workspace);

/* ---- Deep memory: pieces are heads ---- */

/* Bits of nl_deep_memory_arguments.flags. */
enum nl_deep_memory_flags {
  NL_DEEP_MEMORY_RESIDUAL = 1 /* M(x) = x + gelu(x W2) W1, or gelu(x W2) W1 alone */
};

/* A memory of two layers, M(x) = x + gelu(x W2) W1, or without the residual. With Wc the weights at the start of the
 * token's chunk and norm(x) = x / r(x), r(x) = sqrt(sum x^2 + epsilon^2):
 *   z = k W2c   h = gelu(z)   e = k + h W1c - v, or -v for the dot product
 *   on W1: key norm(h), u = -theta r(h) e      on W2: key norm(k), u = -theta r(k) (e W1c^T) gelu'(z)
 *   w = u - e_t (key W);  P = m P + key^T w;  W = a W + P      with e_t, m and a as in nl_scan_arguments
 *   o = M(q) with the weights after or before the token's write, or with Wc. */
typedef struct nl_deep_memory_arguments {
  uint32_t size;
  /* B, T, H, D, N */
  int32_t batch, time, heads, dim, hidden;
  int32_t chunk;     /* 1 to NL_MAX_CHUNK */
  int32_t phase;     /* tokens of the first chunk that came before, 0 to chunk - 1 */
  int32_t objective; /* enum nl_memory_objective */
  int32_t read;      /* enum nl_scan_read */
  uint32_t flags;    /* of enum nl_deep_memory_flags */
  float norm_epsilon;
  const float* q; /* [B, T, H, D] each */
  const float* k;
  const float* v;
  /* [B, T, H] each. Null: a = 1, theta = 1, e_t = 0, m = 0 (and then no P). */
  const float* log_alpha;
  const float* theta;
  const float* erase;
  const float* mu;
  const float* w1_start; /* the state before the first token: W1 [B, H, N, D] */
  const float* w2_start; /* W2 [B, H, D, N] */
  const float* p1_start; /* the same of the momenta; null is zero */
  const float* p2_start;
  const float* chunk_start1; /* Wc of the first chunk, given exactly when phase is not 0 */
  const float* chunk_start2;
  float* o;  /* [B, T, H, D] */
  float* w1; /* the final state, each may be its start; momenta exactly when mu is given */
  float* w2;
  float* p1;
  float* p2;
  /* Wc of the chunk that the token after the last belongs to; null is not wanted. */
  float* next_chunk_start1;
  float* next_chunk_start2;
  /* The state before each chunk's first token here, the momenta where mu is given. Forward: outputs, null when not wanted.
   * Backward: inputs. */
  float* saved_w1; /* [B, H, chunks, N, D] */
  float* saved_w2; /* [B, H, chunks, D, N] */
  float* saved_p1;
  float* saved_p2;
} nl_deep_memory_arguments;

/* As nl_scan_gradients. Only the inputs and the saved states of nl_deep_memory_arguments are read. */
typedef struct nl_deep_memory_gradients {
  uint32_t size;
  uint32_t reserved;
  const float* d_o; /* of the results */
  const float* d_w1;
  const float* d_w2;
  const float* d_p1;
  const float* d_p2;
  const float* d_next_chunk_start1;
  const float* d_next_chunk_start2;
  float* dq; /* of the inputs, written */
  float* dk;
  float* dv;
  float* d_log_alpha;
  float* d_theta;
  float* d_erase;
  float* d_mu;
  float* d_w1_start;
  float* d_w2_start;
  float* d_p1_start;
  float* d_p2_start;
  float* d_chunk_start1;
  float* d_chunk_start2;
} nl_deep_memory_gradients;

NL_API int32_t nl_deep_memory_forward_workspace(const nl_deep_memory_arguments* arguments,
                                                int64_t* floats);
NL_API int32_t nl_deep_memory_backward_workspace(const nl_deep_memory_arguments* arguments,
                                                 int64_t* floats);

NL_API int32_t nl_deep_memory_forward(const nl_deep_memory_arguments* arguments, int64_t begin,
                                      int64_t end, float* workspace);
NL_API int32_t nl_deep_memory_backward(const nl_deep_memory_arguments* arguments,
                                       const nl_deep_memory_gradients* gradients, int64_t begin,
                                       int64_t end, float* workspace);

/* ---- Causal softmax attention ---- */

/* Query t sees the keys 0..S-T+t, the last T of which are its own sequence's and the others a cache's; S >= T.
 *   s_tj = scale <q_t, k_j>;  log_sums_t = log(sum over j of exp s_tj);  o_t = sum over j of exp(s_tj - log_sums_t) v_j */
typedef struct nl_attention_arguments {
  uint32_t size;
  /* B, T, S, H, Dk, Dv */
  int32_t batch, time, keys, heads, key_dim, value_dim;
  float scale;
  const float* q;  /* [B, T, H, Dk] */
  const float* k;  /* [B, S, H, Dk] */
  const float* v;  /* [B, S, H, Dv] */
  float* o;        /* [B, T, H, Dv]. Forward: an output. Backward: an input, as log_sums. */
  float* log_sums; /* [B, T, H], null when not wanted forward */
} nl_attention_arguments;

typedef struct nl_attention_gradients {
  uint32_t size;
  uint32_t reserved;
  const float* d_o; /* [B, T, H, Dv] */
  float* dq;        /* written, each with its input's shape; null is not wanted */
  float* dk;
  float* dv;
  float* dq_parts; /* what nl_attention_backward_plan says, where dq is wanted */
} nl_attention_gradients;

/* Pieces, blocks of a head's queries, and the floats of workspace that one call needs. */
NL_API int32_t nl_attention_forward_plan(const nl_attention_arguments* arguments, int64_t* pieces,
                                         int64_t* workspace);

NL_API int32_t nl_attention_forward(const nl_attention_arguments* arguments, int64_t begin,
                                    int64_t end, float* workspace);

/* Pieces, ranges of a head's keys, and beside the workspace of one call the floats of dq_parts, one memory for all calls:
 * a multiple of q's, none where there are 16 heads or more and never beyond 16 T Dk. */
NL_API int32_t nl_attention_backward_plan(const nl_attention_arguments* arguments, int64_t* pieces,
                                          int64_t* workspace, int64_t* dq_parts);

/* dk, dv; and dq, which lacks what the ranges after a head's first left in dq_parts. */
NL_API int32_t nl_attention_backward(const nl_attention_arguments* arguments,
                                     const nl_attention_gradients* gradients, int64_t begin,
                                     int64_t end, float* workspace);

/* dq += dq_parts, in the order of the ranges, once all pieces of nl_attention_backward are done. Pieces are the B T tokens;
 * where there are no dq_parts there is nothing to do. */
NL_API int32_t nl_attention_backward_sum(const nl_attention_arguments* arguments,
                                         const nl_attention_gradients* gradients, int64_t begin,
                                         int64_t end);

#ifdef __cplusplus
}
#endif

#endif /* NESTED_LEARNING_H_ */
