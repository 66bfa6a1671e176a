/* The C interface of the native kernels. Valid C11 and C++.
 *
 * Conventions
 *   Tensors are contiguous, row-major float32 unless a leading dimension is given. Write modes are those of the managed
 *   seam: outputs and activation gradients are written, parameter gradients are added to.
 *   A function returns NL_OK or another status; nl_last_error() then says what was wrong, for this thread.
 *   An argument struct begins with its size in bytes, so that a struct may grow at its end.
 *   A kernel works on the pieces [begin, end) of its work. Pieces are independent, and cut by shape alone; the caller
 *   runs them on as many threads as it likes, with equal results. No function starts a thread, keeps memory of the
 *   caller, or changes the floating-point environment. Scratch memory is the caller's: where a function takes a
 *   workspace, another tells how many floats it needs; 64-byte alignment is best, none is required.
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

/* ---- Status -------------------------------------------------------------------------------------------------- */

/* Raised by one with every change that an older caller could not live with. */
#define NL_ABI_VERSION 1

enum nl_status {
  NL_OK = 0,
  NL_INVALID_ARGUMENT = 1,
  NL_UNSUPPORTED_TARGET = 2,
  NL_OUT_OF_MEMORY = 3,
  NL_INTERNAL_ERROR = 4
};

NL_API int32_t nl_abi_version(void);

/* The message of this thread's last failure; empty before the first. Valid until the thread's next failure. */
NL_API const char* nl_last_error(void);

/* The size of a struct of this header by its name, such as "nl_elementwise_arguments"; 0 for a name not known. */
NL_API uint32_t nl_struct_size(const char* name);

/* ---- Targets: the instruction sets that the kernels were compiled for ---------------------------------------- */

/* How many, the plainest first. */
NL_API int32_t nl_target_count(void);

/* "SCALAR", "SSE4", "AVX2", "AVX3" (AVX-512), "NEON"; null outside 0..count-1. */
NL_API const char* nl_target_name(int32_t target);

/* 1 where the processor and the operating system can run it, else 0. */
NL_API int32_t nl_target_supported(int32_t target);

/* The target in use. At first the best supported one, or the one that the environment variable NESTED_LEARNING_TARGET
 * names; a name that is unknown or not supported here is an error, for this function and for every kernel. */
NL_API int32_t nl_target_current(int32_t* target);

/* Makes a target the one in use, for the whole process; for tests. Not while kernels run. */
NL_API int32_t nl_target_choose(int32_t target);

/* ---- Elementwise: pieces are elements ------------------------------------------------------------------------ */

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
NL_API int32_t nl_activation_forward(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end);

/* z = y f'(x): y is the gradient of f's result. z may be y. */
NL_API int32_t nl_activation_backward(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end);

/* z += factor x. */
NL_API int32_t nl_add_scaled(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end);

/* z = x y. z may be either. */
NL_API int32_t nl_multiply(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end);

/* z = factor x. z may be x. */
NL_API int32_t nl_scale(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end);

/* The double sum of squares of each block of NL_SUM_BLOCK elements of x, the last one shorter, in an order that depends on
 * its length alone: sums[block] is written for the blocks begin..end-1. */
#define NL_SUM_BLOCK 16384
NL_API int32_t nl_sum_of_squares(const float* x, int64_t count, double* sums, int64_t begin, int64_t end);

/* ---- GEMM: pieces are blocks of C ---------------------------------------------------------------------------- */

enum nl_epilogue {
  NL_EPILOGUE_NONE = 0,
  NL_EPILOGUE_GELU = 1,         /* z Phi(z); pre_activation, if not null, receives z = AB + bias */
  NL_EPILOGUE_GELU_GRADIENT = 2 /* (AB + bias) times GELU's derivative at pre_activation, an input */
};

/* C = epilogue(op(A) op(B) + bias) + residual, or that added to C. Matrices are contiguous; op is the identity or the
 * transpose. Each element is summed over k in order, in blocks of 256, so it does not depend on the pieces. */
typedef struct nl_gemm_arguments {
  uint32_t size;
  int32_t transpose_a;
  int32_t transpose_b;
  int32_t epilogue; /* enum nl_epilogue */
  int32_t accumulate;
  int32_t reserved;
  int64_t m, n, k;
  const float* a;        /* [m, k], or [k, m] when transposed */
  const float* b;        /* [k, n], or [n, k] when transposed */
  float* c;              /* [m, n] */
  const float* bias;     /* [n], or null */
  float* pre_activation; /* [m, n], or null */
  const float* residual; /* [m, n], or null; may be c */
} nl_gemm_arguments;

/* How many pieces, and how many floats of workspace each call of nl_gemm needs. */
NL_API int32_t nl_gemm_plan(const nl_gemm_arguments* arguments, int64_t* pieces, int64_t* workspace);

NL_API int32_t nl_gemm(const nl_gemm_arguments* arguments, int64_t begin, int64_t end, float* workspace);

/* ---- Scan: pieces are heads, or blocks of a head's value columns --------------------------------------------- */

enum nl_scan_read {
  NL_READ_AFTER = 0, /* o_t = scale q_t S_t */
  NL_READ_BEFORE = 1 /* o_t = scale q_t S_{t-1} */
};

