// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.cpu;

import static dev.nacelle.kvm.cpu.Register.EAX;
import static dev.nacelle.kvm.cpu.Register.EBX;
import static dev.nacelle.kvm.cpu.Register.ECX;
import static dev.nacelle.kvm.cpu.Register.EDX;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The policy on the processors of real servers: what it tells is allowed, offered, and agrees. */
class CpuidPolicyRecordedTest {
  private static final int AVX512 = 0xe0;
  private static final int PKRU = 1 << 9;
  private static final int TILE_CONFIG = 1 << 17;
  private static final int TILE_DATA = 1 << 18;

  static Stream<RecordedProcessor> processors() {
    return Stream.concat(RecordedProcessor.all(), Stream.of(halfAmx(TILE_DATA, 0x12)));
  }

  /** As KVM of Linux 5.17 to 6.3 offers it to a process that has not asked for AMX. */
  private static RecordedProcessor halfAmx(int missing, int subleaf) {
    CpuidTable cpuid = RecordedProcessor.of("intel-sapphire-rapids", "6.1").cpuid();
    cpuid.set(0xd, 0, EAX, cpuid.get(0xd, 0, EAX) & ~missing);
    cpuid.set(0xd, subleaf, 0, 0, 0, 0);
    return new RecordedProcessor("half of AMX", "6.1", cpuid);
  }

  /**
   * Leaves that are written from the machine's own topology and layout, not from what is offered.
   */
  private static final Set<Integer> COMPUTED =
      Set.of(0xb, 0x8000_0002, 0x8000_0003, 0x8000_0004, 0x8000_001e);

  @ParameterizedTest
  @MethodSource("processors")
  void tellsNothingThatIsNotOfferedAndAllowed(RecordedProcessor processor) {
    CpuidTable offered = processor.cpuid();
    CpuVendor vendor = CpuVendor.of(offered);
    CpuidTable told = processor.told(0, 1);
    for (int leaf : told.leaves()) {
      if (COMPUTED.contains(leaf) || leaf == 0xd) {
        continue;
      }
      for (int subleaf : told.subleaves(leaf)) {
        for (Register register : Register.values()) {
          int value = told.get(leaf, subleaf, register) & ~written(vendor, leaf, subleaf, register);
          String place = Integer.toHexString(leaf) + "." + subleaf + " " + register;
          int most = offered.get(leaf, subleaf, register);
          assertEquals(0, value & ~most, () -> place + " tells what KVM does not offer");
          int allowed = Leaves.mask(vendor, leaf, subleaf, register);
          assertEquals(0, value & ~allowed, () -> place + " tells what is not in the tables");
        }
      }
    }
  }

  /** Bits that the policy writes itself. */
  private static int written(CpuVendor vendor, int leaf, int subleaf, Register register) {
    if (register == EAX && subleaf == 0) {
      return switch (leaf) {
        case 0, 7, 0x4000_0000, 0x8000_0000 -> -1;
        case 0x8000_0008 -> 0xff00;
        default -> 0;
      };
    }
    if (leaf == 1) {
      return register == EBX ? 0xffff_0000 : register == ECX ? 1 << 31 | 1 << 24 : 0;
    }
    return leaf == 0x8000_0008 && register == ECX && vendor == CpuVendor.AMD ? -1 : 0;
  }

  @ParameterizedTest
  @MethodSource("processors")
  void tellsNothingOfAmx(RecordedProcessor processor) {
    CpuidTable told = processor.told(0, 1);
    assertEquals(0, told.get(7, 0, EDX) & (1 << 22 | 1 << 24 | 1 << 25), "BF16, TILE, INT8");
    assertEquals(0, told.get(7, 1, EAX) & 1 << 21, "FP16");
    assertEquals(0, told.get(7, 1, EDX) & 1 << 8, "COMPLEX");
    assertEquals(0, told.get(0xd, 0, EAX) & (TILE_CONFIG | TILE_DATA));
    assertEquals(0, told.get(0xd, 1, EAX) & 1 << 4, "XFD");
    assertEquals(0, told.get(0xd, 0x11, EAX) | told.get(0xd, 0x12, EAX));
    assertEquals(0, told.subleaves(0x1d).length + told.subleaves(0x1e).length);
  }

