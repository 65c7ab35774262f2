// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.time.Instant;

/**
 * What happens to a sandbox. First come the stages of its start, each as a pair, of which some
 * overlap; then {@link Started} and, at its end, {@link Ended}; or {@link StartFailed} alone.
 * Between those two come its pauses, and what happens in its guest: processes by {@link
 * GuestProcessInfo#id()}, limits, pressure. The latter is the guest's word: bounded, but not
 * verified.
 *
 * <p>Later versions may have events of more kinds, which is why a {@code switch} needs a default.
 * Those that there are get no more components, so that they can be made and taken apart as records:
 * what else is known of a sandbox comes by its {@linkplain #sandboxId() identifier}. Immutable.
 */
public sealed interface SandboxEvent {
  /** {@link Sandbox#id()}, which no other sandbox has. */
  String sandboxId();

  /** The sandbox's name, which others may have, too. */
  String sandboxName();

  /** When it happened, by the host's wall clock. */
  Instant time();

  /**
   * A stage of starting it begins.
   *
   * @param stage which
   */
  record StageStarted(String sandboxId, String sandboxName, Instant time, Stage stage)
      implements SandboxEvent {}

  /**
   * A stage of starting it is over, successfully or not.
   *
   * @param stage which
   * @param duration how long it took
   */
  record StageEnded(
      String sandboxId, String sandboxName, Instant time, Stage stage, Duration duration)
      implements SandboxEvent {}

  /** It is ready to run processes. */
  record Started(String sandboxId, String sandboxName, Instant time) implements SandboxEvent {}

  /**
   * It did not become ready, and nothing is left of it.
   *
   * @param failure what the caller of {@link Nacelle#start(SandboxSpec)} gets; a {@link
   *     java.util.concurrent.CancellationException} when the start was given up
   */
  record StartFailed(String sandboxId, String sandboxName, Instant time, Throwable failure)
      implements SandboxEvent {}

  /**
   * Its machine stands still: the first {@linkplain Sandbox#pause(String) pause} has begun. Others
   * that begin meanwhile are not told of.
   *
   * @param reason {@link Pause#reason()} of that one
   */
  record Paused(String sandboxId, String sandboxName, Instant time, String reason)
      implements SandboxEvent {}

  /**
   * Its machine goes on, since the last pause is closed. Not told of one that ends while it is
   * paused.
   *
   * @param paused for how long it stood still
   */
  record Resumed(String sandboxId, String sandboxName, Instant time, Duration paused)
      implements SandboxEvent {}

  /**
   * A process was started.
   *
   * @param processId {@link GuestProcessInfo#id()}
   * @param pid {@link GuestProcess#pid()}
   * @param command its command line; cut after 256 bytes
   */
  record ProcessStarted(
      String sandboxId, String sandboxName, Instant time, long processId, long pid, String command)
      implements SandboxEvent {}

  /**
   * A process that was started has ended; others that it started may be left, and its outputs may
   * not have arrived yet.
   *
   * @param processId {@link GuestProcessInfo#id()}
   * @param status its exit code or signal, and nothing else
   */
  record ProcessExited(
      String sandboxId, String sandboxName, Instant time, long processId, ExitStatus status)
      implements SandboxEvent {}

  /**
   * A process and all that it started have ended. Comes within about a second.
   *
   * @param processId {@link GuestProcessInfo#id()}
   */
  record ProcessTreeEnded(String sandboxId, String sandboxName, Instant time, long processId)
      implements SandboxEvent {}

  /**
   * The guest's kernel ended processes for want of memory.
   *
   * @param processId {@link GuestProcessInfo#id()} of what they are, or were started by
   * @param kills how many, since the last time that this was told of that process
   */
  record OomKilled(String sandboxId, String sandboxName, Instant time, long processId, long kills)
      implements SandboxEvent {}

  /**
   * Something was refused, or held up, because a limit of the sandbox was reached.
   *
   * @param limit which
   * @param times how often, since the last time that this was told: once a second at most
   */
  record LimitReached(String sandboxId, String sandboxName, Instant time, Limit limit, long times)
      implements SandboxEvent {}

  /** Limits that are told of. More may be added: a {@code switch} has a default. */
  enum Limit {
    /** {@link SandboxSpec#pidsLimit()} */
    PIDS,
    /**
     * {@link SandboxSpec#openFilesLimit()}. How often is not counted: told once, and again when
     * there was room meanwhile. The limit that each process has for itself (EMFILE) is not told of.
     */
    OPEN_FILES
  }

  /**
   * Some processes waited for a resource for 15 % of two seconds or more.
   *
   * @param resource for which
   * @param pressure at that moment; its averages lag behind
   */
  record PressureRose(
      String sandboxId, String sandboxName, Instant time, Resource resource, Pressure pressure)
      implements SandboxEvent {}

  /** Resources that processes wait for. More may be added: a {@code switch} has a default. */
  enum Resource {
    /** Memory. */
    MEMORY,
    /** Disks. */
    IO
  }

  /**
   * A filesystem that the sandbox writes to has no room left, for bytes or for files. Looked at
   * each second, and told again when there was room meanwhile.
   *
   * @param filesystem which
   */
  record FilesystemFull(String sandboxId, String sandboxName, Instant time, Filesystem filesystem)
      implements SandboxEvent {}

  /** Filesystems that are written to. More may be added: a {@code switch} has a default. */
  enum Filesystem {
    /** The {@linkplain SandboxSpec#writableLayer() writable layer}. */
    ROOT,
    /** /dev/shm: {@link SandboxSpec#sharedMemory()} */
    SHARED_MEMORY,
    /** One of the {@linkplain SandboxSpec#dataDisks() data disks}. */
    DATA_DISK
  }

  /**
   * The guest's kernel logged a warning, or something more severe; at most 20 a second.
   *
   * @param level as syslog(2): 0, an emergency, to 4, a warning
   * @param message one line, without control characters
   * @param suppressed how many before it were too many to be told
   */
  record KernelWarning(
      String sandboxId,
      String sandboxName,
      Instant time,
      int level,
      String message,
      long suppressed)
      implements SandboxEvent {}

  /**
   * More happened in the guest than was taken from it in time: 256 events are kept there.
   *
   * @param count how many events are not told
   */
  record EventsLost(String sandboxId, String sandboxName, Instant time, long count)
      implements SandboxEvent {}

  /**
   * It had started, has ended, and nothing is left of it.
   *
   * @param exit why
   */
  record Ended(String sandboxId, String sandboxName, Instant time, SandboxExit exit)
      implements SandboxEvent {}
}
