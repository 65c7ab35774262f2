// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.cpu;

import static dev.nacelle.kvm.sys.KvmCpuid.EAX;
import static dev.nacelle.kvm.sys.KvmCpuid.EBX;
import static dev.nacelle.kvm.sys.KvmCpuid.ECX;
import static dev.nacelle.kvm.sys.KvmCpuid.EDX;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.kvm.sys.KvmCpuid;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CpuidPolicyTest {
  private static final int ABSENT = -1;

  private final KvmCpuid supported = supported();

  private static KvmCpuid supported() {
    KvmCpuid cpuid = KvmCpuid.empty();
    cpuid.add(0, 0, false, 0x10, 0x6874_7541, 0x444d_4163, 0x6974_6e65); // AuthenticAMD
    cpuid.add(1, 0, false, 0x8_0f12, 0x5504_0800, 0x0000_8025, -1);
    cpuid.add(4, 0, true, 0xfc00_4121, 0, 0, 0);
    cpuid.add(4, 3, true, 0x0004_0163, 0, 0, 0);
    cpuid.add(6, 0, false, 4, 0, 9, 0);
    cpuid.add(0xa, 0, false, 0x0730_0402, 0, 0, 0);
    cpuid.add(0xb, 0, true, 1, 2, 0x100, 0x55);
    cpuid.add(0xb, 1, true, 6, 64, 0x201, 0x55);
    cpuid.add(0x1f, 0, true, 1, 2, 0x100, 0x55);
    cpuid.add(0x8000_0001, 0, false, 0, 0, 0x00c0_0027, 0);
    cpuid.add(0x8000_0008, 0, false, 0x3028, 0, 0x703f, 0);
    cpuid.add(0x8000_000a, 0, false, 1, 0x8000, 0, -1);
    cpuid.add(0x8000_001e, 0, false, 0x55, 0x102, 3, 0);
    return cpuid;
  }

  private static int find(KvmCpuid cpuid, int leaf, int subleaf) {
    for (int n = 0; n < cpuid.count(); n++) {
      if (cpuid.leaf(n) == leaf && cpuid.subleaf(n) == subleaf) {
        return n;
      }
    }
    return ABSENT;
  }

  private static int get(KvmCpuid cpuid, int leaf, int subleaf, int register) {
    return cpuid.get(find(cpuid, leaf, subleaf), register);
  }

  @Test
  void tellsEachProcessorItsIdentifier() {
    CpuidPolicy policy = new CpuidPolicy(supported, true);
    for (int id = 0; id < 3; id++) {
      KvmCpuid cpuid = policy.forVcpu(id, 3);
      assertEquals(id << 24 | 3 << 16 | 0x0800, get(cpuid, 1, 0, EBX));
      assertEquals(id, get(cpuid, 0xb, 0, EDX));
      assertEquals(id, get(cpuid, 0xb, 1, EDX));
      assertEquals(id, get(cpuid, 0x8000_001e, 0, EAX));
      assertEquals(id, get(cpuid, 0x8000_001e, 0, EBX));
      assertEquals(0, get(cpuid, 0x8000_001e, 0, ECX));
    }
  }

  @ParameterizedTest
  @CsvSource({"1, 0", "2, 1", "3, 2", "4, 2", "5, 3", "65, 7", "254, 8"})
  void tellsOnePackageOfCores(int cpus, int bits) {
    KvmCpuid cpuid = new CpuidPolicy(supported, true).forVcpu(0, cpus);
    assertEquals(0, get(cpuid, 0xb, 0, EAX), "one thread in a core");
    assertEquals(1, get(cpuid, 0xb, 0, EBX));
    assertEquals(0x100, get(cpuid, 0xb, 0, ECX));
    assertEquals(bits, get(cpuid, 0xb, 1, EAX));
    assertEquals(cpus, get(cpuid, 0xb, 1, EBX));
    assertEquals(0x201, get(cpuid, 0xb, 1, ECX));
    assertEquals(2, get(cpuid, 0xb, 2, ECX), "no further level");
    assertEquals(bits << 12 | cpus - 1, get(cpuid, 0x8000_0008, 0, ECX));
    assertEquals(cpus > 1 ? 1 : 0, get(cpuid, 1, 0, EDX) >>> 28 & 1);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 65, 254})
  void tellsWhoSharesCaches(int cpus) {
    KvmCpuid intel = KvmCpuid.empty();
    intel.add(0, 0, false, 0x10, 0x756e_6547, 0x6c65_746e, 0x4965_6e69); // GenuineIntel
    intel.add(4, 0, true, 0xfc00_4121, 0, 0, 0);
    intel.add(4, 3, true, 0x0004_0163, 0, 0, 0);
    KvmCpuid cpuid = new CpuidPolicy(intel, true).forVcpu(0, cpus);
    assertEquals(0x121, get(cpuid, 4, 0, EAX) & 0x3fff, "the rest is kept");
    assertEquals(0, get(cpuid, 4, 0, EAX) >>> 14 & 0xfff, "a level 1 cache is one core's");
    assertEquals(cpus - 1, get(cpuid, 4, 3, EAX) >>> 14 & 0xfff, "level 3 is everybody's");
    assertEquals(Math.min(cpus - 1, 63), get(cpuid, 4, 3, EAX) >>> 26, "as many as it can say");
  }

  @Test
  void saysThatThereIsAHypervisorWithADeadlineTimer() {
    assertEquals(0x8100_0001, get(new CpuidPolicy(supported, true).forVcpu(0, 1), 1, 0, ECX));
    assertEquals(0x8000_0001, get(new CpuidPolicy(supported, false).forVcpu(0, 1), 1, 0, ECX));
  }

  @Test
  void hidesNestedVirtualization() {
    KvmCpuid cpuid = new CpuidPolicy(supported, true).forVcpu(0, 1);
    assertEquals(0, get(cpuid, 1, 0, ECX) & 1 << 5, "VMX");
    assertEquals(0, get(cpuid, 0x8000_0001, 0, ECX) & 1 << 2, "SVM");
    assertEquals(ABSENT, find(cpuid, 0x8000_000a, 0));
  }

  @Test
  void hidesPerformanceCountersAndThisHostsTopology() {
    KvmCpuid cpuid = new CpuidPolicy(supported, true).forVcpu(0, 1);
    assertEquals(ABSENT, find(cpuid, 0xa, 0));
    assertEquals(0, get(cpuid, 1, 0, ECX) & (1 << 15 | 1 << 2), "PDCM, DTES64");
    assertEquals(0, get(cpuid, 1, 0, EDX) & 1 << 21, "DS");
    assertEquals(0, get(cpuid, 0x8000_0001, 0, ECX) & 1 << 23, "PERFCTR_CORE");
    assertEquals(ABSENT, find(cpuid, 0x1f, 0));
    assertEquals(0, get(cpuid, 6, 0, ECX), "APERF, MPERF, EPB");
  }

  @Test
  void keepsTheOtherFeatures() {
    KvmCpuid cpuid = new CpuidPolicy(supported, true).forVcpu(0, 2);
    assertEquals(0x1f8b_fbff, get(cpuid, 1, 0, EDX));
    assertEquals(0x40_0023, get(cpuid, 0x8000_0001, 0, ECX));
  }

  @Test
  void changesNothingThatIsShared() {
    CpuidPolicy policy = new CpuidPolicy(supported, true);
    int count = policy.forVcpu(0, 2).count();
    assertEquals(count, policy.forVcpu(1, 2).count());
    assertEquals(0x0002_0800, get(policy.forVcpu(0, 2), 1, 0, EBX));
    assertEquals(0x5504_0800, get(supported, 1, 0, EBX));
  }

  @Test
  void fitsThisHost() {
    try (Kvm kvm = Kvm.open()) {
      KvmCpuid host = kvm.supportedCpuid();
      KvmCpuid cpuid = new CpuidPolicy(host, true).forVcpu(1, 2);
      assertNotEquals(ABSENT, find(cpuid, 0x4000_0000, 0), "KVM's paravirtualisation");
      assertEquals(0x0102, get(cpuid, 1, 0, EBX) >>> 16);
    }
  }
}
