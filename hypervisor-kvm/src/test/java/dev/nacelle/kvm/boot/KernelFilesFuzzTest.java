// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.HypervisorException;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.Hardware;
import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmSregs;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Whatever a file has in it, it is loaded, to be started inside of the memory, or a {@link
 * HypervisorException}.
 *
 * <p>To search for more: {@code JAZZER_FUZZ=1 mvn test -Djazzer.hooks=true
 * -Dtest=KernelFilesFuzzTest}, a method at a time.
 */
class KernelFilesFuzzTest {
  /** Enough for a kernel of some pages and Linux's working memory. */
  private static final int MEMORY = 20 << 20;

  @TempDir static Path directory;

  static Stream<byte[]> images() {
    return Stream.of(BareElf.longMode("90"), BareElf.pvh("90"), twoSegments())
        .map(ByteBuffer::array);
  }

  /** A page of code, and one of constants in the next MiB, as sections say too. */
  private static ByteBuffer twoSegments() {
    ByteBuffer image = BareElf.longMode("90".repeat(0x2000 + 128)).putShort(56, (short) 2);
    image.putLong(96, 0x1000).putLong(104, 0x1000);
    image.putInt(120, 1).putInt(124, 4).putLong(128, BareElf.CODE + 0x1000);
    image.putLong(144, BareElf.ADDRESS + 0x10_0000).putLong(152, 0x1000).putLong(160, 0x2000);
    int sections = BareElf.CODE + 0x2000;
    image.putLong(40, sections).putShort(58, (short) 64).putShort(60, (short) 2);
    image.put(sections, new byte[128]).putLong(sections + 72, 6);
    return image.putLong(sections + 88, BareElf.CODE).putLong(sections + 96, 0x800);
  }

  @MethodSource("images")
  @FuzzTest
  void bareImages(byte[] content) throws IOException {
    load(content, file -> new BareImage(file, "console=ttyS0"));
  }

  @MethodSource("images")
  @FuzzTest
  void kernelsForSpeed(byte[] content) throws IOException {
    load(content, file -> new LinuxKernel(file, null, "quiet", MemoryPolicy.SPEED, true));
  }

  @MethodSource("images")
  @FuzzTest
  void kernelsForDensity(byte[] content) throws IOException {
    load(content, file -> new LinuxKernel(file, file, "quiet", MemoryPolicy.DENSITY, true));
  }

  private interface Loader {
    Payload of(Path file);
  }

  private static void load(byte[] content, Loader loader) throws IOException {
    // A new one each time: of the one before, pages may still be mapped.
    Path file = Files.write(Files.createTempFile(directory, "image", ""), content);
    KvmRegs regs = new KvmRegs();
    try (GuestMemory memory = GuestMemory.allocate(MEMORY)) {
      loader.of(file).load(memory, new Hardware(1, 1)).apply(regs, new KvmSregs());
      // Each page can be read, also where the file is mapped.
      for (int page = 0; page < MEMORY; page += 4096) {
        memory.getByte(page);
      }
      if (!memory.contains(regs.get(KvmRegs.RIP), 1)) {
        throw new AssertionError("it starts at 0x" + Long.toHexString(regs.get(KvmRegs.RIP)));
      }
    } catch (HypervisorException expected) {
      // That is what it is for.
    } finally {
      Files.delete(file);
    }
  }
}
