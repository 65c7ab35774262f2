// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import com.google.common.util.concurrent.Uninterruptibles;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/**
 * A daemon thread of the library, which takes nothing over from whoever makes it: no inheritable
 * thread-locals, thread group or class loader. A service's request, or the application that was
 * taken out of a server, would stay reachable for as long as the thread lives, and be seen by what
 * it runs. All threads of the library are such, or are made by such.
 */
public class LibraryThread extends Thread {
  /**
   * @param name of the thread
   */
  public LibraryThread(Runnable work, String name) {
    this(outermostGroup(), work, name);
  }

  /**
   * @param group which the caller names
   * @param name of the thread
   */
  @SuppressWarnings("ThreadPriorityCheck") // not relied upon: not the caller's, either
  public LibraryThread(ThreadGroup group, Runnable work, String name) {
    super(group, work, name, 0, false);
    setDaemon(true);
    setPriority(NORM_PRIORITY);
    setContextClassLoader(LibraryThread.class.getClassLoader());
  }

  /** A group for threads that must be found again. */
  public static ThreadGroup group(String name) {
    return new ThreadGroup(outermostGroup(), name);
  }

  private static ThreadGroup outermostGroup() {
    ThreadGroup group = Thread.currentThread().getThreadGroup();
    while (group.getParent() != null) {
      group = group.getParent();
    }
    return group;
  }

  /**
   * Has something done by a thread of its own, or here where the host gives no other.
   *
   * @return the thread, which was never started where it was done here
   */
  public static Thread startOrRun(Runnable work, String name) {
    Thread thread = new LibraryThread(work, name);
    try {
      thread.start();
    } catch (OutOfMemoryError e) {
      work.run();
    }
    return thread;
  }

  /**
   * Calls a maker of threads of others' classes on a thread that has nothing to hand on to them.
   *
   * @return what it made; what it throws is the cause of a CompletionException
   */
  public static <T> T make(ThreadGroup group, Supplier<T> maker) {
    CompletableFuture<T> made = new CompletableFuture<>();
    Thread thread =
        new LibraryThread(group, () -> made.completeAsync(maker, Runnable::run), "nacelle-maker");
    thread.start();
    Uninterruptibles.joinUninterruptibly(thread);
    return made.join();
  }

  /** As {@link #make(ThreadGroup, Supplier)}, in no group that the caller names. */
  public static <T> T make(Supplier<T> maker) {
    return make(outermostGroup(), maker);
  }
}
