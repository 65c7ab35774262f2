// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageException;
import dev.nacelle.image.RegistryOptions;
import java.io.Closeable;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Pulls from one repository, for one pull: from the mirrors and the registry, each in turn, with
 * pauses in between when none of them could. Safe for use from several threads; an interrupt ends
 * what a thread does, with an InterruptedIOException.
 */
public final class RegistryClient implements Closeable {
  /** Content negotiation: "Pulling manifests" of the distribution specification. */
  private static final String MANIFEST_TYPES =
      "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json,"
          + " application/vnd.docker.distribution.manifest.list.v2+json,"
          + " application/vnd.docker.distribution.manifest.v2+json";

  /** So much more makes a failure the first one again. */
  private static final long PROGRESS = 1 << 20;

  private final RegistryOptions options;
  private final Pause pause;
  private final Deadline deadline;
  private final HttpTransport transport;
  private final String name;
  private final Map<Endpoint, Authorizer> endpoints = new LinkedHashMap<>();

  /**
   * A manifest or index as a registry gave it; its digest is what was asked for, if that was one.
   *
   * @param mediaType of the Content-Type header, without parameters; empty where there is none
   */
  @SuppressWarnings("ArrayRecordComponent") // nobody compares them
  public record Document(String mediaType, byte[] content) {}

  /**
   * A client.
   *
   * @param registry {@code HOST[:PORT]}
   * @param repository the name in it
   * @param deadline of the pull
   */
  public RegistryClient(
      RegistryOptions options, String registry, String repository, Pause pause, Deadline deadline) {
    this.options = options;
    this.pause = pause;
    this.deadline = deadline;
    this.transport = new HttpTransport(options, deadline);
    this.name = registry + "/" + repository;
    CredentialLookup lookup = new CredentialLookup(options, System::getenv);
    for (Endpoint endpoint : Endpoint.of(options, registry, repository)) {
      endpoints.put(endpoint, new Authorizer(endpoint, transport, lookup));
    }
  }

  /** The manifest or index of a tag. */
  public Document manifest(String tag, int maxSize) throws IOException {
    return document(tag, "the tag '" + tag + "'", null, maxSize);
  }

  /** The manifest or index of a digest. */
  public Document manifest(Digest digest, int maxSize) throws IOException {
    return document(digest.toString(), "the digest " + digest, digest, maxSize);
  }

  private Document document(String reference, String what, @Nullable Digest expected, int maxSize)
      throws IOException {
    return attempt(
        (endpoint, authorizer) -> {
          try (HttpReply reply =
              get(endpoint, authorizer, "manifests", reference, Map.of("Accept", MANIFEST_TYPES))) {
            if (reply.status() == 404) {
              throw new ImageException(
                  "There is no image of "
                      + what
                      + " in "
                      + endpoint.repository()
                      + " at "
                      + endpoint,
                  "Check the name and the tag of the image.",
                  null);
            }
            if (reply.status() != 200) {
              throw Failures.of(reply, "The manifest of " + what + " at " + endpoint);
            }
            return read(reply, endpoint, what, expected, maxSize);
          }
        },
        () -> 0L,
        DownloadProgress.NONE);
  }

  private static Document read(
      HttpReply reply, Endpoint endpoint, String what, @Nullable Digest expected, int maxSize)
      throws IOException {
    byte[] content = reply.readAll(maxSize);
    if (content == null) {
      throw new ImageException(
          "The manifest of "
              + what
              + " at "
              + endpoint
              + " has more than the limit of "
              + maxSize
              + " bytes",
          null,
          null);
    }
    Digest wanted = expected;
    if (wanted == null) {
      try {
        // "SHOULD verify": the digest of a tag is known from here only.
        wanted = reply.header("Docker-Content-Digest").map(Digest::parse).orElse(null);
      } catch (IllegalArgumentException e) {
        wanted = null;
      }
    }
    if (wanted != null && !wanted.matches(content)) {
      throw new ImageException(
          "The manifest of "
              + what
              + " at "
              + endpoint
              + " is damaged: its digest is not "
              + wanted,
          "Have the image pushed again, or use another mirror.",
          null);
    }
    String type = reply.header("Content-Type").orElse("");
    return new Document(type.split(";", 2)[0].strip(), content);
  }

  /**
   * Downloads and verifies a blob.
   *
   * @param file exists; it may hold the beginning of the blob, and holds more of it on failure
   */
  public void download(Digest digest, long size, Path file, DownloadProgress progress)
      throws IOException {
    try (BlobDownload download = BlobDownload.open(file, digest, size, progress)) {
      Boolean unused =
          attempt(
              (endpoint, authorizer) -> {
                if (!download.isComplete() || size == 0) {
                  String range = download.range();
                  Map<String, String> headers = range.isEmpty() ? Map.of() : Map.of("Range", range);
                  try (HttpReply reply =
                      get(endpoint, authorizer, "blobs", digest.toString(), headers)) {
                    if (reply.status() == 404) {
                      throw new ImageException(
                          "The blob " + digest + " is missing at " + endpoint,
                          "Have the image pushed again, with all its layers.",
                          null);
                    }
                    download.receive(reply, endpoint);
                  }
                }
                download.verify(endpoint);
                return true;
              },
              download::done,
              progress);
    }
  }

