// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.container.Capabilities;
import dev.nacelle.container.Capability;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.container.ProcessSecurity.Scheduler;
import dev.nacelle.container.ResourceLimit;
import dev.nacelle.container.SeccompAction;
import dev.nacelle.container.SeccompProfile;
import dev.nacelle.proto.agent.v1.Security;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class ConfinementTest {
  @Test
  void theDefaultIsTold() {
    Security message =
        Confinement.of(ProcessSecurity.DEFAULT, new byte[] {6, 0, 0, 0, 0, 0, 0, 0}).toProto();
    assertEquals(0xa80425fbL, message.getCapabilities().getBounding());
    assertEquals(0xa80425fbL, message.getCapabilities().getEffective());
    assertTrue(message.getCapabilities().getRootOnly());
    assertEquals(8, message.getSeccomp().getFilter().size());
    assertEquals(022, message.getUmask());
    assertFalse(message.hasScheduler() || message.hasPersonality() || message.hasIoPriority());
  }

  @Test
  void everythingIsTold() {
    Set<Capability> chown = EnumSet.of(Capability.CHOWN);
    Set<Capability> both = EnumSet.of(Capability.CHOWN, Capability.BPF);
    BitSet processors = new BitSet();
    processors.set(9);
    SeccompProfile profile =
        SeccompProfile.of(
            SeccompAction.ALLOW,
            Set.of(),
            Set.of(SeccompProfile.Flag.LOG, SeccompProfile.Flag.SPEC_ALLOW),
            List.of());
    ProcessSecurity security =
        ProcessSecurity.builder()
            .capabilities(Capabilities.sets(both, chown, both, chown, chown))
            .noNewPrivileges(true)
            .seccomp(profile)
            .limit(ResourceLimit.Resource.NOFILE, new ResourceLimit(5, ResourceLimit.UNLIMITED))
            .oomScoreAdj(-7)
            .umask(077)
            .additionalGroups(List.of(4294967294L))
            .scheduler(Scheduler.nice(Scheduler.Policy.BATCH, -3))
            .personality(8)
            .cpuAffinity(processors)
            .build();
    Security message = Confinement.of(security, new byte[8]).toProto();
    assertEquals(1L << 39 | 1, message.getCapabilities().getPermitted());
    assertEquals(1, message.getCapabilities().getAmbient());
    assertFalse(message.getCapabilities().getRootOnly());
    assertTrue(message.getNoNewPrivileges());
    assertEquals(6, message.getSeccomp().getFlags());
    assertEquals(7, message.getResourceLimits(0).getResource());
    assertEquals(-1, message.getResourceLimits(0).getHard());
    assertEquals(List.of(-2), message.getAdditionalGidsList());
    assertEquals(3, message.getScheduler().getPolicy());
    assertEquals(-3, message.getScheduler().getNice());
    assertEquals(8, message.getPersonality());
    assertEquals(2, message.getCpuAffinity().size());
  }

  @Test
  void withoutAFilterThereIsNone() {
    assertFalse(Confinement.of(ProcessSecurity.PRIVILEGED, new byte[0]).toProto().hasSeccomp());
  }
}
