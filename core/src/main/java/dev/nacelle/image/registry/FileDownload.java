// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.RegistryOptions;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/**
 * Gets one file of a known digest from an address that anybody may read, as blobs are got from
 * registries: over as many attempts as it takes, each going on behind what is there.
 */
public final class FileDownload {
  private static final int ATTEMPTS = 5;

  private FileDownload() {}

  /**
   * Downloads and verifies it. Where not a byte arrives it is given up at once: there may be
   * another way to get it.
   *
   * @param uri of a server by HTTP or HTTPS; the digest is what the content is trusted by
   * @param size in bytes
   * @param file exists; it may hold the beginning, and holds more of it on failure
   * @param timeout for all of it
   * @param progress is told how it arrives
   * @throws ImageException with the reason NETWORK when it may go better another time, with others
   *     when this address will never give it
   * @throws InterruptedIOException when the thread is interrupted; its flag stays set
   */
  public static void run(
      URI uri, Digest digest, long size, Path file, Duration timeout, DownloadProgress progress)
      throws IOException {
    String host = uri.getHost() + (uri.getPort() < 0 ? "" : ":" + uri.getPort());
    RegistryOptions.Builder options =
        RegistryOptions.builder().credentialFiles().connectTimeout(Duration.ofSeconds(5));
    if ("http".equals(uri.getScheme())) {
      options.plainHttp(host);
    }
    Endpoint endpoint = new Endpoint(host, uri.resolve("/"), "");
    Deadline deadline = new Deadline(timeout);
    try (HttpTransport transport = new HttpTransport(options.build(), deadline);
        BlobDownload download = BlobDownload.open(file, digest, size, progress)) {
      int failures = 0;
      while (true) {
        long before = download.done();
        try {
          attempt(transport, endpoint, uri, download);
          return;
        } catch (TransientException e) {
          failures = download.done() > before ? 1 : failures + 1;
          if (download.done() == 0 || failures == ATTEMPTS) {
            throw new ImageException(
                e.reason(),
                String.valueOf(e.getMessage()),
                "Check the network, and try again: what was downloaded is kept.",
                e);
          }
          progress.failed(download.done());
          sleep(deadline.atMost(Backoff.delay(failures)));
          deadline.check();
        }
      }
    }
  }

  private static void attempt(
      HttpTransport transport, Endpoint endpoint, URI uri, BlobDownload download)
      throws IOException {
    if (!download.isComplete()) {
      String range = download.range();
      Map<String, String> headers = range.isEmpty() ? Map.of() : Map.of("Range", range);
      try (HttpReply reply = transport.get(endpoint, uri, headers, server -> null)) {
        download.receive(reply, endpoint);
      }
    }
    download.verify(endpoint);
  }

  private static void sleep(Duration duration) throws InterruptedIOException {
    try {
      Pause.SLEEP.sleep(duration);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted between two attempts");
    }
  }
}
