// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.ref.Reference;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class ThreadSignalTest {
  private static final long SYS_PRLIMIT64 = 302;
  private static final long RLIMIT_SIGPENDING = 11;

  /** A jump to itself at the reset vector. */
  private static void spinAtReset(KvmVm vm, Mapping mapping) {
    // 0xfffffff0 is where the first instruction is (Intel SDM volume 3, section 10.1.4).
    mapping.buffer(0, 4096).put(0xff0, (byte) 0xeb).put(0xff1, (byte) 0xfe);
    vm.setMemoryRegion(0, 0xffff_f000L, mapping, 0, 4096);
  }

  /** Enters a guest that never stops, once, on a thread of its own; tells what KVM_RUN said. */
  private static CompletableFuture<Integer> enter(
      CompletableFuture<Integer> thread, CountDownLatch go) {
    CompletableFuture<Integer> result = new CompletableFuture<>();
    new Thread(
            () -> {
              long mask = ThreadSignal.block();
              try (Kvm kvm = Kvm.open();
                  Mapping mapping = Mapping.anonymous(4096);
                  KvmVm vm = kvm.createVm();
                  KvmVcpu vcpu = vm.createVcpu(0)) {
                spinAtReset(vm, mapping);
                vcpu.setSignalMask(mask);
                thread.complete(ThreadSignal.currentThread());
                go.await();
                int errno = vcpu.enter();
                ThreadSignal.drain();
                result.complete(errno);
              } catch (InterruptedException | RuntimeException e) {
                thread.completeExceptionally(e);
                result.completeExceptionally(e);
              }
            })
        .start();
    return result;
  }

  @Test
  void endsTheRunThatItMeets() throws Exception {
    CompletableFuture<Integer> thread = new CompletableFuture<>();
    CompletableFuture<Integer> result = enter(thread, new CountDownLatch(0));
    ThreadSignal.send(thread.get());
    assertEquals(Errno.EINTR, result.get());
  }

  /** Where the user's limit of queued signals is reached. */
  @Test
  void arrivesWhereNoSignalCanBeQueued() throws Exception {
    NativeStruct limit = new NativeStruct(2 * Long.BYTES);
    NativeStruct none = new NativeStruct(2 * Long.BYTES);
    limitSignals(null, limit);
    none.bytes().putLong(0, 0).putLong(Long.BYTES, limit.bytes().getLong(Long.BYTES));
    limitSignals(none, null);
    try {
      endsTheRunThatItMeets();
    } finally {
      limitSignals(limit, null);
    }
  }

  private static void limitSignals(@Nullable NativeStruct toSet, @Nullable NativeStruct old) {
    long set = toSet == null ? 0 : toSet.address();
    long get = old == null ? 0 : old.address();
    assertEquals(0, Libc.syscall(SYS_PRLIMIT64, 0, RLIMIT_SIGPENDING, set, get));
    Reference.reachabilityFence(toSet);
    Reference.reachabilityFence(old);
  }

  @Test
  void isNotLostWhenItComesBeforeTheRun() throws Exception {
    CompletableFuture<Integer> thread = new CompletableFuture<>();
    CountDownLatch go = new CountDownLatch(1);
    CompletableFuture<Integer> result = enter(thread, go);
    ThreadSignal.send(thread.get());
    ThreadSignal.send(thread.get());
    go.countDown();
    assertEquals(Errno.EINTR, result.get());
  }
}
