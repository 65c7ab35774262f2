// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.internal.check.Bounds;
import dev.nacelle.internal.check.Paths;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A process to run in a sandbox. Immutable.
 *
 * <p>What is not said comes from the {@link SandboxSpec}, and what is not said there from the
 * image's configuration: environment, working directory and user, as {@code docker exec} does it.
 */
public final class ProcessSpec {
  /** What {@link Sandbox#exec(ProcessSpec)} keeps of each output without a limit: 16 MiB. */
  public static final DataSize DEFAULT_OUTPUT_LIMIT = DataSize.mebibytes(16);

  /** Default of {@link #startTimeout()}: 30 seconds. */
  public static final Duration DEFAULT_START_TIMEOUT = Duration.ofSeconds(30);

  private static final Duration LONGEST_START = Duration.ofMinutes(10);
  private static final Duration LONGEST_LINGER = Duration.ofSeconds(60);

  private final boolean entrypoint;
  private final List<String> arguments;
  private final Map<String, String> environment;
  private final @Nullable String workingDirectory;
  private final @Nullable String user;
  private final @Nullable TerminalSize terminal;
  private final @Nullable Signal stopSignal;
  private final @Nullable Duration timeout;
  private final Duration startTimeout;
  private final @Nullable Duration linger;
  private final @Nullable Stdin stdin;
  private final @Nullable DataSize outputLimit;
  private final OnLimit onLimit;
  private final boolean mergeStderr;
  private final Set<StandardStream> discarded;
  private final @Nullable ProcessSecurity security;
  private final @Nullable String executable;

  private ProcessSpec(Builder builder) {
    entrypoint = builder.entrypoint;
    arguments = builder.arguments;
    environment = Collections.unmodifiableMap(new LinkedHashMap<>(builder.environment));
    workingDirectory = builder.workingDirectory;
    user = builder.user;
    terminal = builder.terminal;
    stopSignal = builder.stopSignal;
    timeout = builder.timeout;
    startTimeout = builder.startTimeout;
    linger = builder.linger;
    stdin = builder.stdin;
    outputLimit = builder.outputLimit;
    onLimit = builder.onLimit;
    mergeStderr = builder.mergeStderr;
    discarded = Set.copyOf(builder.discarded);
    security = builder.security;
    executable = builder.executable;
  }

  /**
   * A command with everything else as the sandbox has it.
   *
   * @param command the executable, looked up in PATH when it holds no slash, and its arguments
   * @throws IllegalArgumentException when there is none, or one holds a NUL
   */
  public static ProcessSpec of(String... command) {
    return builder(command).build();
  }

  /** As {@link #of(String...)}. */
  public static ProcessSpec of(List<String> command) {
    return builder(command).build();
  }

  /**
   * What the image's shell makes of it: {@code /bin/sh -c script}. What comes from others belongs
   * into {@linkplain Builder#environment variables} rather than into the script.
   *
   * @throws IllegalArgumentException when it holds a NUL, or has 128 KiB or more
   */
  public static ProcessSpec shell(String script) {
    return of("/bin/sh", "-c", script);
  }

  /** As {@link #builder(String...)}. */
  public static Builder builder(List<String> command) {
    if (command.isEmpty() || command.get(0).isEmpty()) {
      throw new IllegalArgumentException("a process needs a command");
    }
    return new Builder(false, command);
  }

  /** To make another that differs. */
  public Builder toBuilder() {
    return new Builder(this);
  }

  /** As {@link #entrypoint(String...)}. */
  public static Builder entrypoint(List<String> arguments) {
    return new Builder(true, arguments);
  }

  /**
   * A command.
   *
   * @param command the executable, looked up in PATH when it holds no slash, and its arguments
   * @throws IllegalArgumentException when there is none, or one holds a NUL
   */
  public static Builder builder(String... command) {
    return builder(List.of(command));
  }

  /**
   * What the image is made to run: its Entrypoint, followed by these arguments, or by its Cmd when
   * there are none, as {@code docker run} does it; with {@link SandboxSpec.Builder#entrypoint} and
   * {@link SandboxSpec.Builder#command} in their place where those are given.
   *
   * <p>It is PID 1, unless the sandbox has an {@linkplain SandboxSpec.Builder#init init} or another
   * entrypoint runs. What is started meanwhile sees it as that, and is killed when it ends; what
   * was started before, and the sandbox itself, go on. A PID 1 does not get signals that it has no
   * handler for, SIGTERM among them, but for SIGKILL; and it has orphans to reap.
   *
   * @throws IllegalArgumentException when an argument holds a NUL
   */
  public static Builder entrypoint(String... arguments) {
    return entrypoint(List.of(arguments));
  }

