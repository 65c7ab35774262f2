// SPDX-License-Identifier: Apache-2.0
//
// Prints how fast the time stamp counter of this machine is, in kHz; as fast is that of QEMU's emulated processors.
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define TRIES 16

struct moment {
  int64_t nanoseconds;
  uint64_t ticks;
};

// Of several readings the one that was interrupted least.
static struct moment now(void) {
  struct moment best = {0, 0};
  uint64_t shortest = UINT64_MAX;
  for (int i = 0; i < TRIES; i++) {
    struct timespec time;
    uint64_t before = __rdtsc();
    clock_gettime(CLOCK_MONOTONIC, &time);
    uint64_t took = __rdtsc() - before;
    if (took >= shortest) continue;
    shortest = took;
    best = (struct moment){time.tv_sec * 1000000000LL + time.tv_nsec, before + took / 2};
  }
  return best;
}

int main(void) {
  struct moment first = now();
  struct timespec pause = {0, 100 * 1000 * 1000};
  nanosleep(&pause, NULL);
  struct moment last = now();
  printf("%.0f\n", (last.ticks - first.ticks) * 1e6 / (last.nanoseconds - first.nanoseconds));
  return 0;
}
