// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A program that is its own operating system, and the machine it runs in. Immutable.
 *
 * <p>The image is an ELF64 executable for x86-64, linked to run from 1 MiB on. Where it has a PVH
 * entry it starts there, in 32-bit mode; otherwise at its ELF entry, in 64-bit mode, as Linux would
 * by the 64-bit boot protocol. ELF32 files are refused, also with a PVH entry; where an image is
 * nothing but 32-bit code, {@code objcopy -O elf64-x86-64} makes it ELF64. It finds a serial port
 * (COM1, 0x3f8), whose output can be streamed, KVM's interrupt controllers and clocks, and ACPI
 * tables that announce virtio devices over MMIO: a socket and a source of entropy.
 *
 * <p>It ends by writing its status to port 0xf4, by powering off, by a reset, or by its deadline.
 */
public final class UnikernelSpec {
  private final Path image;
  private final String commandLine;
  private final DataSize memory;
  private final int cpus;
  private final RateLimits rateLimits;
  private final boolean coreScheduling;
  private final Duration timeout;
  private final @Nullable String name;
  private final @Nullable Consumer<byte[]> console;

  private UnikernelSpec(Builder builder, Path image) {
    this.image = image;
    this.commandLine = builder.commandLine;
    this.memory = builder.memory;
    this.cpus = builder.cpus;
    this.rateLimits = builder.rateLimits;
    this.coreScheduling = builder.coreScheduling;
    this.timeout = builder.timeout;
    this.name = builder.name;
    this.console = builder.console;
  }

  /** A specification with every default; an image must be given. */
  public static Builder builder() {
    return new Builder();
  }

  /** To make another that differs. */
  public Builder toBuilder() {
    return new Builder(this);
  }

  /** The ELF64 file. */
  public Path image() {
    return image;
  }

  /** What it is told; empty unless set. */
  public String commandLine() {
    return commandLine;
  }

  /** Size of the machine's memory, rounded up to whole pages of 4096 bytes. */
  public DataSize memory() {
    return memory;
  }

  /** Number of vCPUs; it starts on the first. */
  public int cpus() {
    return cpus;
  }

  /** How much it may have of its machine's devices; by default as much as they can give. */
  public RateLimits rateLimits() {
    return rateLimits;
  }

  /** Whether no core runs anything else beside it, where the host's kernel can see to that. */
  public boolean coreScheduling() {
    return coreScheduling;
  }

  /** How long it may run. */
  public Duration timeout() {
    return timeout;
  }

  /** Its name, unless one is made up. */
  public Optional<String> name() {
    return Optional.ofNullable(name);
  }

  /** Who gets what it writes to its serial port, if anybody does. */
  public Optional<Consumer<byte[]>> console() {
    return Optional.ofNullable(console);
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(
        image, commandLine, memory, cpus, rateLimits, coreScheduling, timeout, name, console);
  }

  /** Whether both say the same, with one and the same console listener. */
  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof UnikernelSpec spec && state().equals(spec.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return "unikernel " + (name == null ? "" : name + " ") + "of " + image;
  }

  /**
   * Makes a {@link UnikernelSpec}. Not safe for use from several threads. What is optional, so that
   * its getter is an Optional, is taken back to its default by null.
   */
  public static final class Builder {
    private @Nullable Path image;
    private String commandLine = "";
    private DataSize memory = DataSize.mebibytes(64);
    private int cpus = 1;
    private RateLimits rateLimits = RateLimits.NONE;
    private boolean coreScheduling = true;
    private Duration timeout = Duration.ofMinutes(1);
    private @Nullable String name;
    private @Nullable Consumer<byte[]> console;

    private Builder() {}

    private Builder(UnikernelSpec spec) {
      image = spec.image;
      commandLine = spec.commandLine;
      memory = spec.memory;
      cpus = spec.cpus;
      rateLimits = spec.rateLimits;
      coreScheduling = spec.coreScheduling;
      timeout = spec.timeout;
      name = spec.name;
      console = spec.console;
    }

    /** The ELF64 file; it is read while the machine is made, and not needed afterwards. */
    public Builder image(Path file) {
      this.image = Objects.requireNonNull(file);
      return this;
    }

    /**
     * Hands this to it: the command line of its boot protocol.
     *
     * @throws IllegalArgumentException when it holds a control character
     */
    public Builder commandLine(String line) {
      if (line.chars().anyMatch(Character::isISOControl)) {
        throw new IllegalArgumentException("the command line holds a control character");
      }
      this.commandLine = line;
      return this;
    }

    /**
     * Size of the machine's memory; the default is 64 MiB.
     *
     * @throws IllegalArgumentException when it is less than 2 MiB, for images start at 1 MiB; when
     *     it does not fit 63 bits in whole pages
     */
    public Builder memory(DataSize size) {
      if (size.compareTo(DataSize.mebibytes(2)) < 0) {
        throw new IllegalArgumentException(
            "a unikernel needs at least 2 MiB of memory, not " + size);
      }
      this.memory = Checks.wholePages(size);
      return this;
    }

    /**
     * Number of vCPUs; the default is 1. The others wait to be started (INIT, SIPI).
     *
     * @throws IllegalArgumentException when it is not positive
     */
    public Builder cpus(int number) {
      if (number < 1) {
        throw new IllegalArgumentException("a unikernel needs at least one vCPU, not " + number);
      }
      this.cpus = number;
      return this;
    }

    /**
     * How much it may have of its machine's devices, the source of entropy and each direction of
     * the socket; the default is {@link RateLimits#NONE}.
     *
     * @throws IllegalArgumentException when there is a limit for disks, of which it has none
     */
    public Builder rateLimits(RateLimits limits) {
      if (limits.disks().isPresent()) {
        throw new IllegalArgumentException("a unikernel has no disks to limit");
      }
      this.rateLimits = limits;
      return this;
    }

    /**
     * Whether no core runs anything else beside its vCPUs, as {@link
     * SandboxSpec.Builder#coreScheduling} says of sandboxes; the default is true.
     */
    public Builder coreScheduling(boolean wanted) {
      this.coreScheduling = wanted;
      return this;
    }

    /**
     * How long it may run, from its first instruction on; the default is a minute.
     *
     * @throws IllegalArgumentException when it is not positive, or more than 100 years
     */
    public Builder timeout(Duration limit) {
      this.timeout = Checks.duration("timeout", limit);
      return this;
    }

    /**
     * Names it, in messages and as its threads' names; one is made up otherwise.
     *
     * @param name 1 to 64 characters of {@code [A-Za-z0-9._-]}
     * @throws IllegalArgumentException when it is no such name
     */
    public Builder name(@Nullable String name) {
      this.name = name == null ? null : Checks.name("a unikernel", name);
      return this;
    }

    /**
     * Streams what it writes to its serial port, from the first byte on.
     *
     * @param listener called with each piece, whose array is its own, on a thread of the
     *     hypervisor. It must not block: the guest waits for it. What it throws is logged the first
     *     time, and otherwise ignored
     */
    public Builder console(@Nullable Consumer<byte[]> listener) {
      this.console = listener;
      return this;
    }

    /**
     * Makes the specification.
     *
     * @throws IllegalArgumentException when there is no image
     */
    public UnikernelSpec build() {
      if (image == null) {
        throw new IllegalArgumentException("a unikernel needs an image");
      }
      return new UnikernelSpec(this, image);
    }
  }
}