  @Test
  void makesNoDifferenceBetweenHalfOfAmxAndNone() {
    CpuidTable told = RecordedProcessor.of("intel-sapphire-rapids", "6.1").told(0, 1);
    assertEquals(describe(told), describe(halfAmx(TILE_DATA, 0x12).told(0, 1)));
    assertEquals(describe(told), describe(halfAmx(TILE_CONFIG, 0x11).told(0, 1)));
    assertEquals(0x2e7, told.get(0xd, 0, EAX));
    assertEquals(0xa88, told.get(0xd, 0, ECX), "without the tiles' 8 KiB");
  }

  @ParameterizedTest
  @MethodSource("processors")
  void tellsStatesTogetherWithWhatUsesThem(RecordedProcessor processor) {
    CpuidTable told = processor.told(0, 1);
    int xcr0 = told.get(0xd, 0, EAX);
    assertEquals(told.has(Feature.XSAVE) ? 3 : 0, xcr0 & 3);
    assertEquals(told.has(Feature.AVX) ? 4 : 0, xcr0 & 4);
    assertEquals(told.has(Feature.AVX512F) ? AVX512 : 0, xcr0 & AVX512, "all of AVX-512, or none");
    assertEquals(told.has(Feature.PKU) ? PKRU : 0, xcr0 & PKRU);
    assertEquals(0, xcr0 & ~(7 | AVX512 | PKRU), "no other states");
    assertEquals(0, told.get(0xd, 0, EDX));
    assertEquals(0, told.get(0xd, 1, ECX) | told.get(0xd, 1, EDX), "no supervisor states");
    for (Feature feature : Feature.values()) {
      if (told.has(feature) && feature.needs != null) {
        assertTrue(told.has(feature.needs), () -> feature + " without " + feature.needs);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("processors")
  void tellsSizesOfTheStatesThatAreLeft(RecordedProcessor processor) {
    CpuidTable told = processor.told(0, 1);
    int xcr0 = told.get(0xd, 0, EAX);
    int end = 576;
    List<Integer> states = new ArrayList<>(List.of(0, 1));
    for (int state = 2; state < 32; state++) {
      if ((xcr0 >>> state & 1) != 0) {
        states.add(state);
        assertTrue(told.get(0xd, state, EAX) > 0 && told.get(0xd, state, EBX) >= 576);
        assertEquals(
            processor.cpuid().get(0xd, state, EBX), told.get(0xd, state, EBX), "its place");
        end = Math.max(end, told.get(0xd, state, EBX) + told.get(0xd, state, EAX));
      }
    }
    assertEquals(states, toList(told.subleaves(0xd)));
    assertEquals(end, told.get(0xd, 0, ECX));
    assertEquals(576, told.get(0xd, 0, EBX), "what a reset leaves on");
    assertEquals(576, told.get(0xd, 1, EBX));
  }

  private static List<Integer> toList(int[] values) {
    List<Integer> list = new ArrayList<>();
    for (int value : values) {
      list.add(value);
    }
    return list;
  }

  @ParameterizedTest
  @MethodSource("processors")
  void tellsTheHighestLeafThatIsThere(RecordedProcessor processor) {
    CpuidTable told = processor.told(0, 1);
    boolean amd = CpuVendor.of(processor.cpuid()) == CpuVendor.AMD;
    assertEquals(0xd, told.get(0, 0, EAX));
    assertEquals(amd ? 0x8000_0021 : 0x8000_0008, told.get(0x8000_0000, 0, EAX));
    assertEquals(0x4000_0001, told.get(0x4000_0000, 0, EAX));
    List<Integer> leaves = toList(told.leaves());
    assertTrue(leaves.contains(0xd) && leaves.contains(told.get(0x8000_0000, 0, EAX)));
    int[] subleaves = told.subleaves(7);
    assertEquals(subleaves[subleaves.length - 1], told.get(7, 0, EAX));
    assertEquals(0x30, told.get(0x8000_0008, 0, EAX) >>> 8, "48 bits, as LA57 is not told");
    assertEquals(0, amd ? 0 : told.get(0x8000_0008, 0, ECX), "nothing on Intel's");
  }

  @ParameterizedTest
  @MethodSource("processors")
  void numbersProcessorsInEachPlaceAlike(RecordedProcessor processor) {
    boolean amd = CpuVendor.of(processor.cpuid()) == CpuVendor.AMD;
    for (int cpus : new int[] {1, 2, 3, 64, 254}) {
      int id = cpus - 1;
      CpuidTable told = processor.told(id, cpus);
      assertEquals(id, told.get(1, 0, EBX) >>> 24);
      assertEquals(cpus, told.get(1, 0, EBX) >>> 16 & 0xff);
      assertEquals(cpus > 1 ? 1 : 0, told.get(1, 0, EDX) >>> 28 & 1);
      assertEquals(id, told.get(0xb, 0, EDX));
      assertEquals(id, told.get(0xb, 1, EDX));
      assertEquals(cpus, told.get(0xb, 1, EBX));
      int bits = told.get(0xb, 1, EAX);
      assertTrue(id >>> bits == 0, "an identifier of one package");
      assertEquals(amd ? bits << 12 | id : 0, told.get(0x8000_0008, 0, ECX));
      assertEquals(amd ? id : 0, told.get(0x8000_001e, 0, EAX));
    }
  }

  @ParameterizedTest
  @MethodSource("processors")
  void answersForAnySubleafWhereThereIsOnlyOne(RecordedProcessor processor) {
    CpuidTable told = processor.told(0, 1);
    for (int leaf : told.leaves()) {
      if (!Set.of(4, 7, 0xb, 0xd, 0x8000_001d).contains(leaf)) {
        assertEquals(List.of(0), toList(told.subleaves(leaf)));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("processors")
  void hidesAsynchronousPageFaultsAndTunesNoPolling(RecordedProcessor processor) {
    assertEquals(0x0100_2aeb, processor.told(0, 1).get(0x4000_0001, 0, EAX));
  }

  @Test
  void namesProcessorsByTheirVendorAlone() {
    assertEquals(
        "Intel(R) Processor", name(RecordedProcessor.of("intel-icelake", "6.1").told(0, 1)));
    assertEquals("AMD Processor", name(RecordedProcessor.of("amd-milan", "6.1").told(0, 1)));
    RecordedProcessor hygon = RecordedProcessor.of("amd-milan", "6.1");
    hygon.cpuid().set(0, 0, 0x10, 0x6f67_7948, 0x656e_6975, 0x6e65_4772);
    assertEquals("Hygon Processor", name(hygon.told(0, 1)));
  }

  private static String name(CpuidTable told) {
    StringBuilder name = new StringBuilder();
    for (int leaf = 0x8000_0002; leaf <= 0x8000_0004; leaf++) {
      for (Register register : Register.values()) {
        for (int shift = 0; shift < 32; shift += 8) {
          int letter = told.get(leaf, 0, register) >>> shift & 0xff;
          if (letter != 0) {
            name.append((char) letter);
          }
        }
      }
    }
    return name.toString();
  }

  /**
   * What guests on one processor have under some of its host's kernels only. Intel's: KVM learned
   * of leaf 7's subleaf 2 with 6.1 or later, of AVX_VNNI and AVX512_FP16 with 5.11 to 5.16, of FZRM
   * to FSRC with 6.3, of PREFETCHI with 6.2. AMD's: of each way to guard against speculation as it
   * was found. All of them tell a kernel how to protect itself, or a program what it may use; to
   * leave them out for the sake of old hosts would cost those who have new ones.
   */
  private static final Map<String, Set<String>> BY_KERNEL =
      Map.of(
          "intel-cascadelake",
          Set.of(),
          "intel-icelake",
          Set.of("INTEL_PSFD"),
          "intel-sapphire-rapids",
          Set.of(
              "AVX512_FP16",
              "AVX_VNNI",
              "BHI_CTRL",
              "FSRC",
              "FSRS",
              "FZRM",
              "INTEL_PSFD",
              "IPRED_CTRL",
              "RRSBA_CTRL"),
          "intel-granite-rapids",
          Set.of(
              "AVX512_FP16",
              "AVX_VNNI",
              "BHI_CTRL",
              "DDPD_U",
              "FSRC",
              "FSRS",
              "FZRM",
              "INTEL_PSFD",
              "IPRED_CTRL",
              "MCDT_NO",
              "PREFETCHI",
              "RRSBA_CTRL"),
          "amd-milan",
          Set.of("AMD_IBRS_SAME_MODE", "AMD_PSFD", "IBPB_BRTYPE", "SBPB", "TSA_L1_NO", "TSA_SQ_NO"),
          "amd-genoa",
          Set.of(
              "AMD_IBPB_RET",
              "AMD_IBRS_SAME_MODE",
              "AMD_PSFD",
              "AUTOMATIC_IBRS",
              "IBPB_BRTYPE",
              "SBPB",
              "TSA_L1_NO",
              "TSA_SQ_NO"));

  @Test
  void differsByTheHostsKernelInNewFeaturesAndNothingElse() {
    Map<String, Set<String>> found = new TreeMap<>();
    for (String name : RecordedProcessor.names()) {
      Set<Feature> everywhere = EnumSet.allOf(Feature.class);
      Set<Feature> somewhere = EnumSet.noneOf(Feature.class);
      Set<String> rest = new TreeSet<>();
      for (String kernel : RecordedProcessor.KERNELS) {
        CpuidTable told = RecordedProcessor.of(name, kernel).told(0, 2);
        for (Feature feature : Feature.values()) {
          if (told.has(feature)) {
            somewhere.add(feature);
          } else {
            everywhere.remove(feature);
          }
          told.set(feature, false);
        }
        told.set(7, 0, EAX, 0); // the highest subleaf follows from the features
        told.removeZeros();
        rest.add(describe(told));
      }
      somewhere.removeAll(everywhere);
      found.put(name, new TreeSet<>(somewhere.stream().map(Feature::name).toList()));
      assertEquals(1, rest.size(), () -> name + " differs in " + rest);
    }
    assertEquals(new TreeMap<>(BY_KERNEL), found);
  }

  private static String describe(CpuidTable cpuid) {
    StringBuilder text = new StringBuilder();
    for (int leaf : cpuid.leaves()) {
      for (int subleaf : cpuid.subleaves(leaf)) {
        text.append(Integer.toHexString(leaf)).append('.').append(subleaf);
        for (Register register : Register.values()) {
          text.append(' ').append(Integer.toHexString(cpuid.get(leaf, subleaf, register)));
        }
        text.append('\n');
      }
    }
    return text.toString();
  }

  @Test
  void hasEachBitOnce() {
    Set<String> seen = new TreeSet<>();
    for (Feature feature : Feature.values()) {
      String place = feature.leaf + "." + feature.subleaf + feature.register + feature.bit;
      assertTrue(seen.add(place), () -> feature + " is a second name");
      assertFalse(feature.needs != null && feature.needs.ordinal() > feature.ordinal());
    }
  }

  @Test
  void tellsNothingNewOfAProcessorThatOffersEverything() {
    CpuidTable all = RecordedProcessor.of("intel-granite-rapids", "6.18").cpuid();
    for (int leaf = 1; leaf < 0x28; leaf++) {
      all.set(leaf, 0, -1, -1, -1, -1);
      all.set(leaf, 1, -1, -1, -1, -1);
      all.set(0x8000_0000 + leaf, 0, -1, -1, -1, -1);
      all.set(0x4000_0000 + leaf, 0, -1, -1, -1, -1);
    }
    all.set(7, 2, -1, -1, -1, -1);
    CpuidTable told = new RecordedProcessor("everything", "", all).told(0, 1);
    assertEquals(0x2e7, told.get(0xd, 0, EAX));
    assertEquals(
        List.of(0, 1, 2, 4, 6, 7, 0xb, 0xd, 0x4000_0000, 0x4000_0001),
        toList(told.leaves()).stream().filter(leaf -> leaf >= 0).toList());
    assertEquals(0x8000_0008, told.get(0x8000_0000, 0, EAX));
    assertEquals(List.of(0, 1, 2), toList(told.subleaves(7)));
  }
}
