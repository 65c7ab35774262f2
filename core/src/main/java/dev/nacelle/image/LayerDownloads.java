// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import com.google.common.util.concurrent.Uninterruptibles;
import java.io.Closeable;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * The layers of one image, downloaded ahead of who reads them, some at once. The first that fails
 * fails all. Used by one thread.
 */
final class LayerDownloads implements Closeable {
  private final Map<Digest, CompletableFuture<Path>> files = new HashMap<>();
  private final CompletableFuture<Path> failure = new CompletableFuture<>();
  private final List<Thread> threads = new CopyOnWriteArrayList<>();
  private final ExecutorService executor;

  /** Gets a layer. */
  @FunctionalInterface
  interface Download {
    /**
     * @param number from 1
     */
    Path get(Descriptor layer, int number) throws IOException;
  }

  /** Starts them, in this order. */
  LayerDownloads(List<Descriptor> layers, int parallel, Download download) {
    executor =
        Executors.newFixedThreadPool(
            parallel,
            task -> {
              Thread thread = new Thread(task, "nacelle-pull-" + (threads.size() + 1));
              thread.setDaemon(true);
              threads.add(thread);
              return thread;
            });
    for (int i = 0; i < layers.size(); i++) {
      Descriptor layer = layers.get(i);
      int number = i + 1;
      CompletableFuture<Path> file = new CompletableFuture<>();
      // Of equal layers the later ones find what the first one got.
      files.putIfAbsent(layer.digest(), file);
      executor.execute(() -> run(file, layer, number, download));
    }
    executor.shutdown();
  }

  private void run(CompletableFuture<Path> file, Descriptor layer, int number, Download download) {
    try {
      file.complete(download.get(layer, number));
    } catch (Throwable e) {
      // Whoever waits is told; first of what failed, for the others may fail because of it.
      failure.completeExceptionally(e);
      file.completeExceptionally(e);
      executor.shutdownNow();
    }
  }

  boolean contains(Descriptor layer) {
    return files.containsKey(layer.digest());
  }

  /**
   * Waits for a layer that is among them.
   *
   * @throws ImageException as the download of any of them ends
   */
  Path await(Descriptor layer) throws IOException {
    try {
      Object file = CompletableFuture.anyOf(files.get(layer.digest()), failure).get();
      return (Path) file;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while waiting for the layer " + layer.digest());
    } catch (ExecutionException e) {
      Throwable cause = e.getCause();
      if (cause instanceof ImageException image) {
        throw image;
      }
      if (cause instanceof Error error) {
        throw error;
      }
      throw new IOException(String.valueOf(cause), cause);
    }
  }

  /** Interrupts what still runs, and waits for its end. */
  @Override
  public void close() {
    executor.shutdownNow();
    Uninterruptibles.awaitTerminationUninterruptibly(executor);
    // The executor's end is a moment before that of its last thread.
    threads.forEach(Uninterruptibles::joinUninterruptibly);
  }
}
