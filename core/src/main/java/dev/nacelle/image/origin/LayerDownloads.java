// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.origin;

import com.google.common.base.Throwables;
import com.google.common.util.concurrent.Uninterruptibles;
import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.registry.Deadline;
import dev.nacelle.internal.LibraryThread;
import java.io.Closeable;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * The layers of one image, downloaded ahead of who reads them, some at once. The first that fails
 * fails all. Used by one thread.
 */
final class LayerDownloads implements Closeable {
  private final Deadline deadline;
  private final Map<Digest, CompletableFuture<Path>> files = new HashMap<>();
  private final CompletableFuture<Path> failure = new CompletableFuture<>();
  private final Queue<Runnable> waiting = new ConcurrentLinkedQueue<>();
  private final List<Thread> threads = new ArrayList<>();

  /** Gets a layer. */
  @FunctionalInterface
  interface Download {
    /**
     * @param index in the list of layers
     */
    Path get(Descriptor layer, int index) throws IOException;
  }

  /** Starts them, in this order. */
  LayerDownloads(List<Descriptor> layers, int parallel, Deadline deadline, Download download) {
    this.deadline = deadline;
    for (int i = 0; i < layers.size(); i++) {
      Descriptor layer = layers.get(i);
      int index = i;
      CompletableFuture<Path> file = new CompletableFuture<>();
      // Of equal layers the later ones find what the first one got.
      files.putIfAbsent(layer.digest(), file);
      waiting.add(() -> run(file, layer, index, download));
    }
    for (int i = 1; i <= Math.min(parallel, layers.size()); i++) {
      threads.add(new LibraryThread(this::work, "nacelle-pull-" + i));
    }
    try {
      threads.forEach(Thread::start);
    } catch (Error e) {
      close(); // no memory for a thread
      throw e;
    }
  }

  private void work() {
    for (Runnable next; (next = waiting.poll()) != null; ) {
      next.run();
    }
  }

  private void run(CompletableFuture<Path> file, Descriptor layer, int index, Download download) {
    try {
      file.complete(download.get(layer, index));
    } catch (Throwable e) {
      // Whoever waits is told; first of what failed, for the others may fail because of it.
      failure.completeExceptionally(e);
      file.completeExceptionally(e);
      stop();
    }
  }

  private void stop() {
    waiting.clear();
    threads.forEach(Thread::interrupt);
  }

  boolean contains(Descriptor layer) {
    return files.containsKey(layer.digest());
  }

  /**
   * Waits for a layer that is among them.
   *
   * @throws ImageException as the download of any of them ends, or at the deadline
   */
  Path await(Descriptor layer) throws IOException {
    try {
      Object file =
          CompletableFuture.anyOf(files.get(layer.digest()), failure)
              .get(deadline.remaining().toNanos(), TimeUnit.NANOSECONDS);
      return (Path) file;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while waiting for the layer " + layer.digest());
    } catch (TimeoutException e) {
      throw deadline.exceeded();
    } catch (ExecutionException e) {
      Throwable cause = Objects.requireNonNullElse(e.getCause(), e);
      Throwables.throwIfUnchecked(cause);
      throw new IOException(String.valueOf(cause), cause);
    }
  }

  /** Interrupts what still runs, and waits for its end. */
  @Override
  public void close() {
    stop();
    threads.forEach(Uninterruptibles::joinUninterruptibly);
  }
}