  /** Whether the image's Entrypoint comes before the arguments. */
  public boolean isEntrypoint() {
    return entrypoint;
  }

  /** The command, or what follows the image's Entrypoint. */
  public List<String> arguments() {
    return arguments;
  }

  /** Variables added to those of the sandbox, or replacing them. */
  public Map<String, String> environment() {
    return environment;
  }

  /** The working directory, where it is not the sandbox's. */
  public Optional<String> workingDirectory() {
    return Optional.ofNullable(workingDirectory);
  }

  /** The user, where it is not the sandbox's. */
  public Optional<String> user() {
    return Optional.ofNullable(user);
  }

  /** Size of its terminal, if it has one. */
  public Optional<TerminalSize> terminal() {
    return Optional.ofNullable(terminal);
  }

  /** What asks it to end, where that is not the default. */
  public Optional<Signal> stopSignal() {
    return Optional.ofNullable(stopSignal);
  }

  /** After which it is killed, if ever. */
  public Optional<Duration> timeout() {
    return Optional.ofNullable(timeout);
  }

  /** How long it may take until it executes its command. */
  public Duration startTimeout() {
    return startTimeout;
  }

  /** How long outputs that others hold are listened to after its end, where that was said. */
  public Optional<Duration> linger() {
    return Optional.ofNullable(linger);
  }

  /** What it reads from stdin, if that was given. */
  public Optional<Stdin> stdin() {
    return Optional.ofNullable(stdin);
  }

  /** How much it may write to each output, where that was said. */
  public Optional<DataSize> outputLimit() {
    return Optional.ofNullable(outputLimit);
  }

  /** What becomes of it when it writes more. */
  public OnLimit onLimit() {
    return onLimit;
  }

  /** Whether what it writes to stderr is its stdout's. */
  public boolean mergeStderr() {
    return mergeStderr;
  }

  /** The outputs that nobody wants. */
  public Set<StandardStream> discarded() {
    return discarded;
  }

  /** The file to execute, where its first argument does not name it. */
  public Optional<String> executable() {
    return Optional.ofNullable(executable);
  }

