// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.kvm.sys.CoreScheduling;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.ThreadSignal;
import java.util.HashMap;
import java.util.Map;

/** What a kernel with core scheduling does, for hosts whose kernel has none. */
public final class FakeCoreScheduling implements CoreScheduling {
  /** By thread; who is not there has none. */
  private final Map<Integer, Long> cookies = new HashMap<>();

  private long last;

  /** What changes fail with from now on, or 0. */
  private int failure;

  /** Has changes fail with an error number from now on; 0: they succeed. */
  public synchronized void failWith(int errno) {
    failure = -errno;
  }

  /** Gives a thread a cookie, as another program would. */
  public synchronized void give(int thread, long cookie) {
    set(thread, cookie);
  }

  @Override
  public synchronized int create() {
    if (failure == 0) {
      set(ThreadSignal.currentThread(), ++last);
    }
    return failure;
  }

  @Override
  public synchronized int shareFrom(int thread) {
    if (failure == 0) {
      set(ThreadSignal.currentThread(), cookie(thread));
    }
    return failure;
  }

  @Override
  public synchronized long cookie(int thread) {
    return failure == -Errno.ENODEV || failure == -Errno.EINVAL
        ? failure
        : cookies.getOrDefault(thread, 0L);
  }

  private void set(int thread, long cookie) {
    if (cookie == 0) {
      cookies.remove(thread);
    } else {
      cookies.put(thread, cookie);
    }
    notifyAll();
  }

  /** All cookies by thread, once there are so many. */
  public synchronized Map<Integer, Long> await(int count) throws InterruptedException {
    while (cookies.size() != count) {
      wait();
    }
    return Map.copyOf(cookies);
  }
}
