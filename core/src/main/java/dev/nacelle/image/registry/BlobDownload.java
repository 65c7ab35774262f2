// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.ZipException;

/**
 * One blob on its way into a file, over as many attempts as it takes: each goes on behind what is
 * there. The digest is taken of all of it, what an earlier process left included, and never more is
 * written than the descriptor says. Used by one thread.
 */
final class BlobDownload implements Closeable {
  private static final int BUFFER = 64 << 10;

  /** How often the progress is told. */
  private static final long STEP = 256 << 10;

  /** RFC 9110 section 14.4. */
  private static final Pattern CONTENT_RANGE =
      Pattern.compile("bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\\*)");

  private final Digest digest;
  private final long size;
  private final DownloadProgress progress;
  private final FileChannel file;
  private final MessageDigest hash;
  private long done;
  private long told;

  /** Whether not all comes from the attempt that runs. */
  private boolean resumed;

  private BlobDownload(
      FileChannel file, MessageDigest hash, Digest digest, long size, DownloadProgress progress) {
    this.file = file;
    this.hash = hash;
    this.digest = digest;
    this.size = size;
    this.progress = progress;
  }

  /**
   * A download that goes on behind what the file has.
   *
   * @param path exists
   */
  static BlobDownload open(Path path, Digest digest, long size, DownloadProgress progress)
      throws IOException {
    FileChannel file = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
    BlobDownload download =
        new BlobDownload(file, digest.algorithm().newMessageDigest(), digest, size, progress);
    try {
      download.takeOver();
    } catch (IOException e) {
      file.close();
      throw e;
    }
    return download;
  }

  private void takeOver() throws IOException {
    if (file.size() > size) {
      restart();
    }
    ByteBuffer buffer = ByteBuffer.allocate(BUFFER);
    while (file.read(buffer.clear()) >= 0) {
      hash.update(buffer.flip());
      done += buffer.limit();
    }
    told = done;
    resumed = done > 0;
  }

  private void restart() throws IOException {
    file.truncate(0).position(0);
    hash.reset();
    done = 0;
    told = 0;
    resumed = false;
  }

  /** How many bytes there are. */
  long done() {
    return done;
  }

  /** Whether all bytes are there, as far as their number goes. */
  boolean isComplete() {
    return done == size;
  }

  /** What to ask for: RFC 9110 section 14.2; empty for all of it. */
  String range() {
    return done == 0 ? "" : "bytes=" + done + "-";
  }

  /**
   * Writes what a server answered behind what is there.
   *
   * @throws TransientException when this may go better another time
   * @throws ImageException when this server has another blob
   */
  void receive(HttpReply reply, Endpoint endpoint) throws IOException {
    // Some servers say that of what is stored compressed, as layers are.
    boolean encoded =
        reply.isEncoded()
            && reply.status() == 200
            && reply.headers().firstValueAsLong("Content-Length").orElse(-1) != size;
    switch (reply.status()) {
      case 200 -> {
        if (!encoded) {
          requireSize(reply.headers().firstValueAsLong("Content-Length").orElse(size), endpoint);
        }
        if (done > 0) {
          // It does not do ranges.
          restart();
        }
      }
      case 206 -> {
        requireRange(reply.header("Content-Range").orElse(""), endpoint);
        resumed = true;
        progress.resumed(done);
      }
      case 416 -> {
        restart();
        throw new TransientException(endpoint + " has no such range of " + digest, null);
      }
      default -> throw Failures.of(reply, "The blob " + digest + " at " + endpoint);
    }
    try (InputStream in = encoded ? reply.decoded() : reply.body()) {
      receive(in, endpoint);
    } catch (ZipException | EOFException e) {
      restart();
      throw new TransientException(endpoint + " gave no gzip, but said so", e);
    }
    if (done < size) {
      throw new TransientException(
          endpoint + " gave only " + done + " of the " + size + " bytes of " + digest, null);
    }
  }

  private void receive(InputStream in, Endpoint endpoint) throws IOException {
    byte[] buffer = new byte[BUFFER];
    for (int count; done < size && (count = in.read(buffer)) >= 0; ) {
      append(buffer, (int) Math.min(count, size - done));
      if (count > 0 && done == size && in.read() >= 0) {
        throw wrong(endpoint, "it has more than the " + size + " bytes of its descriptor");
      }
    }
  }

  private void append(byte[] bytes, int count) throws IOException {
    hash.update(bytes, 0, count);
    for (ByteBuffer buffer = ByteBuffer.wrap(bytes, 0, count); buffer.hasRemaining(); ) {
      file.write(buffer);
    }
    done += count;
    if (done - told >= STEP || done == size) {
      told = done;
      progress.advanced(done);
    }
  }

  /** What is there may be right even so. */
  private void requireSize(long announced, Endpoint endpoint) {
    if (announced != size) {
      throw damaged(endpoint, "it has " + announced + " bytes, its descriptor says " + size);
    }
  }

  private void requireRange(String range, Endpoint endpoint) throws IOException {
    Matcher matcher = CONTENT_RANGE.matcher(range);
    if (!matcher.matches() || Long.parseLong(matcher.group(1)) != done) {
      restart();
      throw new TransientException(endpoint + " gave another range than was asked for", null);
    }
    if (!matcher.group(2).equals("*")) {
      requireSize(Long.parseLong(matcher.group(2)), endpoint);
    }
  }

  /**
   * Compares the digest of what is there.
   *
   * @throws TransientException when it is wrong, and some of it comes from an earlier attempt
   * @throws ImageException when it is wrong, and all comes from this server
   */
  void verify(Endpoint endpoint) throws IOException {
    byte[] actual = hash.digest();
    if (HexFormat.of().formatHex(actual).equals(digest.hex())) {
      return;
    }
    if (resumed) {
      restart();
      throw new TransientException("the parts of " + digest + " do not fit together", null);
    }
    throw wrong(
        endpoint,
        "its content has the digest "
            + digest.algorithm()
            + ":"
            + HexFormat.of().formatHex(actual));
  }

  private ImageException wrong(Endpoint endpoint, String fault) throws IOException {
    restart();
    return damaged(endpoint, fault);
  }

  private ImageException damaged(Endpoint endpoint, String fault) {
    return new ImageException(
        ImageException.Reason.DAMAGED,
        "The blob " + digest + " of " + endpoint + " is damaged: " + fault,
        "Have the image pushed again, or use another mirror.",
        null);
  }

  @Override
  public void close() throws IOException {
    file.close();
  }
}