  private HttpReply get(
      Endpoint endpoint,
      Authorizer authorizer,
      String kind,
      String reference,
      Map<String, String> headers)
      throws IOException {
    for (boolean again = true; ; again = false) {
      String authorization = authorizer.current();
      HttpReply reply =
          transport.get(endpoint, endpoint.uri(kind, reference), headers, authorization);
      // Nobody else's challenge is answered with what is for this endpoint.
      if (reply.status() != 401 || !endpoint.isAt(reply.uri())) {
        return reply;
      }
      reply.close();
      if (!again
          || !authorizer.answer(reply.headers().allValues("WWW-Authenticate"), authorization)) {
        throw Failures.unauthorized(endpoint, authorizer.used());
      }
    }
  }

  @FunctionalInterface
  private interface Attempt<T> {
    T run(Endpoint endpoint, Authorizer authorizer) throws IOException;
  }

  @FunctionalInterface
  private interface Counter {
    long get();
  }

  private <T> T attempt(Attempt<T> attempt, Counter done, DownloadProgress progress)
      throws IOException {
    List<Endpoint> left = new ArrayList<>(endpoints.keySet());
    Map<Endpoint, Exception> failures = new LinkedHashMap<>();
    long doneBefore = done.get();
    for (int failed = 1; ; failed++) {
      Duration wanted = Duration.ZERO;
      for (Endpoint endpoint : List.copyOf(left)) {
        try {
          return attempt.run(endpoint, Objects.requireNonNull(endpoints.get(endpoint)));
        } catch (TransientException e) {
          failures.put(endpoint, e);
          Duration retryAfter = e.retryAfter();
          if (retryAfter != null && retryAfter.compareTo(wanted) > 0) {
            wanted = retryAfter;
          }
        } catch (ImageException e) {
          failures.put(endpoint, e);
          left.remove(endpoint);
        }
        deadline.check();
      }
      if (done.get() - doneBefore >= PROGRESS) {
        doneBefore = done.get();
        failed = 1;
      }
      if (left.isEmpty()
          || failed == options.maxAttempts()
          || wanted.compareTo(Backoff.LONGEST_REQUEST) > 0) {
        throw failure(failures, failed, wanted);
      }
      progress.failed(done.get());
      sleep(wanted.compareTo(Duration.ZERO) > 0 ? wanted : Backoff.delay(failed));
    }
  }

  private void sleep(Duration duration) throws InterruptedIOException {
    if (deadline.remaining().compareTo(duration) < 0) {
      throw deadline.exceeded();
    }
    try {
      pause.sleep(duration);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted between two attempts");
    }
  }

  /** The registry's own failure, with those of its mirrors. */
  private ImageException failure(Map<Endpoint, Exception> failures, int attempts, Duration wanted) {
    Exception last = null;
    List<String> others = new ArrayList<>();
    for (Endpoint endpoint : endpoints.keySet()) {
      if (last != null) {
        others.add(words(last));
      }
      last = failures.get(endpoint);
    }
    if (last instanceof ImageException fatal && others.isEmpty()) {
      return fatal;
    }
    String message = last == null ? "nobody answered" : words(last);
    StringBuilder text = new StringBuilder("Pulling ").append(name).append(": ").append(message);
    if (last instanceof TransientException) {
      text.append(", in ").append(attempts).append(attempts == 1 ? " attempt" : " attempts");
    }
    others.forEach(other -> text.append("; mirror: ").append(other));
    String remedy =
        wanted.compareTo(Backoff.LONGEST_REQUEST) > 0
            ? "It wants no other request for " + wanted.toSeconds() + " seconds: try again then."
            : last instanceof TransientException
                ? "Check the network and the registry, and try again: what was downloaded is kept."
                : last instanceof ImageException fatal ? fatal.remedy() : null;
    ImageException failure = new ImageException(text.toString(), remedy, last);
    failures.values().stream()
        .filter(other -> !other.equals(failure.getCause()))
        .forEach(failure::addSuppressed);
    return failure;
  }

  /** Without the remedy, which comes once and at the end. */
  private static String words(Exception e) {
    String message = String.valueOf(e.getMessage());
    return e instanceof ImageException fatal && fatal.remedy() != null
        ? message.substring(0, message.length() - fatal.remedy().length() - ". ".length())
        : message;
  }

  /** Ends its threads and connections; downloads of other threads fail. */
  @Override
  public void close() throws IOException {
    transport.close();
  }
}
