// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.io.ByteArrayInputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What a process reads from its stdin. Immutable; made by the setters of {@link
 * ProcessSpec.Builder}. Two are equal when they have equal bytes, the same path, or one stream.
 */
public final class Stdin {
  /** Bytes, a path or an input stream. */
  private final Object source;

  private Stdin(Object source) {
    this.source = source;
  }

  static Stdin of(byte[] bytes) {
    return new Stdin(bytes);
  }

  static Stdin of(Path file) {
    return new Stdin(file);
  }

  static Stdin of(InputStream stream) {
    return new Stdin(stream);
  }

  /** The bytes, read-only, where they were given as such. */
  public Optional<ByteBuffer> bytes() {
    return source instanceof byte[] bytes
        ? Optional.of(ByteBuffer.wrap(bytes).asReadOnlyBuffer())
        : Optional.empty();
  }

  /**
   * A stream of them; closing it closes what was opened for it, and not a stream of the caller's.
   *
   * @throws IOException when the file cannot be opened
   */
  public InputStream open() throws IOException {
    if (source instanceof byte[] bytes) {
      return new ByteArrayInputStream(bytes);
    }
    if (source instanceof Path file) {
      return Files.newInputStream(file);
    }
    return new FilterInputStream((InputStream) source) {
      @Override
      public void close() {}
    };
  }

  @Override
  public boolean equals(@Nullable Object other) {
    if (!(other instanceof Stdin that)) {
      return false;
    }
    return source instanceof byte[] bytes && that.source instanceof byte[] others
        ? Arrays.equals(bytes, others)
        : source.equals(that.source);
  }

  @Override
  public int hashCode() {
    return source instanceof byte[] bytes ? Arrays.hashCode(bytes) : source.hashCode();
  }

  /** Where it comes from; not the bytes, which may be a secret. */
  @Override
  public String toString() {
    if (source instanceof byte[] bytes) {
      return bytes.length + " bytes";
    }
    return source instanceof Path file ? file.toString() : "a stream";
  }
}
