// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.netty.buffer.PooledByteBufAllocator;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/** Fails a test class that lost Netty buffers (with io.netty.leakDetection.level=paranoid). */
public final class NettyLeaks implements BeforeAllCallback, AfterAllCallback {
  private static final Logger LOGGER = Logger.getLogger("io.netty.util.ResourceLeakDetector");

  private final List<String> leaks = new CopyOnWriteArrayList<>();
  private final Handler handler =
      new Handler() {
        @Override
        public void publish(LogRecord logged) {
          leaks.add(logged.getMessage());
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
      };

  @Override
  public void beforeAll(ExtensionContext context) {
    // What others have lost is told of before.
    collect();
    LOGGER.addHandler(handler);
  }

  @Override
  public void afterAll(ExtensionContext context) {
    collect();
    LOGGER.removeHandler(handler);
    assertEquals(List.of(), leaks);
  }

  /** A lost buffer is told of at the first allocation after it was collected. */
  private static void collect() {
    for (int i = 0; i < 5; i++) {
      System.gc();
      PooledByteBufAllocator.DEFAULT.directBuffer().release();
    }
  }
}
