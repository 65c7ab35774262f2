// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.nacelle.HypervisorException;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.ErrnoException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class HugePagesTest {
  private static final long PAGE = 2 << 20;

  /** More than any host has. */
  private static final long TOO_MUCH = 1L << 45;

  @TempDir Path directory;

  private HypervisorException refusal(int errno, int reserved, int free, int promised)
      throws IOException {
    Files.writeString(directory.resolve("nr_hugepages"), reserved + "\n");
    Files.writeString(directory.resolve("free_hugepages"), free + "\n");
    Files.writeString(directory.resolve("resv_hugepages"), promised + "\n");
    return new HugePages(directory).refusal("m", 32, new ErrnoException("mmap", errno));
  }

  @Test
  void aShortageSaysHowManyAreFreeAndWhatReservesTheRest() throws Exception {
    HypervisorException e = refusal(Errno.ENOMEM, 40, 30, 9);
    assertTrue(
        e.getMessage()
            .contains(
                "wants 32 huge pages of 2 MiB, and of the 40 that this host has reserved 21 are"
                    + " free"),
        e::getMessage);
    assertTrue(e.remedy().orElseThrow().contains("sysctl vm.nr_hugepages=51"), e::getMessage);
  }

  @Test
  void freePagesThatMayNotBeHadAreSaidToBeLimited() throws Exception {
    HypervisorException e = refusal(Errno.ENOSPC, 40, 40, 0);
    assertTrue(e.getMessage().contains("40 are free, but this process may not have them"));
    assertTrue(e.remedy().orElseThrow().contains("hugetlb.2MB.max"), e::getMessage);
  }

  @Test
  void aKernelWithoutSuchPagesIsSaidToHaveNone() {
    HypervisorException e =
        new HugePages(directory.resolve("none"))
            .refusal("m", 32, new ErrnoException("memfd_create", Errno.ENOSYS));
    assertTrue(e.getMessage().contains("does not have"), e::getMessage);
    assertTrue(e.remedy().orElseThrow().contains("CONFIG_HUGETLBFS"), e::getMessage);
  }

  @Test
  void memoryThatIsNoWholePagesIsRefused() {
    HypervisorException e =
        assertThrows(
            HypervisorException.class, () -> HugePages.ofHost().allocate("m", PAGE + 4096));
    assertTrue(e.remedy().orElseThrow().contains("multiple of 2 MiB"), e::getMessage);
  }

  /** By the kernel itself, whatever it has reserved: a fault were the end of this process. */
  @Test
  void aShortageIsFoundBeforeAnythingIsTaken() throws Throwable {
    undisturbed(
        () -> {
          List<Long> before = counts();
          HypervisorException e =
              assertThrows(
                  HypervisorException.class, () -> HugePages.ofHost().allocate("much", TOO_MUCH));
          assertTrue(e.getMessage().contains("much wants " + TOO_MUCH / PAGE), e::getMessage);
          assertEquals(before, counts());
        });
  }

  @Test
  void allPagesAreTakenAtOnceAndAllComeBack() throws Throwable {
    undisturbed(
        () -> {
          List<Long> before = counts();
          assumeTrue(before.get(0) - before.get(1) >= 3, "fewer than 3 huge pages are free");
          try (GuestMemory memory = HugePages.ofHost().allocate("m", 3 * PAGE)) {
            assertEquals(List.of(before.get(0) - 3, before.get(1), before.get(2)), counts());
            assertEquals(3 * PAGE, memory.resident());
            memory.putLong(3 * PAGE - 8, 42);
            assertEquals(42, memory.getLong(3 * PAGE - 8));
            assertEquals(0, memory.getLong(PAGE));
            assertTrue(
                MemoryRegion.all().stream()
                    .anyMatch(region -> region.flags().contains("ht") && region.isKeptPrivate()));
          }
          assertEquals(before, counts());
        });
  }

  /**
   * Does something that goes by the host's counts: once more where it failed and they are others
   * than before, as another process may have changed them. What this one does is the same each of
   * the three times.
   */
  private static void undisturbed(Executable test) throws Throwable {
    for (int left = 2; ; left--) {
      List<Long> before = counts();
      try {
        test.execute();
        return;
      } catch (AssertionError | HypervisorException e) {
        if (left == 0 || counts().equals(before)) {
          throw e;
        }
      }
    }
  }

  /**
   * Free ones, those of them that are promised, and all that are reserved; zeros where there are
   * none.
   */
  private static List<Long> counts() throws IOException {
    Path host = HugePages.ofHost().directory();
    List<Long> counts = new ArrayList<>();
    for (String file : List.of("free_hugepages", "resv_hugepages", "nr_hugepages")) {
      Path count = host.resolve(file);
      counts.add(Files.exists(count) ? Long.parseLong(Files.readString(count).strip()) : 0);
    }
    return counts;
  }
}
