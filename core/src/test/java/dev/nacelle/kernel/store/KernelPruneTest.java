// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.KernelException;
import dev.nacelle.PrunePolicy;
import dev.nacelle.PruneResult;
import dev.nacelle.PruneResult.Kind;
import dev.nacelle.PruneResult.Removed;
import dev.nacelle.kernel.KernelRef;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What goes from a store of kernels, and what stays. */
class KernelPruneTest {
  @TempDir Path temp;
  private Path directory;
  private KernelStore store;

  @BeforeEach
  void makeStore() {
    directory = temp.resolve("store");
    store = new KernelStore(directory);
  }

  private KernelLease lease(String release) throws IOException {
    KernelRef ref = KernelRef.deb(TestTools.kernelPackage(temp, release));
    return store.lease(() -> store.resolve(ref));
  }

  private static Set<Kind> kinds(PruneResult result) {
    return result.removed().stream()
        .map(Removed::kind)
        .collect(Collectors.toCollection(() -> EnumSet.noneOf(Kind.class)));
  }

  private List<Path> files() throws IOException {
    try (Stream<Path> files = Files.walk(directory)) {
      return files.filter(Files::isRegularFile).filter(file -> !file.endsWith(".locks")).toList();
    }
  }

  private void age(Duration age) throws IOException {
    for (Path file : files()) {
      Files.setLastModifiedTime(file, FileTime.from(Instant.now().minus(age)));
    }
  }

  @Test
  void whatNobodyUsesGoesAndIsMadeAnewWhenItIsUsedAgain() throws IOException {
    KernelRef ref = KernelRef.deb(TestTools.kernelPackage(temp, "6.1.0-a"));
    ResolvedKernel kernel = store.resolve(ref);
    long size = Files.size(kernel.vmlinux());

    PruneResult result = store.prune(PrunePolicy.everything());

    assertEquals(EnumSet.of(Kind.KERNEL), kinds(result));
    assertTrue(result.freed().bytes() >= size, result::toString);
    assertEquals(0, result.left().bytes());
    assertEquals(List.of(), files());
    assertEquals("6.1.0-a", store.resolve(ref).version());
  }

  @Test
  void aKernelInUseStaysAlsoForAnotherStoreOfTheSameDirectory() throws IOException {
    KernelLease lease = lease("6.1.0-a");
    store.resolve(KernelRef.deb(TestTools.kernelPackage(temp, "6.1.0-b")));
    KernelStore other = new KernelStore(directory);

    PruneResult result = other.prune(PrunePolicy.everything());

    assertTrue(Files.exists(lease.kernel().vmlinux()));
    assertTrue(lease.kernel().modules().contains("overlay"), "its modules");
    assertEquals(3, result.removed().stream().filter(r -> r.kind() == Kind.KERNEL).count());
    assertFalse(result.storeBusy());

    lease.close();
    other.prune(PrunePolicy.everything());
    assertFalse(Files.exists(lease.kernel().vmlinux()));
    assertEquals(List.of(), files());
  }

  @Test
  void nothingGoesWhileAKernelIsLookedUp() throws IOException {
    ResolvedKernel there = store.resolve(KernelRef.deb(TestTools.kernelPackage(temp, "6.1.0-a")));
    try (KernelLease lease =
        store.lease(
            () -> {
              PruneResult result = new KernelStore(directory).prune(PrunePolicy.everything());
              assertTrue(result.storeBusy());
              assertEquals(List.of(), result.removed());
              assertTrue(result.left().bytes() > 0);
              return there;
            })) {
      assertTrue(Files.exists(lease.kernel().vmlinux()));
    }
  }

  @Test
  void whatWasNotUsedForLongGoes() throws IOException {
    ResolvedKernel old = store.resolve(KernelRef.deb(TestTools.kernelPackage(temp, "6.1.0-a")));
    age(Duration.ofDays(8));
    ResolvedKernel young = store.resolve(KernelRef.deb(TestTools.kernelPackage(temp, "6.1.0-b")));

    store.prune(PrunePolicy.unusedFor(Duration.ofDays(7)));

    assertFalse(Files.exists(old.vmlinux()));
    assertTrue(Files.exists(young.vmlinux()));
  }

  @Test
  void anEmptyStoreHasNothingToPruneAndIsNotMade() {
    assertEquals(List.of(), store.prune(PrunePolicy.everything()).removed());
    assertFalse(Files.exists(directory));
  }

  @Test
  void aStoreThatIsNoneIsNamed() throws IOException {
    Files.createFile(directory);
    KernelException e =
        assertThrows(KernelException.class, () -> store.prune(PrunePolicy.everything()));
    assertEquals(KernelException.Reason.HOST_DISK, e.reason());
    assertTrue(e.getMessage().contains(directory.toString()), e.getMessage());
  }
}
