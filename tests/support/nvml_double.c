/* A stand-in for libnvidia-ml.so.1: fixed values, and faults read at every call from the file $NVML_DOUBLE names.
 *
 * Lines of that file:
 *   gpus N                 how many GPUs (2)
 *   mig GPU                this GPU has MIG enabled, with two instances
 *   fail FUNCTION CODE GPU the function (or *) returns CODE for that GPU (or for all: -1)
 *   hang FUNCTION SECONDS  the function sleeps first, as long as the line is there (0: for ever)
 *   process GPU PID BYTES  a compute process (BYTES -1: not available)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };

typedef struct { int gpu, mig; } device;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory_v1;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } process;

static device devices[64], migs[64][2];
static const unsigned long long MIB = 1ULL << 20;

static int number(const char *key, int otherwise)
{
    const char *path = getenv("NVML_DOUBLE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256], word[64];
    int value, found = otherwise;
    if (!file)
        return otherwise;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%63s %d", word, &value) == 2 && !strcmp(word, key))
            found = value;
    fclose(file);
    return found;
}

static int is_mig(int gpu)
{
    return number("mig", -1) == gpu;
}

/* the fault told for this function and GPU; sleeps where a hang is told */
static int fault(const char *name, int gpu)
{
    const char *path = getenv("NVML_DOUBLE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256], function[128];
    int code, which, seconds, result = SUCCESS, hang = -1;
    if (!file)
        return SUCCESS;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "fail %127s %d %d", function, &code, &which) == 3 &&
            (!strcmp(function, "*") || !strcmp(function, name)) && (which == -1 || which == gpu))
            result = code;
        if (sscanf(line, "hang %127s %d", function, &seconds) == 2 && !strcmp(function, name))
            hang = seconds;
    }
    fclose(file);
    if (hang == 0)
        for (;;)
            pause();
    if (hang > 0)
        sleep((unsigned)hang);
    return result;
}

#define CHECK(gpu) do { int code = fault(__func__, gpu); if (code) return code; } while (0)

