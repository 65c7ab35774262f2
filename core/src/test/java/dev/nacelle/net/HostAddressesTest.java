// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.AddressClassTest.ip;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.nacelle.image.testing.Tool;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Which addresses are the host's, also when that changes. */
@Timeout(60)
class HostAddressesTest {
  private static final long SECOND = 1_000_000_000L;

  @Test
  void localhostIsTheHostsAndOthersAreNot() throws Exception {
    HostAddresses hosts = new HostAddresses(Runnable::run);
    assertTrue(hosts.test(ip("127.0.0.1")));
    assertFalse(hosts.test(ip("93.184.216.34")));
  }

  @Test
  void whileSomebodyAsksTheyAreReadAgainMeanwhile() throws Exception {
    AtomicLong now = new AtomicLong();
    Queue<Runnable> tasks = new ArrayDeque<>();
    HostAddresses hosts = new HostAddresses(tasks::add, now::get);
    for (int second = 0; second <= 60; second++) {
      now.set(second * SECOND);
      assertTrue(hosts.test(ip("127.0.0.1")));
      Runnable task = tasks.poll();
      assertEquals(second > 0 && second % 15 == 0, task != null, () -> "at " + now.get() / SECOND);
      if (task != null) {
        task.run();
      }
    }
  }

  @Test
  void whatFailsAtReadingThemAgainIsTriedAgain() throws Exception {
    AtomicLong now = new AtomicLong();
    AtomicBoolean fails = new AtomicBoolean();
    AtomicBoolean hasThreads = new AtomicBoolean();
    Queue<Runnable> tasks = new ArrayDeque<>();
    HostAddresses hosts =
        new HostAddresses(
            task -> {
              if (!hasThreads.get()) {
                throw new OutOfMemoryError("a fault of the test's");
              }
              tasks.add(task);
            },
            () -> {
              if (fails.getAndSet(false)) {
                throw new IllegalStateException("a fault of the test's");
              }
              return now.get();
            });
    now.set(15 * SECOND);
    assertTrue(hosts.test(ip("127.0.0.1")));
    hasThreads.set(true);
    for (int i = 0; i < 2; i++) {
      assertTrue(hosts.test(ip("127.0.0.1")));
      Runnable task = tasks.remove();
      fails.set(true);
      assertThrows(IllegalStateException.class, task::run);
    }
  }

  @Test
  @EnabledOnOs(value = OS.LINUX, disabledReason = "interfaces are those of a namespace")
  void interfacesThatComeAndGoAreSeen() {
    assumeTrue(Files.isWritable(Path.of("/proc/1/oom_score_adj")), "it takes root");
    String said = ToolsNetwork.onAnotherHost(HostAddressesTest.class);
    assertEquals("false false\nfalse true\ntrue false\n", said);
  }

  /** On a host of its own: what is known before each change, and 30 s after it. */
  public static void main(String[] arguments) throws Exception {
    AtomicLong now = new AtomicLong();
    // Whom it hands its work to does it never.
    HostAddresses hosts = new HostAddresses(task -> {}, now::get);
    for (String change :
        new String[] {"true", "ip addr add %s/24 dev lo", "ip addr del %s/24 dev lo"}) {
      boolean before = hosts.test(ip("93.184.216.34"));
      Tool.script(Path.of("/"), change.formatted("93.184.216.34"));
      now.addAndGet(30 * SECOND);
      boolean after = hosts.test(ip("93.184.216.34"));
      System.out.println(before + " " + after);
    }
  }
}
