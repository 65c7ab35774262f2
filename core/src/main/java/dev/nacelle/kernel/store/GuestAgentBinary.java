// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import dev.nacelle.NacelleException;
import dev.nacelle.Stage;
import java.io.IOException;
import java.io.InputStream;
import org.jspecify.annotations.Nullable;

/**
 * The executable that becomes PID 1 of the utility virtual machine. Immutable and safe for use from
 * several threads.
 */
public final class GuestAgentBinary {
  private static final String RESOURCE = "META-INF/nacelle/x86_64/agent";

  /** Far more than the agent has; it is held on the heap. */
  private static final int MAX_SIZE = 64 << 20;

  private final byte[] content;
  private final String sha256;

  private GuestAgentBinary(byte[] content) {
    this.content = content;
    this.sha256 = Sha256.hex(content);
  }

  /**
   * The agent that is on the class path, or in the module graph.
   *
   * @throws NacelleException when it is not there, naming the dependency that brings it
   */
  public static GuestAgentBinary load() {
    ClassLoader loader = GuestAgentBinary.class.getClassLoader();
    try (InputStream in = loader.getResourceAsStream(RESOURCE)) {
      if (in == null) {
        throw new NacelleException(
            Stage.INITRAMFS,
            "The guest agent is missing: no " + RESOURCE + " on the class path",
            "Add the dependency dev.nacelle:nacelle-guest-agent.",
            null);
      }
      return of(in.readNBytes(MAX_SIZE));
    } catch (IOException e) {
      throw new NacelleException(
          Stage.INITRAMFS, "The guest agent cannot be read: " + RESOURCE + ": " + e, null, e);
    }
  }

  /**
   * Any other executable.
   *
   * @param content a statically linked ELF64 executable for x86-64; it is copied
   * @throws NacelleException when it is something else
   */
  public static GuestAgentBinary of(byte[] content) {
    byte[] copy = content.clone();
    try {
      Elf64 elf = Elf64.read("it", Bytes.of(copy));
      if (elf.type() != Elf64.ET_EXEC && elf.type() != Elf64.ET_DYN) {
        throw unusable("it is no executable: its ELF type is " + elf.type(), null);
      }
      if (elf.segments().stream().anyMatch(segment -> segment.type() == Elf64.PT_INTERP)) {
        throw unusable("it is not statically linked, and there are no libraries for it", null);
      }
    } catch (IOException | KernelException e) {
      throw unusable(e.getMessage(), e);
    }
    return new GuestAgentBinary(copy);
  }

  private static NacelleException unusable(@Nullable String why, @Nullable Exception cause) {
    return new NacelleException(
        Stage.INITRAMFS, "The guest agent cannot be used: " + why, null, cause);
  }

  byte[] content() {
    return content;
  }

  String sha256() {
    return sha256;
  }
}
