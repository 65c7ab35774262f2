// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.ExitStatus;
import dev.nacelle.SandboxEvent;
import dev.nacelle.SandboxEvent.Filesystem;
import dev.nacelle.SandboxEvent.Limit;
import dev.nacelle.SandboxEvent.Resource;
import dev.nacelle.Signal;
import dev.nacelle.proto.agent.v1.Event;
import dev.nacelle.proto.agent.v1.KernelWarning;
import dev.nacelle.proto.agent.v1.LimitReached;
import dev.nacelle.proto.agent.v1.OomKill;
import dev.nacelle.proto.agent.v1.PressureRose;
import dev.nacelle.proto.agent.v1.ProcessExited;
import dev.nacelle.proto.agent.v1.ProcessStarted;
import java.time.Instant;
import org.jspecify.annotations.Nullable;

/** Reads what the guest says has happened to one sandbox; what it may say is bounded. */
final class EventReader {
  /** KERN_WARNING, the least severe level that is told. */
  private static final int LEAST_SEVERE = 4;

  private final String id;
  private final String name;

  EventReader(String sandboxId, String sandboxName) {
    id = sandboxId;
    name = sandboxName;
  }

  /** Null for what this version knows nothing of. */
  @Nullable SandboxEvent read(Event event) {
    Instant time = Instant.now().minusNanos(AgentInfo.notNegative(event.getAgeNanos()));
    return switch (event.getKindCase()) {
      case LOST -> new SandboxEvent.EventsLost(id, name, time, count(event.getLost()));
      case PROCESS_STARTED -> {
        ProcessStarted told = event.getProcessStarted();
        yield new SandboxEvent.ProcessStarted(
            id,
            name,
            time,
            told.getProcessId(),
            Integer.toUnsignedLong(told.getPid()),
            GuestText.clean(told.getCommand()));
      }
      case PROCESS_EXITED -> {
        ProcessExited told = event.getProcessExited();
        yield new SandboxEvent.ProcessExited(id, name, time, told.getProcessId(), status(told));
      }
      case TREE_ENDED -> new SandboxEvent.ProcessTreeEnded(id, name, time, event.getTreeEnded());
      case OOM_KILL -> {
        OomKill told = event.getOomKill();
        yield new SandboxEvent.OomKilled(
            id, name, time, told.getProcessId(), count(told.getKills()));
      }
      case LIMIT_REACHED -> {
        LimitReached told = event.getLimitReached();
        Limit which =
            switch (told.getLimit()) {
              case PIDS -> Limit.PIDS;
              case OPEN_FILES -> Limit.OPEN_FILES;
              case LIMIT_UNSPECIFIED, UNRECOGNIZED -> null;
            };
        yield which == null
            ? null
            : new SandboxEvent.LimitReached(id, name, time, which, count(told.getTimes()));
      }
      case PRESSURE_ROSE -> pressureRose(time, event.getPressureRose());
      case FILESYSTEM_FULL -> {
        Filesystem which =
            switch (event.getFilesystemFull()) {
              case ROOT -> Filesystem.ROOT;
              case SHARED_MEMORY -> Filesystem.SHARED_MEMORY;
              case DATA_DISK -> Filesystem.DATA_DISK;
              case FILESYSTEM_UNSPECIFIED, UNRECOGNIZED -> null;
            };
        yield which == null ? null : new SandboxEvent.FilesystemFull(id, name, time, which);
      }
      case KERNEL_WARNING -> {
        KernelWarning told = event.getKernelWarning();
        yield new SandboxEvent.KernelWarning(
            id,
            name,
            time,
            (int) Math.min(Integer.toUnsignedLong(told.getLevel()), LEAST_SEVERE),
            GuestText.clean(told.getMessage()),
            count(told.getSuppressed()));
      }
      case KIND_NOT_SET -> null;
    };
  }

  private @Nullable SandboxEvent pressureRose(Instant time, PressureRose told) {
    Resource resource =
        switch (told.getResource()) {
          case MEMORY -> Resource.MEMORY;
          case IO -> Resource.IO;
          case RESOURCE_UNSPECIFIED, UNRECOGNIZED -> null;
        };
    return resource == null
        ? null
        : new SandboxEvent.PressureRose(
            id, name, time, resource, StatisticsReader.pressure(told.getPressure()));
  }

  /** What is out of its bounds is the nearest that there is. */
  private static ExitStatus status(ProcessExited told) {
    return told.getStatusCase() == ProcessExited.StatusCase.SIGNAL
        ? ExitStatus.of(new Signal(Math.min(Math.max(told.getSignal(), 1), 64)))
        : ExitStatus.of(Math.min(Math.max(told.getExitCode(), 0), 255));
  }

  private static long count(long told) {
    return AgentInfo.notNegative(told);
  }
}