enum nl_scan_write {
  NL_WRITE_GIVEN = 0,    /* u_t = U_t */
  NL_WRITE_SCALED = 1,   /* u_t = theta_t U_t */
  NL_WRITE_FROZEN_L2 = 2 /* u_t = theta_t (U_t - k_t S_c), S_c the state at the start of the token's chunk */
};

/* w_t = u_t - e_t (k_t S_{t-1});  P_t = m_t P_{t-1} + k_t^T w_t;  S_t = a_t S_{t-1} + P_t;  o_t as read.
 * Gates that are null: a = 1, e = 0, m = 0 (and then there is no P). States that are null: zero. */
typedef struct nl_scan_arguments {
  uint32_t size;
  int32_t batch, time, heads, key_dim, value_dim; /* B, T, H, Dk, Dv */
  int32_t chunk;                                  /* 1 to 256 */
  int32_t read;                                   /* enum nl_scan_read */
  int32_t write;                                  /* enum nl_scan_write */
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
  float* o;       /* [B, T, H, Dv] */
  float* s;       /* [B, H, Dk, Dv]: the final memory; may be s0 */
  float* p;       /* the same of P, given exactly when mu is; may be p0 */
  float* states;  /* [B, H, chunks, Dk, Dv]: S at each chunk's start. Forward: an output, null when not wanted. Backward: */
  float* momenta; /* an input. The same of P, where mu is given. */
} nl_scan_arguments;

/* What arrives at the results (null is zero) and where the inputs' gradients go (null is not wanted). Only the inputs and
 * the chunk-start states of nl_scan_arguments are read. */
typedef struct nl_scan_gradients {
  uint32_t size;
  uint32_t reserved;
  const float* d_o;   /* [B, T, H, Dv] */
  const float* d_s;   /* [B, H, Dk, Dv]: of the final memory */
  const float* d_p;
  float* dq;          /* written, each with its input's shape */
  float* dk;
  float* du;
  float* d_log_alpha; /* 0 where a = 0 */
  float* d_erase;
  float* d_mu;
  float* d_theta;
  float* ds0;
  float* dp0;
} nl_scan_gradients;

/* Pieces of the forward pass; the backward pass has B H. */
NL_API int32_t nl_scan_forward_pieces(const nl_scan_arguments* arguments, int64_t* pieces);

/* Floats of workspace that one call needs, whatever its pieces. */
NL_API int32_t nl_scan_forward_workspace(const nl_scan_arguments* arguments, int64_t* floats);
NL_API int32_t nl_scan_backward_workspace(const nl_scan_arguments* arguments, int64_t* floats);

NL_API int32_t nl_scan_forward(const nl_scan_arguments* arguments, int64_t begin, int64_t end, float* workspace);
NL_API int32_t nl_scan_backward(const nl_scan_arguments* arguments, const nl_scan_gradients* gradients, int64_t begin,
                                int64_t end, float* workspace);

/* ---- Self-modifying scan: pieces are heads ------------------------------------------------------------------- */

enum nl_memory_objective { NL_OBJECTIVE_L2 = 0, NL_OBJECTIVE_DOT = 1 };

/* The memories of a head lie side by side as the columns [k (D) | v (D) | mem (D) | eta (1) | alpha (1)] of S [D, 3D + 2].
 * With S_c the state at the start of the token's chunk:
 *   k = norm(x S_k,c)   v = x S_v,c   eta = softplus(x S_eta,c + eta_bias) eta_scale   a = sigmoid(x S_alpha,c + alpha_bias)
 *   S_t = a S_{t-1} - eta k^T (k S_{t-1}) - eta k^T (k S_c - v S_c)     the last bracket is -v S_c for the dot product
 *   o_t = q S_mem,t-1 or q S_mem,t, as read */
typedef struct nl_self_modifying_arguments {
  uint32_t size;
  int32_t batch, time, heads, dim; /* B, T, H, D */
  int32_t chunk;                   /* 1 to 256 */
  int32_t objective;               /* enum nl_memory_objective */
  int32_t read;                    /* enum nl_scan_read */
  float eta_scale, eta_bias, alpha_bias;
  float norm_epsilon;              /* norm(x) = x / sqrt(sum x^2 + epsilon^2) */
  const float* x;                  /* [B, T, H, D] */
  const float* q;                  /* [B, T, H, D] */
  const float* s0;                 /* [B, H, D, 3D + 2] */
  float* o;                        /* [B, T, H, D] */
  float* s;                        /* the final memories; may be s0 */
  float* states;                   /* [B, H, chunks, D, 3D + 2] at each chunk's start. Forward: an output, null when not
                                    * wanted. Backward: an input. */
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
} nl_self_modifying_gradients;

NL_API int32_t nl_self_modifying_forward_workspace(const nl_self_modifying_arguments* arguments, int64_t* floats);
NL_API int32_t nl_self_modifying_backward_workspace(const nl_self_modifying_arguments* arguments, int64_t* floats);

NL_API int32_t nl_self_modifying_forward(const nl_self_modifying_arguments* arguments, int64_t begin, int64_t end,
                                         float* workspace);
NL_API int32_t nl_self_modifying_backward(const nl_self_modifying_arguments* arguments,
                                          const nl_self_modifying_gradients* gradients, int64_t begin, int64_t end,
                                          float* workspace);

#ifdef __cplusplus
}
#endif

#endif /* NESTED_LEARNING_H_ */
