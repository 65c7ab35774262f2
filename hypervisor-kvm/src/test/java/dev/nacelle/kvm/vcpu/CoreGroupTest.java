// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.vcpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.FakeCoreScheduling;
import dev.nacelle.kvm.sys.CoreScheduling;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.ThreadSignal;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class CoreGroupTest {
  private final FakeCoreScheduling fake = new FakeCoreScheduling();
  private final List<ExecutorService> threads = new ArrayList<>();

  @AfterEach
  void endThreads() {
    threads.forEach(ExecutorService::shutdown);
  }

  /** A thread that does what it is told. */
  private static final class Member {
    private final ExecutorService thread;

    Member(ExecutorService thread) {
      this.thread = thread;
    }

    <T> T on(Callable<T> work) throws Exception {
      return thread.submit(work).get();
    }

    void join(CoreGroup group) throws Exception {
      thread.submit(group::join).get();
    }

    void leave(CoreGroup group) throws Exception {
      thread.submit(group::leave).get();
    }

    long cookie(CoreScheduling scheduling) throws Exception {
      return on(() -> scheduling.cookie(ThreadSignal.currentThread()));
    }
  }

  private Member member() {
    ExecutorService thread = Executors.newSingleThreadExecutor();
    threads.add(thread);
    return new Member(thread);
  }

  private void keepsItsMembersTogetherAndOthersOut(CoreScheduling scheduling) throws Exception {
    CoreGroup group = new CoreGroup(scheduling);
    CoreGroup other = new CoreGroup(scheduling);
    Member one = member();
    Member two = member();
    Member three = member();
    one.join(group);
    two.join(group);
    three.join(other);
    long cookie = one.cookie(scheduling);
    assertTrue(cookie > 0, () -> "cookie " + cookie);
    assertEquals(cookie, two.cookie(scheduling));
    assertNotEquals(cookie, three.cookie(scheduling));
    assertEquals(0, member().cookie(scheduling), "a thread of nobody's");

    // The first of them may go: those who come later still find the others.
    one.leave(group);
    assertEquals(0, one.cookie(scheduling));
    Member late = member();
    late.join(group);
    assertEquals(cookie, late.cookie(scheduling));
    two.leave(group);
    late.leave(group);
    three.leave(other);
    for (Member each : List.of(one, two, three, late)) {
      assertEquals(0, each.cookie(scheduling));
    }
  }

  @Test
  void keepsItsMembersTogetherAndOthersOut() throws Exception {
    keepsItsMembersTogetherAndOthersOut(fake);
  }

  /** Where the host's kernel has core scheduling; elsewhere it says that it has none. */
  @Test
  void doesSoByTheHostsKernel() throws Exception {
    long own = CoreScheduling.ofHost().cookie(0);
    if (own < 0) {
      assertTrue(List.of(-Errno.ENODEV, -Errno.EINVAL).contains((int) own), () -> "is " + own);
    } else {
      keepsItsMembersTogetherAndOthersOut(CoreScheduling.ofHost());
      // Why a member may make no threads, and leaves before anything else runs on its thread.
      CoreGroup group = new CoreGroup(CoreScheduling.ofHost());
      Member member = member();
      member.join(group);
      long inherited =
          member.on(
              () -> {
                ExecutorService made = Executors.newSingleThreadExecutor();
                threads.add(made);
                return made.submit(() -> CoreScheduling.ofHost().cookie(0)).get();
              });
      assertEquals(member.cookie(CoreScheduling.ofHost()), inherited);
    }
  }

  @Test
  void isLeftForWhatMayRunAnything() throws Exception {
    CoreGroup group = new CoreGroup(fake);
    List<Long> seen = new ArrayList<>();
    Runnable work = () -> seen.add(fake.cookie(ThreadSignal.currentThread()));
    Runnable failing =
        () -> {
          work.run();
          throw new IllegalStateException("expected");
        };
    Member one = member();
    Member two = member();
    one.join(group);
    two.join(group);
    long cookie = one.cookie(fake);
    one.thread.submit(() -> group.runOutside(work)).get();
    assertThrows(
        ExecutionException.class, () -> one.thread.submit(() -> group.runOutside(failing)).get());
    assertEquals(cookie, one.cookie(fake), "back among the others");
    Member stranger = member();
    stranger.thread.submit(() -> group.runOutside(work)).get();
    assertEquals(0, stranger.cookie(fake), "not let in by that");
    assertEquals(List.of(0L, 0L, 0L), seen);
  }

  @Test
  void givesBackWhatTheProcessHas() throws Exception {
    fake.give((int) ProcessHandle.current().pid(), 77);
    CoreGroup group = new CoreGroup(fake);
    Member member = member();
    member.join(group);
    assertNotEquals(77, member.cookie(fake));
    member.leave(group);
    assertEquals(77, member.cookie(fake));
  }

  @Test
  void doesNothingOnceSmtIsSwitchedOff() throws Exception {
    CoreGroup group = new CoreGroup(fake);
    Member one = member();
    Member two = member();
    one.join(group);
    fake.failWith(Errno.ENODEV);
    two.join(group);
    two.leave(group);
    one.leave(group);
  }

  @ParameterizedTest
  @ValueSource(ints = {Errno.ENOMEM, Errno.EPERM, Errno.EINVAL})
  void saysWhenTheHostRefuses(int errno) {
    fake.failWith(errno);
    CoreGroup group = new CoreGroup(fake);
    assertEquals(errno, assertThrows(ErrnoException.class, group::join).errno());
    group.leave();
  }
}
