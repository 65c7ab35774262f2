// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.GuestProcess;
import dev.nacelle.NacelleException;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Signal;
import dev.nacelle.Stage;
import dev.nacelle.StandardStream;
import dev.nacelle.agent.Confinement;
import dev.nacelle.agent.ProcessRequest;
import dev.nacelle.agent.ProcessRequest.Outputs;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.image.ImageConfig;
import dev.nacelle.internal.check.Bounds;
import dev.nacelle.seccomp.SeccompFilters;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What a process gets where nothing is said: the process's word first, then the sandbox's, then the
 * image's.
 */
final class ProcessPlan {
  /** What container runtimes give to images that say nothing of PATH. */
  private static final String DEFAULT_PATH =
      "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

  private final SandboxSpec sandbox;
  private final ImageConfig image;
  private final SeccompFilters filters;

  /**
   * @param filters of the sandbox's kernel
   */
  ProcessPlan(SandboxSpec sandbox, ImageConfig image, SeccompFilters filters) {
    this.sandbox = sandbox;
    this.image = image;
    this.filters = filters;
  }

  /**
   * @param stdin whether the process reads something
   */
  ProcessRequest request(ProcessSpec process, boolean stdin) {
    return request(process, stdin, false);
  }

  /**
   * @param hold whether it is to wait before its command
   */
  ProcessRequest request(ProcessSpec process, boolean stdin, boolean hold) {
    List<String> arguments = arguments(process);
    List<String> environment = environment(process.environment());
    try {
      Bounds.strings(arguments, environment);
    } catch (IllegalArgumentException e) {
      throw new ProcessException(
          ProcessException.Reason.NOT_STARTED,
          "With what the sandbox and its image say, " + e.getMessage(),
          "Give it less, or replace the image's.",
          e);
    }
    return new ProcessRequest(
        arguments,
        environment,
        process
            .workingDirectory()
            .or(sandbox::workingDirectory)
            .or(image::workingDirectory)
            .orElse("/"),
        process.user().or(sandbox::user).or(image::user).orElse(""),
        process.terminal().orElse(null),
        process.timeout().map(Duration::toNanos).orElse(0L),
        stdin,
        ownStopSignal(process).map(Signal::number).orElse(0),
        process.linger().map(Duration::toNanos).orElse(-1L),
        process.startTimeout().toNanos(),
        process.isEntrypoint() && !sandbox.init(),
        outputs(process),
        confinement(process),
        process.executable().orElse(""),
        hold);
  }

  private Confinement confinement(ProcessSpec process) {
    ProcessSecurity security = process.security().orElse(sandbox.security());
    try {
      return Confinement.of(security, filters.of(security));
    } catch (IllegalArgumentException e) {
      throw new ProcessException(
          ProcessException.Reason.NOT_STARTED,
          String.valueOf(e.getMessage()),
          "Take a smaller seccomp profile.",
          e);
    }
  }

  private static Outputs outputs(ProcessSpec process) {
    // A terminal's are one as it is.
    boolean one = process.mergeStderr() || process.terminal().isPresent();
    return new Outputs(
        process.mergeStderr() && process.terminal().isEmpty(),
        process.discarded().contains(StandardStream.STDOUT),
        process.discarded().contains(StandardStream.STDERR) && !one);
  }

  /**
   * Looks at what processes get from the image alone.
   *
   * @throws NacelleException when no process could be given that
   */
  void checkImage() {
    try {
      if (sandbox.workingDirectory().isEmpty()) {
        Bounds.bytes("WorkingDir", image.workingDirectory().orElse(""), Bounds.PATH_BYTES);
      }
      if (sandbox.user().isEmpty()) {
        Bounds.bytes("User", image.user().orElse(""), Bounds.USER_BYTES);
      }
      Bounds.strings(entrypoint(List.of()), environment(Map.of()));
    } catch (IllegalArgumentException e) {
      throw new NacelleException(
          Stage.IMAGE,
          "The configuration of the image "
              + sandbox.image()
              + " cannot be applied: "
              + e.getMessage(),
          "Replace that in the sandbox's specification, or take another image.",
          e);
    }
  }

  /** What {@link GuestProcess#stop} sends. */
  Signal stopSignal(ProcessSpec process) {
    return ownStopSignal(process).orElse(Signal.TERM);
  }

  private Optional<Signal> ownStopSignal(ProcessSpec process) {
    return process
        .stopSignal()
        .or(() -> process.isEntrypoint() ? entrypointStopSignal() : Optional.empty());
  }

  private Optional<Signal> entrypointStopSignal() {
    return sandbox.stopSignal().or(() -> image.stopSignal().flatMap(Signal::find));
  }

  private List<String> arguments(ProcessSpec process) {
    if (!process.isEntrypoint()) {
      return process.arguments();
    }
    List<String> arguments = entrypoint(process.arguments());
    if (arguments.isEmpty()) {
      throw new ProcessException(
          ProcessException.Reason.NOT_STARTED,
          "The image " + sandbox.image() + " says neither Entrypoint nor Cmd",
          "Give the command to run.",
          null);
    }
    return arguments;
  }

  private List<String> entrypoint(List<String> given) {
    List<String> arguments = new ArrayList<>(sandbox.entrypoint().orElse(image.entrypoint()));
    arguments.addAll(given.isEmpty() ? command() : given);
    return arguments;
  }

  /** An image's Cmd is meant for its own Entrypoint. */
  private List<String> command() {
    return sandbox
        .command()
        .orElseGet(() -> sandbox.entrypoint().isPresent() ? List.of() : image.command());
  }

  private List<String> environment(Map<String, String> own) {
    Map<String, String> variables = new LinkedHashMap<>();
    variables.put("PATH", DEFAULT_PATH);
    for (String variable : image.environment()) {
      int equals = variable.indexOf('=');
      if (equals > 0) {
        variables.put(variable.substring(0, equals), variable.substring(equals + 1));
      }
    }
    variables.putAll(sandbox.environment());
    variables.putAll(own);
    return Bounds.entries(variables);
  }
}
