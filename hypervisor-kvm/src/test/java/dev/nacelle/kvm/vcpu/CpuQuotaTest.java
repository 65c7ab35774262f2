// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.vcpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class CpuQuotaTest {
  private static final long START = Long.MAX_VALUE - 7;
  private static final long PERIOD = CpuQuota.PERIOD_NANOS;
  private static final long SLICE = CpuQuota.SLICE_NANOS;

  @Test
  void whatThereIsInAPeriodIsTakenInSlicesAndThenWaitedFor() {
    CpuQuota quota = new CpuQuota(0.12);
    assertEquals(SLICE, quota.take(START));
    assertEquals(SLICE, quota.take(START + 1));
    assertEquals(SLICE * 2 / 5, quota.take(START + 2));
    assertEquals(3 - PERIOD, quota.take(START + 3));
    assertEquals(-1, quota.take(START + PERIOD - 1));
    assertEquals(SLICE, quota.take(START + PERIOD));
  }

  @Test
  void whatNobodyTookIsGone() {
    CpuQuota quota = new CpuQuota(0.05);
    assertEquals(SLICE, quota.take(START));
    assertEquals(SLICE, quota.take(START + 1000 * PERIOD));
    assertEquals(1 - PERIOD, quota.take(START + 1000 * PERIOD + 1));
  }

  @Test
  void whatWasHadTooMuchIsPaidForByLaterPeriods() {
    CpuQuota quota = new CpuQuota(0.05);
    assertEquals(SLICE, quota.take(START));
    quota.owe(SLICE + SLICE / 2);
    assertEquals(-PERIOD, quota.take(START + PERIOD));
    assertEquals(SLICE / 2, quota.take(START + 2 * PERIOD));
  }

  @Test
  void aQuotaOfMoreThanThereIsIsNone() {
    CpuQuota quota = new CpuQuota(Double.MAX_VALUE);
    for (int i = 0; i < 1000; i++) {
      assertEquals(SLICE, quota.take(START + i * PERIOD * 1000));
    }
  }
}
