/* C = A * B in double precision: portable C, not tuned LINPACK. Controlled over stdin like stream.c.
 *
 * The usual scheme: blocks of A and B are packed so that the innermost kernel reads both in order and keeps its part
 * of C in registers. Vectors are those of the compiler's extension (gcc, clang), as wide as the target has them.
 *
 *   dgemm THREADS SIZE
 *
 * stdin                                stdout
 *   run     one multiplication           {"run": i, "seconds": s, "flop": 2 * SIZE^3}
 *   check   C * x against A * (B * x)    {"check": true|false, "iterations": n, "scaled_residual": x, "limit": 16}
 *   quit, or the end of stdin            (ends with 0)
 * The first line out is {"hello": "dgemm", ...}, or {"error": "...", ...} and exit status 3.
 */
#define _GNU_SOURCE
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#ifndef __VERSION__
#define __VERSION__ "unknown"
#endif

/* vector length; rows and vectors of C that a kernel keeps in registers */
#if defined(__AVX512F__)
enum { VL = 8, MR = 8, NV = 3 };
#elif defined(__AVX__)
enum { VL = 4, MR = 6, NV = 2 };
#elif defined(__aarch64__)
enum { VL = 2, MR = 6, NV = 4 };
#else
enum { VL = 2, MR = 4, NV = 2 };
#endif
enum { NR = NV * VL, KC = 256, MC = 24 * MR, NC = 128 * NR };
typedef double vec __attribute__((vector_size(VL * sizeof(double)), may_alias));

static double *A, *B, *C, *packed_b;
static long size;
static int threads = 1;

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double resolution(void) {
  double least = 1.0;
  for (int i = 0; i < 100; i++) {
    double from = seconds(), to = from;
    while (to <= from) to = seconds();
    if (to - from < least) least = to - from;
  }
  return least;
}

static double available(void) {
  char line[256];
  double kib = -1;
  FILE *file = fopen("/proc/meminfo", "r");
  if (!file) return -1;
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "MemAvailable: %lf kB", &kib) == 1) break;
  fclose(file);
  return kib < 0 ? -1 : kib * 1024;
}

static int refuse(const char *why, double needed, double have) {
  printf("{\"error\": \"%s\", \"needed_bytes\": %.0f, \"available_bytes\": %.0f}\n", why, needed, have);
  fflush(stdout);
  return 3;
}

static long least(long one, long other) { return one < other ? one : other; }

/* The next of a fixed sequence in [-0.5, 0.5): splitmix64 of its place. */
static double number(uint64_t at) {
  uint64_t z = (at + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return (double)(z >> 11) * 0x1p-53 - 0.5;
}

/* rows x depth of A from (i, k): for each strip of MR rows, MR values for each k; what is beyond the matrix is 0 */
static void pack_a(double *to, long i, long k, long rows, long depth) {
  for (long strip = 0; strip < rows; strip += MR)
    for (long p = 0; p < depth; p++)
      for (long r = 0; r < MR; r++) *to++ = strip + r < rows ? A[(i + strip + r) * size + k + p] : 0.0;
}

/* one strip of B: depth x NR from (k, j) */
static void pack_strip(double *to, long k, long j, long depth) {
  long columns = least(NR, size - j);
  for (long p = 0; p < depth; p++)
    for (long c = 0; c < NR; c++) *to++ = c < columns ? B[(k + p) * size + j + c] : 0.0;
}

/* MR x NR of C += a strip of A times a strip of B */
static void kernel(const double *a, const double *b, long depth, double *c, long rows, long columns) {
  vec sum[MR][NV];
  for (int r = 0; r < MR; r++)
    for (int v = 0; v < NV; v++) sum[r][v] = (vec){0};
  for (long p = 0; p < depth; p++, a += MR, b += NR) {
    vec right[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) right[v] = *(const vec *)(b + v * VL);
#pragma GCC unroll 8
    for (int r = 0; r < MR; r++) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) sum[r][v] += a[r] * right[v];
    }
  }
  if (rows == MR && columns == NR) {
#pragma GCC unroll 8
    for (int r = 0; r < MR; r++) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) {
        vec old;
        memcpy(&old, c + r * size + v * VL, sizeof old);
        old += sum[r][v];
        memcpy(c + r * size + v * VL, &old, sizeof old);
      }
    }
    return;
  }
  vec part[MR][NV];
#pragma GCC unroll 8
  for (int r = 0; r < MR; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) part[r][v] = sum[r][v];
  }
  for (long r = 0; r < rows; r++)
    for (long v = 0; v < columns; v++) c[r * size + v] += part[r][v / VL][v % VL];
}

static void multiply(void) {
  /* at least four blocks of rows a thread, so that none waits long for another */
  long block = least(MC, (size / (4L * threads) / MR + 1) * MR);
#pragma omp parallel num_threads(threads)
  {
    double *packed_a = aligned_alloc(64, sizeof(double) * MC * KC);
    if (!packed_a) abort();
#pragma omp for schedule(static)
    for (long i = 0; i < size; i++) memset(C + i * size, 0, sizeof(double) * (size_t)size);
    for (long j = 0; j < size; j += NC) {
      long columns = least(NC, size - j);
      for (long k = 0; k < size; k += KC) {
        long depth = least(KC, size - k);
#pragma omp for schedule(static)
        for (long strip = 0; strip < columns; strip += NR) pack_strip(packed_b + strip * KC, k, j + strip, depth);
#pragma omp for schedule(dynamic)
        for (long i = 0; i < size; i += block) {
          long rows = least(block, size - i);
          pack_a(packed_a, i, k, rows, depth);
          for (long strip = 0; strip < columns; strip += NR)
            for (long r = 0; r < rows; r += MR)
              kernel(packed_a + r * depth, packed_b + strip * KC, depth, C + (i + r) * size + j + strip,
                     least(MR, rows - r), least(NR, columns - strip));
        }
      }
    }
    free(packed_a);
  }
}

