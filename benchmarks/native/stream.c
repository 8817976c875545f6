/* Memory bandwidth: a variant of STREAM (copy, scale, add, triad over three arrays of double), controlled over stdin.
 *
 * Own source after the published definition of STREAM; figures are comparable with it, and must be called a variant.
 * Other than the original the scalar changes with every iteration, so that the values stay near 1 however many there
 * are and no lost iteration goes unseen.
 *
 *   stream THREADS ELEMENTS
 *
 * stdin, one command a line            stdout, one JSON object a line
 *   run     one iteration                {"run": i, "copy": s, "scale": s, "add": s, "triad": s}
 *   check   compare all elements         {"check": true|false, "iterations": n, "max_relative_error": x, "limit": x}
 *   quit, or the end of stdin            (ends with 0)
 * The first line out is {"hello": "stream", ...}, or {"error": "...", ...} and exit status 3.
 */
#define _GNU_SOURCE
#include <float.h>
#include <math.h>
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
#define EACH _Pragma("omp parallel for schedule(static)")
#define EACH_WORST _Pragma("omp parallel for schedule(static) reduction(max : worst)")

/* pointers that the compiler knows nothing about: each kernel must really load and store */
static double *volatile where[3];
static long elements;
/* what every element of each array must be */
static double expected[3] = {1.0, 2.0, 0.0};

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The smallest step that the clock was seen to make. */
static double resolution(void) {
  double least = 1.0;
  for (int i = 0; i < 100; i++) {
    double from = seconds(), to = from;
    while (to <= from) to = seconds();
    if (to - from < least) least = to - from;
  }
  return least;
}

/* Free memory in bytes as the kernel estimates it; -1 where it does not say. */
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

/* Below 1 it grows the values, above 1 it shrinks them; never twice the same in a row. */
static double scalar_of(long i, double a) {
  double fraction = (double)i * 0.6180339887498949;
  fraction -= floor(fraction);
  return (a > 1.0 ? 0.3 : 0.5) + 0.1 * fraction;
}

/* By memcpy, which is what compilers make of the original's loop; each thread has its part of the static schedule. */
static void copy(void) {
  const double *a = where[0];
  double *c = where[2];
#pragma omp parallel
  {
    long threads = 1, me = 0;
#ifdef _OPENMP
    threads = omp_get_num_threads();
    me = omp_get_thread_num();
#endif
    long part = elements / threads, rest = elements % threads;
    long from = me * part + (me < rest ? me : rest), count = part + (me < rest);
    memcpy(c + from, a + from, (size_t)count * sizeof *c);
  }
}

static void scale(double s) {
  double *b = where[1];
  const double *c = where[2];
  EACH for (long j = 0; j < elements; j++) b[j] = s * c[j];
}

static void add(void) {
  const double *a = where[0], *b = where[1];
  double *c = where[2];
  EACH for (long j = 0; j < elements; j++) c[j] = a[j] + b[j];
}

static void triad(double s) {
  double *a = where[0];
  const double *b = where[1], *c = where[2];
  EACH for (long j = 0; j < elements; j++) a[j] = b[j] + s * c[j];
}

static double farthest(const double *values, double wanted) {
  double worst = 0;
  EACH_WORST for (long j = 0; j < elements; j++) {
    double away = fabs(values[j] - wanted);
    /* a NaN is never greater, and must not pass */
    if (!(away <= worst)) worst = away == away ? away : HUGE_VAL;
  }
  return wanted != 0 ? worst / fabs(wanted) : worst;
}

static void check(long done) {
  double worst = 0;
  for (int k = 0; k < 3; k++) {
    double other = farthest(where[k], expected[k]);
    if (other > worst) worst = other;
  }
  /* the reference allows 1e-13 after ten; each iteration adds a few roundings at most */
  double limit = 8 * DBL_EPSILON * (double)done;
  if (limit < 1e-13) limit = 1e-13;
  if (worst > 1e300) worst = 1e300; /* JSON has no infinity */
  printf("{\"check\": %s, \"iterations\": %ld, \"max_relative_error\": %.3e, \"limit\": %.3e}\n",
         worst <= limit ? "true" : "false", done, worst, limit);
}

static void run(long i) {
  double s = scalar_of(i, expected[0]), at[5];
  at[0] = seconds();
  copy();
  at[1] = seconds();
  scale(s);
  at[2] = seconds();
  add();
  at[3] = seconds();
  triad(s);
  at[4] = seconds();
  expected[2] = expected[0];
  expected[1] = s * expected[2];
  expected[2] = expected[0] + expected[1];
  expected[0] = expected[1] + s * expected[2];
  printf("{\"run\": %ld, \"copy\": %.9f, \"scale\": %.9f, \"add\": %.9f, \"triad\": %.9f}\n", i, at[1] - at[0],
         at[2] - at[1], at[3] - at[2], at[4] - at[3]);
}

static int refuse(const char *why, double needed, double have) {
  printf("{\"error\": \"%s\", \"needed_bytes\": %.0f, \"available_bytes\": %.0f}\n", why, needed, have);
  fflush(stdout);
  return 3;
}

int main(int argc, char **argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 1;
  elements = argc > 2 ? atol(argv[2]) : 0;
  double needed = 3.0 * (double)elements * sizeof(double), have = available();
  if (threads < 1 || threads > 65536 || elements < 1 || needed > 1e15) return refuse("bad arguments", needed, have);
  if (have < 0) return refuse("the host does not say how much memory is available", needed, have);
  if (needed > 0.5 * have) return refuse("more than half of the available memory", needed, have);
  for (int k = 0; k < 3; k++) {
    void *memory = NULL;
    if (posix_memalign(&memory, 2 << 20, (size_t)elements * sizeof(double))) return refuse("no memory", needed, have);
    where[k] = memory;
  }
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
  /* each thread touches first what it will work on */
  double *a = where[0], *b = where[1], *c = where[2];
  EACH for (long j = 0; j < elements; j++) {
    a[j] = 1.0;
    b[j] = 2.0;
    c[j] = 0.0;
  }
  printf("{\"hello\": \"stream\", \"threads\": %d, \"openmp\": %s, \"elements\": %ld, \"bytes\": %.0f, "
         "\"compiler\": \"%s\", \"timer_resolution_s\": %.9f}\n",
         got,
#ifdef _OPENMP
         "true",
#else
         "false",
#endif
         elements, needed, __VERSION__, resolution());
  fflush(stdout);

  char line[64];
  long done = 0;
  while (fgets(line, sizeof line, stdin)) {
    if (!strcmp(line, "run\n"))
      run(done++);
    else if (!strcmp(line, "check\n"))
      check(done);
    else if (!strcmp(line, "quit\n"))
      break;
    else
      printf("{\"error\": \"unknown command\"}\n");
    fflush(stdout);
  }
  return 0;
}
