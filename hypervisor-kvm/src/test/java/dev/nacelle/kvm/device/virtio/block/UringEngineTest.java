// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.IoVector;
import dev.nacelle.kvm.sys.Mapping;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class UringEngineTest {
  private static final int VECTORS = 4096;
  private static final int PAGE = 4096;

  @TempDir Path directory;
  private final Mapping memory = Mapping.anonymous(VECTORS + 2 * PAGE);
  private FileDescriptor image;
  private DiskEngine engine;

  @BeforeEach
  void open() throws Exception {
    byte[] content = new byte[PAGE];
    Arrays.fill(content, (byte) 7);
    image = FileDescriptor.openFile(Files.write(directory.resolve("image"), content), true);
    engine = TestEngine.URING.of(image);
  }

  @AfterEach
  void close() {
    engine.close();
    memory.close();
  }

  /** A read of the page into one of its own. */
  private Request read(int index) {
    Request request = new Request(index, new IoVector(memory, 64L * index, 4), memory, 0, 0);
    request.begin(0, 0, PAGE);
    request.vector().add(memory, VECTORS + (long) PAGE * index, PAGE);
    request.transfer(Step.READ, 0);
    assertTrue(request.proceed());
    return request;
  }

  /** Hands over, and waits for one to end. */
  private Request next() {
    engine.submit();
    @Nullable Request ended = engine.next();
    while (ended == null) {
      engine.await(1000);
      ended = engine.next();
    }
    return ended;
  }

  private void assertHasRead(Request request) {
    assertFalse(request.proceed(), "it has come to its end");
    assertEquals(Status.OK, request.status());
    assertEquals(7, memory.buffer(VECTORS + (long) PAGE * request.index() + PAGE - 1, 1).get());
  }

  @Test
  void readsWhatTheHostHasInMemoryAtOnceWhileNothingIsUnderWay() {
    // What was just written is in memory; some file systems cannot tell.
    Request probe = read(0);
    boolean told = image.readAtOnce(0, probe.vector()) != -Errno.EOPNOTSUPP;
    Request one = read(0);
    assertEquals(told, engine.start(one, true));
    assertSame(told ? null : one, told ? engine.next() : next());
    assertHasRead(one);
  }

  @Test
  void readsByTheRingWhileAnythingIsUnderWay() {
    Request first = new Request(0, new IoVector(memory, 0, 4), memory, 0, 0);
    first.begin(0, 0, 0);
    first.syncAtEnd();
    assertTrue(first.proceed());
    assertFalse(engine.start(first, true));
    Request second = read(1);
    assertFalse(engine.start(second, false));
    List<Request> ended = List.of(next(), next());
    assertTrue(ended.containsAll(List.of(first, second)));
    assertHasRead(second);
    assertNull(engine.next());
    Request third = read(0);
    if (engine.start(third, true)) {
      assertHasRead(third);
    } else {
      assertSame(third, next());
    }
  }
}
