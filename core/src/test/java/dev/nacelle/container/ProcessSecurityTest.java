// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.SpecContract;
import dev.nacelle.container.ProcessSecurity.IoPriority;
import dev.nacelle.container.ProcessSecurity.Scheduler;
import dev.nacelle.container.ProcessSecurity.Scheduler.Policy;
import dev.nacelle.container.ResourceLimit.Resource;
import java.util.BitSet;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class ProcessSecurityTest {
  private static final Set<Capability> CHOWN = Set.of(Capability.CHOWN);

  private static BitSet processors(long bits) {
    return BitSet.valueOf(new long[] {bits});
  }

  @Test
  void everySettingCountsIsCopiedAndCanBeTakenBack() throws Exception {
    new SpecContract(ProcessSecurity.class, ProcessSecurity::builder)
        .with("capabilities", 0, Capabilities.NONE, Capabilities.ALL)
        .with(
            "seccomp",
            0,
            SeccompProfile.UNCONFINED,
            SeccompProfile.parse("{\"defaultAction\":\"SCMP_ACT_LOG\"}"))
        .with("limit", 1, new ResourceLimit(1, 2), new ResourceLimit(1, 3))
        .with("additionalGroups", 0, List.of(1L), List.of(2L))
        .with("scheduler", 0, Scheduler.nice(Policy.OTHER, 1), Scheduler.nice(Policy.BATCH, 1))
        .with(
            "ioPriority",
            0,
            new IoPriority(IoPriority.Kind.IDLE, 0),
            new IoPriority(IoPriority.Kind.REAL_TIME, 7))
        .with("cpuAffinity", 0, processors(1), processors(2))
        .check();
  }

  @Test
  void dockersCapabilitiesAreThoseOfDocker() {
    long bits = Capabilities.DOCKER.bounding().stream().mapToLong(c -> 1L << c.number()).sum();
    assertEquals(0xa80425fbL, bits);
    assertEquals(40, Capability.CHECKPOINT_RESTORE.number());
    assertEquals(21, Capability.SYS_ADMIN.number());
    assertEquals(Capability.BPF, Capability.parse("CAP_BPF"));
    assertRefused("there is no capability CAP_FLY", () -> Capability.parse("CAP_FLY"));
  }

  @Test
  void oneSetCanBeChangedAndFiveCannot() {
    Capabilities more = Capabilities.NONE.plus(Capability.CHOWN).plus(Capability.BPF);
    assertEquals(Capabilities.of(CHOWN), more.minus(Capability.BPF));
    assertTrue(more.rootOnly());
    Capabilities five = Capabilities.sets(CHOWN, CHOWN, CHOWN, CHOWN, CHOWN);
    assertThrows(IllegalStateException.class, () -> five.plus(Capability.BPF));
  }

  @Test
  void setsThatNoProcessCanHaveAreRefused() {
    assertRefused(
        "capabilities are effective and not permitted: [CHOWN]",
        () -> Capabilities.sets(CHOWN, CHOWN, Set.of(), Set.of(), Set.of()));
    assertRefused(
        "capabilities are ambient and not permitted: [CHOWN]",
        () -> Capabilities.sets(CHOWN, Set.of(), Set.of(), CHOWN, CHOWN));
    assertRefused(
        "capabilities are ambient and not inheritable: [CHOWN]",
        () -> Capabilities.sets(CHOWN, Set.of(), CHOWN, Set.of(), CHOWN));
    assertRefused(
        "capabilities are inheritable and not bounding: [CHOWN]",
        () -> Capabilities.sets(Set.of(), Set.of(), CHOWN, CHOWN, Set.of()));
  }

  @Test
  void whatIsWrongIsNamed() {
    ProcessSecurity.Builder security = ProcessSecurity.builder();
    assertRefused(
        "an OOM score's adjustment is -1000 to 1000, not 1001", () -> security.oomScoreAdj(1001));
    assertRefused("not a umask: 01000", () -> security.umask(01000));
    assertRefused(
        "no user or group has the number -1", () -> security.additionalGroups(List.of(-1L)));
    assertRefused(
        "a process may have 1024 additional groups, not 1025",
        () -> security.additionalGroups(Collections.nCopies(1025, 1L)));
    BitSet many = new BitSet();
    many.set(1024);
    assertRefused("no processor has a number above 1023", () -> security.cpuAffinity(many));
    assertRefused(
        "the soft limit unlimited is beyond the hard one, 1",
        () -> new ResourceLimit(ResourceLimit.UNLIMITED, 1));
    assertRefused("there is no resource limit RLIMIT_FUN", () -> Resource.parse("RLIMIT_FUN"));
    assertEquals(7, Resource.parse("RLIMIT_NOFILE").number());
    assertRefused(
        "an I/O priority is 0 to 7, not 8", () -> new IoPriority(IoPriority.Kind.IDLE, 8));
    assertEquals(3 << 13 | 1, new IoPriority(IoPriority.Kind.IDLE, 1).value());
    assertRefused("the action ERRNO has no value 4096", () -> SeccompAction.errno(4096));
  }
}
