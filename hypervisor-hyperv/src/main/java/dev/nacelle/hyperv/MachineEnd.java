// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.hyperv.schema.CrashReport;
import dev.nacelle.hyperv.schema.DocumentException;
import dev.nacelle.hyperv.schema.SystemExitStatus;
import dev.nacelle.hyperv.schema.SystemExitStatus.NotificationType;
import dev.nacelle.hyperv.sys.HcsEvent;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * How a machine ended, from what the service tells of it; the first end counts. Safe for use from
 * several threads.
 */
final class MachineEnd implements Consumer<HcsEvent> {
  private static final String NO_WORDS = "its console says why";

  private final Runnable onEnd;
  private final AtomicReference<@Nullable VmExit> exit = new AtomicReference<>();
  private final CountDownLatch set = new CountDownLatch(1);
  private volatile @Nullable String lastWords;
  private volatile boolean crashed;
  private volatile boolean closing;
  private volatile @Nullable String failure;

  /**
   * @param onEnd called once, on whichever thread tells of the end
   */
  MachineEnd(Runnable onEnd) {
    this.onEnd = onEnd;
  }

  @Override
  public void accept(HcsEvent event) {
    switch (event.type()) {
      case CRASH_INITIATED -> crashed = true;
      case CRASH_REPORT -> {
        lastWords = CrashReport.lastWords(event.document());
        crashed = true;
      }
      case SYSTEM_EXITED -> set(describe(event.document()));
      case SERVICE_DISCONNECT ->
          set(
              closing
                  ? closed()
                  : VmExit.of(
                      Reason.HOST_ERROR,
                      "the Host Compute Service ended, and its machines with it"));
    }
  }

  private VmExit describe(@Nullable String document) {
    if (closing) {
      return closed();
    }
    String failed = failure;
    if (failed != null) {
      return VmExit.of(Reason.HOST_ERROR, failed);
    }
    if (crashed) {
      return VmExit.of(
          Reason.RESET,
          "the guest's kernel crashed: " + Objects.requireNonNullElse(lastWords, NO_WORDS));
    }
    SystemExitStatus status = null;
    try {
      status = document == null ? null : SystemExitStatus.parse(document);
    } catch (DocumentException e) {
      // It has ended all the same.
    }
    NotificationType type = status == null ? null : status.exitType();
    if (type == NotificationType.GRACEFUL_EXIT) {
      return VmExit.of(Reason.POWER_OFF, "the guest ended itself");
    }
    if (type == NotificationType.FORCED_EXIT) {
      return VmExit.of(Reason.HOST_ERROR, "somebody else ended the machine");
    }
    String code = status == null ? "" : String.format(" (0x%08X)", status.status());
    return type == NotificationType.UNEXPECTED_EXIT
        ? VmExit.of(Reason.CRASHED, "the machine ended unexpectedly" + code)
        : VmExit.of(Reason.HOST_ERROR, "the machine ended without a reason" + code);
  }

  private static VmExit closed() {
    return VmExit.of(Reason.CLOSED, "the virtual machine was closed");
  }

  private void set(VmExit how) {
    if (exit.compareAndSet(null, how)) {
      set.countDown();
      onEnd.run();
    }
  }

  /** It cannot go on, and is about to be ended for that, which its end is told as. */
  void failing(String why) {
    failure = why;
  }

  /** It could not go on, which counts unless its end was told. */
  void failed(String why) {
    set(VmExit.of(Reason.HOST_ERROR, why));
  }

  /** It is ended by this process from now on. */
  void closing() {
    closing = true;
  }

  /** It has been, whatever the service told. */
  void close() {
    set(closed());
  }

  boolean hasCome() {
    return set.getCount() == 0;
  }

  /** Waits for it, whatever interrupts. */
  VmExit await() {
    boolean interrupted = false;
    while (true) {
      try {
        set.await();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    VmExit how = exit.get();
    return how == null ? closed() : how;
  }
}
