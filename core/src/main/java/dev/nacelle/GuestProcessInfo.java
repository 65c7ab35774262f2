// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * A process that was started in a sandbox, or what it left behind. The guest's word: bounded, but
 * not verified. Immutable.
 */
public final class GuestProcessInfo {
  private final long id;
  private final OptionalLong pid;
  private final boolean running;
  private final String command;
  private final Instant startedAt;
  private final int treeSize;

  private GuestProcessInfo(Builder builder) {
    id = builder.id;
    pid = builder.pid;
    running = builder.running;
    command = builder.command;
    startedAt = builder.startedAt;
    treeSize = builder.treeSize;
  }

  /**
   * One that runs, has started nothing, and of which no more is known.
   *
   * @param id as {@link #id()}
   * @param command as {@link #command()}
   */
  public static Builder builder(long id, String command) {
    return new Builder(id, command);
  }

  /** Names it in this sandbox; never used again. */
  public long id() {
    return id;
  }

  /**
   * Its process ID, as the sandbox's processes see it, once it executes its command; possibly
   * another's when it has ended.
   */
  public OptionalLong pid() {
    return pid;
  }

  /** Whether the process itself runs; otherwise what it left behind does. */
  public boolean running() {
    return running;
  }

  /** Its command line; cut after 256 bytes. */
  public String command() {
    return command;
  }

  /** When it was started, by the host's clock. */
  public Instant startedAt() {
    return startedAt;
  }

  /** How many processes there are of it: itself and what it started. */
  public int treeSize() {
    return treeSize;
  }

  private List<Object> state() {
    return List.of(id, pid, running, command, startedAt, treeSize);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof GuestProcessInfo that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return "process "
        + id
        + (running ? ", running" : ", ended")
        + (pid.isPresent() ? ", PID " + pid.getAsLong() : "")
        + ", "
        + treeSize
        + " in its tree: "
        + command;
  }

  /** Makes a {@link GuestProcessInfo}. Not safe for use from several threads. */
  public static final class Builder {
    private final long id;
    private final String command;
    private OptionalLong pid = OptionalLong.empty();
    private boolean running = true;
    private Instant startedAt = Instant.EPOCH;
    private int treeSize = 1;

    private Builder(long id, String command) {
      this.id = id;
      this.command = Objects.requireNonNull(command);
    }

    /** As {@link GuestProcessInfo#pid()}. */
    public Builder pid(long pid) {
      this.pid = OptionalLong.of(pid);
      return this;
    }

    /** As {@link GuestProcessInfo#running()}. */
    public Builder running(boolean running) {
      this.running = running;
      return this;
    }

    /** As {@link GuestProcessInfo#startedAt()}. */
    public Builder startedAt(Instant startedAt) {
      this.startedAt = Objects.requireNonNull(startedAt);
      return this;
    }

    /** As {@link GuestProcessInfo#treeSize()}. */
    public Builder treeSize(int treeSize) {
      this.treeSize = treeSize;
      return this;
    }

    /** The information. */
    public GuestProcessInfo build() {
      return new GuestProcessInfo(this);
    }
  }
}
