// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.oci;

import dev.nacelle.InterruptedOperationException;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.Stage;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.internal.ExternalProcess;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/** Runs hooks, one after the other, each to its end. */
final class HookRuns {
  /** What is kept of what a hook says. */
  private static final int MAX_OUTPUT = 4096;

  /** Of a hook without a timeout: no limit that anybody lives to see. */
  private static final Duration FOR_EVER = Duration.ofDays(36_500);

  private HookRuns() {}

  /** A hook failed. */
  static final class HookFailedException extends ProcessException {
    private static final long serialVersionUID = 1L;

    HookFailedException(Hook.Kind kind, Hook hook, String what, @Nullable Throwable cause) {
      super(
          Reason.NOT_STARTED,
          "The hook " + kind.property() + " " + hook.path() + " failed: " + what,
          "See what the hook says, or leave it out.",
          cause);
    }
  }

  /**
   * Runs one; the state comes on its stdin.
   *
   * @param sandbox where it runs if it runs in the container
   */
  static void run(Hook.Kind kind, Hook hook, Sandbox sandbox, OciState state) {
    if (kind.isInContainer()) {
      runInContainer(kind, hook, sandbox, state);
    } else {
      runOnHost(kind, hook, state);
    }
  }

  private static void runInContainer(Hook.Kind kind, Hook hook, Sandbox sandbox, OciState state) {
    ProcessSpec.Builder process =
        ProcessSpec.builder(hook.arguments())
            .executable(hook.path())
            .user("0:0")
            .workingDirectory("/")
            .environment(hook.environment())
            .security(ProcessSecurity.PRIVILEGED)
            .stdin(state.toJson());
    hook.timeout().ifPresent(process::timeout);
    try {
      sandbox.exec(process.build()).orThrow();
    } catch (ProcessException e) {
      throw new HookFailedException(kind, hook, String.valueOf(e.getMessage()), e);
    }
  }

  private static void runOnHost(Hook.Kind kind, Hook hook, OciState state) {
    List<String> command = new ArrayList<>(hook.arguments());
    command.set(0, hook.path());
    try {
      // A file, since a hook need not read what it is told.
      Path told = Files.createTempFile("nacelle-hook-", ".json");
      try {
        Files.writeString(told, state.toJson());
        ExternalProcess ended =
            ExternalProcess.run(
                command,
                state.bundle(),
                hook.environment(),
                told,
                MAX_OUTPUT,
                hook.timeout().orElse(FOR_EVER));
        if (ended.exitCode() != 0) {
          throw new HookFailedException(
              kind, hook, "exit code " + ended.exitCode() + ": " + ended.output().strip(), null);
        }
      } finally {
        Files.deleteIfExists(told);
      }
    } catch (InterruptedIOException e) {
      throw new InterruptedOperationException(
          Stage.RUN, String.valueOf(e.getMessage()), new InterruptedException());
    } catch (IOException e) {
      throw new HookFailedException(kind, hook, String.valueOf(e.getMessage()), e);
    } catch (TimeoutException e) {
      throw new HookFailedException(
          kind, hook, "it had not ended after " + hook.timeout().orElse(FOR_EVER), e);
    }
  }
}