  /** What it may do, where that is not as the sandbox has it. */
  public Optional<ProcessSecurity> security() {
    return Optional.ofNullable(security);
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(
        entrypoint,
        arguments,
        environment,
        workingDirectory,
        user,
        terminal,
        stopSignal,
        timeout,
        startTimeout,
        linger,
        stdin,
        outputLimit,
        onLimit,
        mergeStderr,
        discarded,
        security,
        executable);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ProcessSpec spec && state().equals(spec.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  /** Its arguments, and the names of its variables: values may be secrets. */
  @Override
  public String toString() {
    return (entrypoint ? "entrypoint " : "")
        + arguments
        + (environment.isEmpty() ? "" : " with " + environment.keySet());
  }

  /**
   * Makes a {@link ProcessSpec}. Not safe for use from several threads. What is optional, so that
   * its getter is an Optional, is taken back to its default by null, or by {@code removeX()} where
   * there is one; what was added, by {@code removeX(name)}.
   */
  public static final class Builder {
    private final boolean entrypoint;
    private final List<String> arguments;
    private final Map<String, String> environment = new LinkedHashMap<>();
    private @Nullable String workingDirectory;
    private @Nullable String user;
    private @Nullable TerminalSize terminal;
    private @Nullable Signal stopSignal;
    private @Nullable Duration timeout;
    private Duration startTimeout = DEFAULT_START_TIMEOUT;
    private @Nullable Duration linger;
    private @Nullable Stdin stdin;
    private @Nullable DataSize outputLimit;
    private OnLimit onLimit = OnLimit.TRUNCATE;
    private boolean mergeStderr;
    private final Set<StandardStream> discarded = EnumSet.noneOf(StandardStream.class);
    private @Nullable ProcessSecurity security;
    private @Nullable String executable;

    private Builder(boolean entrypoint, List<String> arguments) {
      this.entrypoint = entrypoint;
      this.arguments = Checks.arguments(arguments);
    }

    private Builder(ProcessSpec spec) {
      entrypoint = spec.entrypoint;
      arguments = spec.arguments;
      environment.putAll(spec.environment);
      workingDirectory = spec.workingDirectory;
      user = spec.user;
      terminal = spec.terminal;
      stopSignal = spec.stopSignal;
      timeout = spec.timeout;
      startTimeout = spec.startTimeout;
      linger = spec.linger;
      stdin = spec.stdin;
      outputLimit = spec.outputLimit;
      onLimit = spec.onLimit;
      mergeStderr = spec.mergeStderr;
      discarded.addAll(spec.discarded);
      security = spec.security;
      executable = spec.executable;
    }

    /**
     * Adds a variable, or replaces the sandbox's.
     *
     * @throws IllegalArgumentException when the name is empty or holds '=', or one holds a NUL
     */
    public Builder environment(String name, String value) {
      Checks.variable(environment, name, value);
      return this;
    }

    /**
     * Adds variables, or replaces the sandbox's.
     *
     * @throws IllegalArgumentException when a name is empty or holds '=', or one holds a NUL
     */
    public Builder environment(Map<String, String> variables) {
      variables.forEach(this::environment);
      return this;
    }

    /** Takes a variable back that was given here; that of the sandbox or the image is left. */
    public Builder removeEnvironment(String name) {
      environment.remove(name);
      return this;
    }

    /**
     * Starts it there. The directory is created when it is absent.
     *
     * @throws IllegalArgumentException when the path is not absolute, or has more than 4095 bytes
     */
    public Builder workingDirectory(@Nullable String path) {
      this.workingDirectory = path == null ? null : Checks.absolute(path);
      return this;
    }

    /**
     * Runs it as that user.
     *
     * @param user {@code user}, {@code uid}, {@code user:group}, {@code uid:gid}, {@code uid:group}
     *     or {@code user:gid}; names are those of the image, numbers go up to 4294967294
     * @throws IllegalArgumentException when it has more than 512 bytes
     */
    public Builder user(@Nullable String user) {
      this.user = user == null ? null : Checks.user(user);
      return this;
    }

    /** Gives it a terminal, which becomes stdin, stdout and stderr; all output is stdout's. */
    public Builder terminal(@Nullable TerminalSize size) {
      this.terminal = size;
      return this;
    }

    /**
     * What asks it, and it alone, to end when it is {@linkplain GuestProcess#stop stopped} or the
     * sandbox is closed. The default is for an {@linkplain #entrypoint entrypoint} the sandbox's
     * {@linkplain SandboxSpec.Builder#stopSignal stop signal}, else the image's StopSignal; for
     * everything else SIGTERM, which at the sandbox's end everything that it started gets as well.
     */
    public Builder stopSignal(@Nullable Signal signal) {
      this.stopSignal = signal;
      return this;
    }

    /**
     * Kills it after that long. The guest does it, counting from the process's start; should the
     * guest fail to, the host gives the process up five seconds later.
     *
     * @throws IllegalArgumentException when it is not positive, or more than 100 years
     */
    public Builder timeout(@Nullable Duration timeout) {
      this.timeout = timeout == null ? null : Checks.duration("timeout", timeout);
      return this;
    }

    /**
     * How long it may take until it executes its command; the default is {@link
     * #DEFAULT_START_TIMEOUT}. A guest that is stuck, or a working directory that does not answer,
     * is an error then: {@link ProcessException.Reason#NOT_STARTED}.
     *
     * @throws IllegalArgumentException when it is not positive, or more than ten minutes
     */
    public Builder startTimeout(Duration timeout) {
      if (timeout.isNegative() || timeout.isZero() || timeout.compareTo(LONGEST_START) > 0) {
        throw new IllegalArgumentException(
            "the start timeout is not between 1 ns and 10 minutes: " + timeout);
      }
      this.startTimeout = timeout;
      return this;
    }

    /**
     * How long its outputs are listened to after its end while processes that it left behind hold
     * them: a filter may have something to say yet, and a server that it started never ends. All
     * that it wrote itself is always read. The default is to listen until they are silent for half
     * a second, and for two seconds in all, which is how long Docker waits; a duration that is
     * given has no part for silence. {@link ExitStatus#outputsAbandoned} tells that something may
     * have been lost.
     *
     * @param linger zero for not at all
     * @throws IllegalArgumentException when it is negative, or more than 60 seconds
     */
    public Builder linger(@Nullable Duration linger) {
      if (linger != null && (linger.isNegative() || linger.compareTo(LONGEST_LINGER) > 0)) {
        throw new IllegalArgumentException("the linger is not between 0 and 60 s: " + linger);
      }
      this.linger = linger;
      return this;
    }

    /** Gives it these bytes to read from stdin, and then the end; they are copied. */
    public Builder stdin(byte[] content) {
      return stdin(Stdin.of(content.clone()));
    }

    /** Gives it this text to read from stdin as UTF-8, and then the end. */
    public Builder stdin(String content) {
      return stdin(Stdin.of(content.getBytes(StandardCharsets.UTF_8)));
    }

    /**
     * Gives it this file to read from stdin, and then the end. It is opened when the process has
     * started, and read as fast as the process reads. When that fails, the process is killed and
     * its end is told as {@link ProcessException.Reason#STDIN_FAILED}, with the IOException as
     * cause.
     */
    public Builder stdin(Path file) {
      return stdin(Stdin.of(Objects.requireNonNull(file)));
    }

    /**
     * Gives it this stream to read from stdin, up to its end, for one process: for another there is
     * nothing left. As with a {@linkplain #stdin(Path) file}, but that the stream is not closed. A
     * daemon thread reads it, which is interrupted when the process has ended, and may be left in a
     * read that takes no notice of that.
     */
    public Builder stdin(InputStream stream) {
      return stdin(Stdin.of(Objects.requireNonNull(stream)));
    }

    /** Gives it what another process was given. */
    public Builder stdin(Stdin source) {
      this.stdin = Objects.requireNonNull(source);
      return this;
    }

    /** Takes back what it was given to read. */
    public Builder removeStdin() {
      stdin = null;
      return this;
    }

    /**
     * Limits what it may write to stdout, and as much to stderr; what is beyond is read and
     * dropped. {@link ExitStatus#outputTruncated()} and {@link Output#truncated()} tell of it. The
     * default is {@link #DEFAULT_OUTPUT_LIMIT} for {@link Sandbox#exec(ProcessSpec)}, which keeps
     * outputs in memory and takes no limit above 1 GiB; and none where outputs are streamed. What
     * becomes of the process then is {@link OnLimit#TRUNCATE}, whatever was said before.
     */
    public Builder outputLimit(@Nullable DataSize limit) {
      this.outputLimit = limit;
      this.onLimit = OnLimit.TRUNCATE;
      return this;
    }

    /** As {@link #outputLimit(DataSize)}, and says what becomes of the process then. */
    public Builder outputLimit(DataSize limit, OnLimit onLimit) {
      this.outputLimit = Objects.requireNonNull(limit);
      this.onLimit = Objects.requireNonNull(onLimit);
      return this;
    }

    /**
     * Whether its stderr is the same pipe as its stdout: what it writes to either comes as
     * stdout's, in the order in which it was written. The default is false. A terminal's output is
     * stdout's anyway.
     */
    public Builder mergeStderr(boolean merge) {
      this.mergeStderr = merge;
      return this;
    }

    /**
     * Drops what it writes to that output, in the guest: it is {@code /dev/null} for the process,
     * and empty here. {@linkplain #mergeStderr(boolean) Merged} output and a terminal's is
     * stdout's.
     */
    public Builder discard(StandardStream output) {
      discarded.add(output);
      return this;
    }

    /** Takes {@link #discard} back. */
    public Builder keep(StandardStream output) {
      discarded.remove(output);
      return this;
    }

    /**
     * Executes that file; its first argument is then only what it is called, as with execv(3).
     *
     * @throws IllegalArgumentException when the path is not absolute, or has more than 4095 bytes
     */
    public Builder executable(@Nullable String path) {
      this.executable = path == null ? null : Paths.absolute("executable", path);
      return this;
    }

    /**
     * What it may do: capabilities, system calls, limits, in place of all that the sandbox has for
     * its processes ({@link SandboxSpec.Builder#security}).
     */
    public Builder security(@Nullable ProcessSecurity security) {
      this.security = security;
      return this;
    }

    /**
     * The process as described so far.
     *
     * @throws IllegalArgumentException when it is more than a process can be given: a command of
     *     more than 4095 bytes, an argument or a variable of 128 KiB, 2 MiB or 65536 of them
     *     together, more than 256 directories in PATH
     */
    public ProcessSpec build() {
      Bounds.strings(arguments, Bounds.entries(environment));
      return new ProcessSpec(this);
    }
  }
}
