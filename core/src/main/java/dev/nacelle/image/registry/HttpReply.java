// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import java.io.Closeable;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpHeaders;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What a server answered.
 *
 * @param uri who answered, behind any redirects
 */
record HttpReply(URI uri, int status, HttpHeaders headers, BodyStream body) implements Closeable {
  Optional<String> header(String name) {
    return headers.firstValue(name);
  }

  /**
   * The whole body.
   *
   * @return null when it has more than that many bytes
   */
  byte @Nullable [] readAll(int max) throws IOException {
    byte[] bytes = body.readNBytes(max);
    return bytes.length == max && body.read() >= 0 ? null : bytes;
  }

  @Override
  public void close() {
    body.close();
  }
}