static void times(const double *matrix, const double *x, double *y, double *norm) {
  double most = 0;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(max : most)
  for (long i = 0; i < size; i++) {
    double sum = 0, row = 0;
    for (long k = 0; k < size; k++) {
      sum += matrix[i * size + k] * x[k];
      row += fabs(matrix[i * size + k]);
    }
    y[i] = sum;
    if (row > most) most = row;
  }
  *norm = most;
}

/* |C x - A (B x)| / (|A| |B| |x| n eps), in the maximum norm; about 1 where nothing is wrong */
static void check(long done, double *x, double *bx, double *abx, double *cx) {
  double norm_a, norm_b, norm_c, norm_x = 0, worst = 0;
  for (long k = 0; k < size; k++) {
    x[k] = number((uint64_t)(3 * size * size + done * size + k));
    if (fabs(x[k]) > norm_x) norm_x = fabs(x[k]);
  }
  times(B, x, bx, &norm_b);
  times(A, bx, abx, &norm_a);
  times(C, x, cx, &norm_c);
  for (long i = 0; i < size; i++) {
    double away = fabs(cx[i] - abx[i]);
    if (!(away <= worst)) worst = away == away ? away : HUGE_VAL;
  }
  double residual = worst / (norm_a * norm_b * norm_x * (double)size * DBL_EPSILON);
  int good = done > 0 && residual <= 16;
  if (!(residual < 1e300)) residual = 1e300; /* JSON has no infinity */
  printf("{\"check\": %s, \"iterations\": %ld, \"scaled_residual\": %.3e, \"limit\": 16}\n", good ? "true" : "false",
         done, residual);
}

static void run(long i) {
  /* what an earlier multiplication left must not pass for this one's result; and A is another each time */
  for (long k = 0; k < size * size; k++) C[k] = NAN;
  for (long k = 0; k < size; k++) A[k * size + (k + i) % size] = number((uint64_t)(k + i));
  double from = seconds();
  multiply();
  double to = seconds();
  printf("{\"run\": %ld, \"seconds\": %.9f, \"flop\": %.0f}\n", i, to - from, 2.0 * (double)size * (double)size * (double)size);
}

int main(int argc, char **argv) {
  threads = argc > 1 ? atoi(argv[1]) : 1;
  size = argc > 2 ? atol(argv[2]) : 0;
  double have = available(), needed = 8.0 * (3.0 * (double)size * (double)size + (double)KC * (NC + NR) + 5.0 * (double)size);
  if (threads < 1 || threads > 65536 || size < 1 || needed > 1e15) return refuse("bad arguments", needed, have);
  if (have < 0) return refuse("the host does not say how much memory is available", needed, have);
  if (needed > 0.5 * have) return refuse("more than half of the available memory", needed, have);
  size_t square = ((size_t)size * (size_t)size * sizeof(double) + 63) / 64 * 64;
  A = aligned_alloc(64, square);
  B = aligned_alloc(64, square);
  C = aligned_alloc(64, square);
  packed_b = aligned_alloc(64, sizeof(double) * KC * NC);
  double *x = calloc(4 * (size_t)size, sizeof(double));
  if (!A || !B || !C || !packed_b || !x) return refuse("no memory", needed, have);
#ifdef _OPENMP
  omp_set_dynamic(0);
  omp_set_num_threads(threads);
  int got = 0;
#pragma omp parallel
#pragma omp atomic
  got++;
#else
  int got = 1;
#endif
#pragma omp parallel for schedule(static)
  for (long i = 0; i < size; i++)
    for (long k = 0; k < size; k++) {
      A[i * size + k] = number((uint64_t)(i * size + k));
      B[i * size + k] = number((uint64_t)(size * size + i * size + k));
      C[i * size + k] = 0;
    }
  printf("{\"hello\": \"dgemm\", \"threads\": %d, \"openmp\": %s, \"elements\": %ld, \"bytes\": %.0f, "
         "\"compiler\": \"%s\", \"timer_resolution_s\": %.9f, \"vector_doubles\": %d}\n",
         got,
#ifdef _OPENMP
         "true",
#else
         "false",
#endif
         size, needed, __VERSION__, resolution(), VL);
  fflush(stdout);

  char line[64];
  long done = 0;
  while (fgets(line, sizeof line, stdin)) {
    if (!strcmp(line, "run\n"))
      run(done++);
    else if (!strcmp(line, "check\n"))
      check(done, x, x + size, x + 2 * size, x + 3 * size);
    else if (!strcmp(line, "quit\n"))
      break;
    else
      printf("{\"error\": \"unknown command\"}\n");
    fflush(stdout);
  }
  return 0;
}
