// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.RegistryOptions;
import java.io.Closeable;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * Pulls from one repository, for one pull: from the mirrors and the registry, each in turn, those
 * that failed behind those that did not, and none before its pause is over. What the registry
 * itself does not have is looked for no further. Safe for use from several threads; an interrupt
 * ends what a thread does, with an InterruptedIOException.
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

  /** The mirrors, then the registry. */
  private final List<Source> sources = new ArrayList<>();

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
    CredentialLookup lookup = new CredentialLookup(options, System::getenv, deadline);
    for (Endpoint endpoint : Endpoint.of(options, registry, repository)) {
      sources.add(new Source(endpoint, new Authorizers(endpoint, transport, lookup), pause));
    }
  }

  /** Somebody does not have it. */
  private static final class AbsentException extends ImageException {
    private static final long serialVersionUID = 1L;

    AbsentException(String message, String remedy) {
      super(Reason.NOT_FOUND, message, remedy, null);
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
        (endpoint, authorizers) -> {
          try (HttpReply reply =
              get(
                  endpoint,
                  authorizers,
                  "manifests",
                  reference,
                  Map.of("Accept", MANIFEST_TYPES))) {
            if (reply.status() == 404) {
              throw new AbsentException(
                  "There is no image of "
                      + what
                      + " in "
                      + endpoint.repository()
                      + " at "
                      + endpoint,
                  "Check the name and the tag of the image.");
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
          ImageException.Reason.TOO_LARGE,
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
          ImageException.Reason.DAMAGED,
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
   * @param ifAbsent what the caller can do where it is missing, for the error
   * @param file exists; it may hold the beginning of the blob, and holds more of it on failure
   */
  public void download(
      Digest digest, long size, String ifAbsent, Path file, DownloadProgress progress)
      throws IOException {
    try (BlobDownload download = BlobDownload.open(file, digest, size, progress)) {
      Boolean unused =
          attempt(
              (endpoint, authorizers) -> {
                if (!download.isComplete() || size == 0) {
                  String range = download.range();
                  Map<String, String> headers = range.isEmpty() ? Map.of() : Map.of("Range", range);
                  try (HttpReply reply =
                      get(endpoint, authorizers, "blobs", digest.toString(), headers)) {
                    if (reply.status() == 404) {
                      throw new AbsentException(
                          "The blob " + digest + " is missing at " + endpoint, ifAbsent);
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
      Authorizers authorizers,
      String kind,
      String reference,
      Map<String, String> headers)
      throws IOException {
    Set<Authorizer> asked = new HashSet<>();
    while (true) {
      AtomicReference<@Nullable String> sent = new AtomicReference<>();
      HttpReply reply =
          transport.get(
              endpoint,
              endpoint.uri(kind, reference),
              headers,
              uri -> {
                sent.set(authorizers.header(uri));
                return sent.get();
              });
      if (reply.status() == 401) {
        reply.close();
        logIn(endpoint, authorizers.of(reply.uri()), reply, sent.get(), asked);
      } else if (!mayBeHidden(endpoint, reply)
          || sent.get() != null
          || !logInUnasked(endpoint, authorizers.own(), reply, asked)) {
        return reply;
      }
    }
  }

  private static void logIn(
      Endpoint endpoint,
      @Nullable Authorizer authorizer,
      HttpReply reply,
      @Nullable String sent,
      Set<Authorizer> asked)
      throws IOException {
    List<String> challenges = reply.headers().allValues("WWW-Authenticate");
    if (authorizer != null
        && (asked.add(authorizer) || Authorizer.isPasswordWanted(challenges, sent))
        && authorizer.answer(challenges, sent)) {
      return;
    }
    if (sent == null && !endpoint.isAt(reply.uri())) {
      throw new ImageException(
          ImageException.Reason.UNAUTHORIZED,
          endpoint
              + " redirects to "
              + HttpTransport.show(reply.uri())
              + ", which answers 401 and gives no token; and no password follows a redirect",
          "Pull from there, if that is a registry of yours.",
          null);
    }
    throw Failures.unauthorized(
        authorizer == null ? endpoint : authorizer.endpoint(),
        authorizer == null ? Optional.empty() : authorizer.used());
  }

  /** Some registries say so of what nobody is logged in for, in place of a challenge. */
  private static boolean mayBeHidden(Endpoint endpoint, HttpReply reply) {
    return (reply.status() == 403 || reply.status() == 404) && endpoint.isAt(reply.uri());
  }

  /** Asks for the challenge that did not come; once, and where there is somebody to log in as. */
  private boolean logInUnasked(
      Endpoint endpoint, Authorizer authorizer, HttpReply hidden, Set<Authorizer> asked)
      throws IOException {
    boolean loggedIn = false;
    try {
      if (authorizer.hasCredentials() && asked.add(authorizer)) {
        URI api = endpoint.base().resolve("/v2/");
        try (HttpReply reply = transport.get(endpoint, api, Map.of(), uri -> null)) {
          loggedIn =
              reply.status() == 401
                  && endpoint.isAt(reply.uri())
                  && authorizer.answer(reply.headers().allValues("WWW-Authenticate"), null);
        }
      }
    } catch (IOException | RuntimeException e) {
      hidden.close();
      throw e;
    }
    if (loggedIn) {
      hidden.close();
    }
    return loggedIn;
  }

  @FunctionalInterface
  private interface Attempt<T> {
    T run(Endpoint endpoint, Authorizers authorizers) throws IOException;
  }

  @FunctionalInterface
  private interface Counter {
    long get();
  }

  private <T> T attempt(Attempt<T> attempt, Counter done, DownloadProgress progress)
      throws IOException {
    List<Source> left = new ArrayList<>(sources);
    Map<Source, Integer> attempts = new HashMap<>();
    Map<Source, Exception> failures = new HashMap<>();
    long doneBefore = done.get();
    while (!left.isEmpty()) {
      Source source =
          Collections.min(
              left, Comparator.comparing(Source::untilReady).thenComparing(Source::isFailing));
      sleep(source.untilReady());
      try {
        T result = attempt.run(source.endpoint(), source.authorizers());
        source.succeeded();
        return result;
      } catch (TransientException e) {
        failures.put(source, e);
        if (done.get() - doneBefore >= PROGRESS) {
          doneBefore = done.get();
          attempts.clear();
          source.succeeded();
        }
        if (wantsTooMuch(e)) {
          source.failed(Backoff.LONGEST_REQUEST);
          left.remove(source);
        } else {
          source.failed(e.retryAfter());
        }
        if (attempts.merge(source, 1, Integer::sum) == options.maxAttempts()) {
          left.remove(source);
        }
      } catch (AbsentException e) {
        failures.put(source, e);
        left.remove(source);
        if (source.equals(registry())) {
          break;
        }
      } catch (ImageException e) {
        if (deadline.isOver()) {
          throw e; // That says it, or what hung until then.
        }
        failures.put(source, e);
        source.failed(null);
        left.remove(source);
      }
      deadline.check();
      if (!left.isEmpty()) {
        progress.failed(done.get());
      }
    }
    throw failure(failures, attempts.getOrDefault(registry(), 0));
  }

  private Source registry() {
    return sources.get(sources.size() - 1);
  }

  private static boolean wantsTooMuch(TransientException e) {
    Duration wanted = e.retryAfter();
    return wanted != null && wanted.compareTo(Backoff.LONGEST_REQUEST) > 0;
  }

  private void sleep(Duration duration) throws InterruptedIOException {
    if (duration.isZero()) {
      return;
    }
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
  private ImageException failure(Map<Source, Exception> failures, int attempts) {
    Exception own = Objects.requireNonNull(failures.remove(registry()));
    if (own instanceof ImageException fatal && failures.isEmpty()) {
      return fatal;
    }
    StringBuilder text = new StringBuilder("Pulling ").append(name).append(": ").append(words(own));
    if (own instanceof TransientException) {
      text.append(", in ").append(attempts).append(attempts == 1 ? " attempt" : " attempts");
    }
    for (Source mirror : sources) {
      if (failures.containsKey(mirror)) {
        text.append("; mirror: ").append(words(failures.get(mirror)));
      }
    }
    ImageException failure = new ImageException(reason(own), text.toString(), remedy(own), own);
    failures.values().forEach(failure::addSuppressed);
    return failure;
  }

  private static ImageException.Reason reason(Exception e) {
    return e instanceof TransientException passing
        ? passing.reason()
        : ((ImageException) e).reason();
  }

  private static @Nullable String remedy(Exception e) {
    if (e instanceof TransientException passing) {
      Duration wanted = passing.retryAfter();
      return wanted != null && wantsTooMuch(passing)
          ? "It wants no other request for " + wanted.toSeconds() + " seconds: try again then."
          : "Check the network and the registry, and try again: what was downloaded is kept.";
    }
    return e instanceof ImageException fatal ? fatal.remedy().orElse(null) : null;
  }

  /** Without the remedy, which comes once and at the end. */
  private static String words(Exception e) {
    String message = String.valueOf(e.getMessage());
    return e instanceof ImageException fatal
        ? fatal
            .remedy()
            .map(remedy -> message.substring(0, message.length() - remedy.length() - 2))
            .orElse(message)
        : message;
  }

  /** Ends its threads and connections; downloads of other threads fail. */
  @Override
  public void close() throws IOException {
    transport.close();
  }
}
