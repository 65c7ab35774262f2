// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.memory;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.internal.OtherProcess;
import dev.nacelle.kvm.sys.FileDescriptor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Guest memory that pages of a file stand for, when somebody makes that file shorter: what reads or
 * writes there gets at most an error of the JVM's, and the process lives on. Another process, in
 * case it does not.
 */
@Timeout(120)
class TruncatedFileTest {
  private static final int PAGES = 16 * 4096;

  /** Compiled by then: the JVM handles faults of compiled code apart. */
  private static final int OFTEN = 20_000;

  @Test
  void leavesTheProcessAlive(@TempDir Path directory) throws Exception {
    Path file = Files.write(directory.resolve("kernel"), new byte[PAGES]);
    try (OtherProcess process = OtherProcess.start(TruncatedFileTest.class, file)) {
      for (String access : accesses(GuestMemory.allocate(PAGES)).keySet()) {
        assertEquals(access, process.read());
      }
      assertEquals("alive", process.read());
      assertEquals(0, process.waitFor());
    }
  }

  /** Every way to use it, once each. */
  private static Map<String, Runnable> accesses(GuestMemory memory) {
    byte[] bytes = new byte[8192];
    ByteBuffer heap = ByteBuffer.allocate(8192);
    ByteBuffer direct = ByteBuffer.allocateDirect(8192);
    Map<String, Runnable> all = new LinkedHashMap<>();
    all.put("getByte", () -> memory.getByte(4096));
    all.put("putByte", () -> memory.putByte(4096, (byte) 1));
    all.put("getShort", () -> memory.getShort(4096));
    all.put("putShort", () -> memory.putShort(4096, (short) 1));
    all.put("getInt", () -> memory.getInt(4096));
    all.put("putInt", () -> memory.putInt(4096, 1));
    all.put("getLong", () -> memory.getLong(4096));
    all.put("putLong", () -> memory.putLong(4096, 1));
    all.put("getShortAcquire", () -> memory.getShortAcquire(4096));
    all.put("putShortRelease", () -> memory.putShortRelease(4096, (short) 1));
    all.put("getBytes to an array", () -> memory.getBytes(4096, bytes, 0, 8192));
    all.put("putBytes of an array", () -> memory.putBytes(4096, bytes, 0, 8192));
    all.put("getBytes to the heap", () -> memory.getBytes(4096, heap.clear(), 8192));
    all.put("putBytes of the heap", () -> memory.putBytes(4096, heap.clear(), 8192));
    all.put("getBytes to a buffer", () -> memory.getBytes(4096, direct.clear(), 8192));
    all.put("putBytes of a buffer", () -> memory.putBytes(4096, direct.clear(), 8192));
    all.put("a few bytes to an array", () -> memory.getBytes(4096, bytes, 0, 5));
    all.put("a few bytes of an array", () -> memory.putBytes(4096, bytes, 0, 5));
    return all;
  }

  private static void requireInternalError(Throwable failure) {
    if (!(failure instanceof InternalError)) {
      System.out.println(failure);
    }
  }

  /** The process that must not end: says which access it has outlived. */
  public static void main(String... arguments) throws IOException, InterruptedException {
    Path file = Path.of(arguments[0]);
    GuestMemory memory = GuestMemory.allocate(PAGES);
    try (FileDescriptor open = FileDescriptor.openFile(file, false)) {
      memory.mapCopyOnWrite(open, 0, 0, PAGES);
    }
    Map<String, Runnable> accesses = accesses(memory);
    for (int i = 0; i < OFTEN; i++) {
      accesses.values().forEach(Runnable::run);
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.truncate(0);
    }
    for (Map.Entry<String, Runnable> access : accesses.entrySet()) {
      // The JVM throws its error at the access, or a little later: so each has a thread.
      Thread thread = new Thread(access.getValue());
      thread.setUncaughtExceptionHandler((failed, e) -> requireInternalError(e));
      thread.start();
      thread.join();
      System.out.println(access.getKey());
    }
    System.out.println("alive");
  }
}
