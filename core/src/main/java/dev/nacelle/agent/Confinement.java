// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import com.google.protobuf.ByteString;
import dev.nacelle.container.Capability;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.container.ProcessSecurity.IoPriority;
import dev.nacelle.container.SeccompProfile;
import dev.nacelle.proto.agent.v1.Capabilities;
import dev.nacelle.proto.agent.v1.ResourceLimit;
import dev.nacelle.proto.agent.v1.Scheduler;
import dev.nacelle.proto.agent.v1.Seccomp;
import dev.nacelle.proto.agent.v1.Security;
import java.util.Set;

/**
 * What a process may do, as the agent is told.
 *
 * @param security as it was asked for
 * @param filter the instructions of its seccomp profile; empty for none
 */
public record Confinement(ProcessSecurity security, ByteString filter) {
  /**
   * @param filter the instructions of its seccomp profile, which are copied; empty for none
   */
  public static Confinement of(ProcessSecurity security, byte[] filter) {
    return new Confinement(security, ByteString.copyFrom(filter));
  }

  Security toProto() {
    Security.Builder message =
        Security.newBuilder()
            .setCapabilities(capabilities(security.capabilities()))
            .setNoNewPrivileges(security.noNewPrivileges())
            .setOomScoreAdj(security.oomScoreAdj())
            .setUmask(security.umask())
            .addAllAdditionalGids(security.additionalGroups().stream().map(Long::intValue).toList())
            .setCpuAffinity(ByteString.copyFrom(security.cpuAffinity().toByteArray()));
    if (!filter.isEmpty()) {
      int flags = 0;
      for (SeccompProfile.Flag flag : security.seccomp().flags()) {
        flags |= flag.bit();
      }
      message.setSeccomp(Seccomp.newBuilder().setFilter(filter).setFlags(flags));
    }
    security
        .limits()
        .forEach(
            (resource, limit) ->
                message.addResourceLimits(
                    ResourceLimit.newBuilder()
                        .setResource(resource.number())
                        .setSoft(limit.soft())
                        .setHard(limit.hard())));
    security.scheduler().map(Confinement::scheduler).ifPresent(message::setScheduler);
    security.ioPriority().map(IoPriority::value).ifPresent(message::setIoPriority);
    security.personality().ifPresent(message::setPersonality);
    return message.build();
  }

  private static Capabilities capabilities(dev.nacelle.container.Capabilities sets) {
    return Capabilities.newBuilder()
        .setBounding(bits(sets.bounding()))
        .setEffective(bits(sets.effective()))
        .setPermitted(bits(sets.permitted()))
        .setInheritable(bits(sets.inheritable()))
        .setAmbient(bits(sets.ambient()))
        .setRootOnly(sets.rootOnly())
        .build();
  }

  private static long bits(Set<Capability> set) {
    long bits = 0;
    for (Capability capability : set) {
      bits |= 1L << capability.number();
    }
    return bits;
  }

  private static Scheduler scheduler(ProcessSecurity.Scheduler scheduler) {
    return Scheduler.newBuilder()
        .setPolicy(scheduler.policy().number())
        .setNice(scheduler.nice())
        .setPriority(scheduler.priority())
        .setFlags(scheduler.flags())
        .setRuntimeNanos(scheduler.runtimeNanos())
        .setDeadlineNanos(scheduler.deadlineNanos())
        .setPeriodNanos(scheduler.periodNanos())
        .build();
  }
}
