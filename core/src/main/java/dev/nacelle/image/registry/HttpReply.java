// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import dev.nacelle.ImageException;
import dev.nacelle.internal.Gzip;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpHeaders;
import java.util.Locale;
import java.util.Optional;
import java.util.zip.ZipException;
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

  /** Whether it was compressed on the way, though nobody asked for that. */
  boolean isEncoded() {
    String encoding = header("Content-Encoding").orElse("").strip();
    return !encoding.isEmpty() && !encoding.equalsIgnoreCase("identity");
  }

  /**
   * The body as it was before it was compressed on the way.
   *
   * @throws ImageException when that was done in another way than gzip's
   */
  InputStream decoded() {
    if (!isEncoded()) {
      return body;
    }
    String encoding = header("Content-Encoding").orElse("").strip().toLowerCase(Locale.ROOT);
    if (!encoding.equals("gzip") && !encoding.equals("x-gzip")) {
      throw new ImageException(
          ImageException.Reason.REGISTRY_FAULT,
          HttpTransport.show(uri) + " answers in an encoding that was not asked for",
          null,
          null);
    }
    return Gzip.open(body);
  }

  /**
   * The whole body, decoded.
   *
   * @return null when it has more than that many bytes
   */
  byte @Nullable [] readAll(int max) throws IOException {
    try (InputStream in = decoded()) {
      byte[] bytes = in.readNBytes(max);
      return bytes.length == max && in.read() >= 0 ? null : bytes;
    } catch (ZipException | EOFException e) {
      throw new TransientException(
          HttpTransport.show(uri) + " gave no gzip, but said so: " + e.getMessage(), e);
    }
  }

  @Override
  public void close() {
    body.close();
  }
}