int nvmlInitWithFlags(unsigned flags) { (void)flags; CHECK(-2); return SUCCESS; }
int nvmlInit_v2(void) { CHECK(-2); return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { static char text[32]; snprintf(text, sizeof text, "error %d", code); return text; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) { CHECK(-2); snprintf(text, size, "999.12.34"); return SUCCESS; }
int nvmlSystemGetCudaDriverVersion(int *version) { CHECK(-2); *version = 13020; return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { CHECK(-2); *version = 13020; return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned *count) { CHECK(-2); *count = (unsigned)number("gpus", 2); return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **out)
{
    CHECK((int)index);
    devices[index].gpu = (int)index;
    devices[index].mig = -1;
    *out = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(device *d, char *text, unsigned size)
{
    CHECK(d->gpu);
    if (d->mig < 0)
        snprintf(text, size, "GPU-00000000-0000-0000-0000-%012d", d->gpu);
    else
        snprintf(text, size, "MIG-00000000-0000-0000-%04d-%012d", d->mig, d->gpu);
    return SUCCESS;
}

int nvmlDeviceGetName(device *d, char *text, unsigned size)
{
    CHECK(d->gpu);
    snprintf(text, size, d->mig < 0 ? "Double GPU <\033[31m%d>" : "Double GPU MIG %d", d->mig < 0 ? d->gpu : d->mig);
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(device *d, unsigned *mw) { CHECK(d->gpu); *mw = 350000; return SUCCESS; }
int nvmlDeviceGetPowerManagementLimit(device *d, unsigned *mw) { CHECK(d->gpu); *mw = 360000; return SUCCESS; }

int nvmlDeviceGetMigMode(device *d, unsigned *now, unsigned *next)
{
    CHECK(d->gpu);
    *now = *next = (unsigned)is_mig(d->gpu);
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *count) { CHECK(d->gpu); *count = is_mig(d->gpu) ? 7 : 0; return SUCCESS; }

int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned index, device **out)
{
    CHECK(d->gpu);
    if (index > 1)
        return NOT_FOUND;
    migs[d->gpu][index].gpu = d->gpu;
    migs[d->gpu][index].mig = (int)index;
    *out = &migs[d->gpu][index];
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(device *d, utilization *out)
{
    CHECK(d->gpu);
    if (is_mig(d->gpu))
        return NOT_SUPPORTED;
    out->gpu = 40 + (unsigned)d->gpu;
    out->memory = 7;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(device *d, int sensor, unsigned *out) { (void)sensor; CHECK(d->gpu); *out = 60 + (unsigned)d->gpu; return SUCCESS; }
int nvmlDeviceGetPowerUsage(device *d, unsigned *mw) { CHECK(d->gpu); *mw = 123456; return SUCCESS; }
int nvmlDeviceGetClockInfo(device *d, int kind, unsigned *out) { CHECK(d->gpu); *out = kind == 1 ? 1980 : 2619; return SUCCESS; }
int nvmlDeviceGetFanSpeed(device *d, unsigned *out) { CHECK(d->gpu); *out = 33; return SUCCESS; }
int nvmlDeviceGetPerformanceState(device *d, int *out) { CHECK(d->gpu); *out = 2; return SUCCESS; }
int nvmlDeviceGetCurrPcieLinkGeneration(device *d, unsigned *out) { CHECK(d->gpu); *out = 5; return SUCCESS; }
int nvmlDeviceGetCurrPcieLinkWidth(device *d, unsigned *out) { CHECK(d->gpu); *out = 16; return SUCCESS; }

int nvmlDeviceGetCurrentClocksEventReasons(device *d, unsigned long long *out) { CHECK(d->gpu); *out = 0x44; return SUCCESS; }
int nvmlDeviceGetCurrentClocksThrottleReasons(device *d, unsigned long long *out) { CHECK(d->gpu); *out = 0x4; return SUCCESS; }

int nvmlDeviceGetTotalEccErrors(device *d, int kind, int counter, unsigned long long *out)
{
    (void)counter;
    CHECK(d->gpu);
    *out = kind == 0 ? 5 : 1;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(device *d, memory_v1 *out)
{
    CHECK(d->gpu);
    out->total = 81920 * MIB;
    out->used = 10000 * MIB + 614 * MIB; /* v1 counts what is reserved as used */
    out->free = out->total - out->used;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(device *d, memory_v2 *out)
{
    CHECK(d->gpu);
    if (out->version != (sizeof(memory_v2) | 2u << 24))
        return 25;
    out->total = (d->mig < 0 ? 81920 : 20480) * MIB;
    out->reserved = 614 * MIB;
    out->used = (d->mig < 0 ? 10000 : 1000) * MIB;
    out->free = out->total - out->used - out->reserved;
    return SUCCESS;
}

static int running(device *d, unsigned *count, process *out)
{
    const char *path = getenv("NVML_DOUBLE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256];
    int gpu;
    unsigned pid, found = 0;
    long long used;
    while (file && d->mig < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "process %d %u %lld", &gpu, &pid, &used) == 3 && gpu == d->gpu) {
            if (out && found < *count) {
                out[found].pid = pid;
                out[found].used = (unsigned long long)used;
                out[found].gi = out[found].ci = ~0u;
            }
            found++;
        }
    if (file)
        fclose(file);
    if (!found) {
        *count = 0;
        return SUCCESS;
    }
    if (found > *count || !out) {
        *count = found;
        return TOO_SMALL;
    }
    *count = found;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device *d, unsigned *count, process *out) { CHECK(d->gpu); return running(d, count, out); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(device *d, unsigned *count, process *out) { (void)out; CHECK(d->gpu); *count = 0; return SUCCESS; }
int nvmlSystemGetProcessName(unsigned pid, char *text, unsigned size) { CHECK(-2); snprintf(text, size, "double-%u", pid); return SUCCESS; }
