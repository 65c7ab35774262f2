// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import com.google.common.collect.Sets;
import dev.nacelle.ImageException;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.internal.LibraryThread;
import java.io.Closeable;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.UnknownHostException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.channels.UnresolvedAddressException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;

/**
 * Requests over HTTP/1.1, with the rules of who is told what: no secret leaves for another server,
 * and nothing goes without TLS where that was not asked for. Safe for use from several threads.
 *
 * <p>Its threads end with {@link #close}.
 */
final class HttpTransport implements Closeable {
  /** As many as Go's client follows, and so container engines. */
  private static final int MAX_REDIRECTS = 10;

  /**
   * Where clients are made. Before Java 21 they cannot be closed, but the thread of each, which it
   * starts in the group of who makes it, ends it when it is interrupted (HttpClientImpl's
   * SelectorManager); otherwise it would stay until the client is garbage.
   */
  private static final ThreadGroup MAKERS = LibraryThread.group("nacelle-http");

  private final RegistryOptions options;
  private final Deadline deadline;
  private final ExecutorService executor;
  private final Map<Object, HttpClient> clients = new HashMap<>();
  private final List<Thread> selectors = new ArrayList<>(); // guarded by clients

  HttpTransport(RegistryOptions options, Deadline deadline) {
    this.options = options;
    this.deadline = deadline;
    AtomicInteger number = new AtomicInteger();
    this.executor =
        Executors.newCachedThreadPool(
            task -> new LibraryThread(task, "nacelle-http-" + number.incrementAndGet()));
  }

  /** What says who a server is: scheme, host and port. */
  static boolean isSameServer(URI one, URI other) {
    return Objects.equals(one.getScheme(), other.getScheme())
        && Objects.equals(host(one), host(other))
        && port(one) == port(other);
  }

  private static @Nullable String host(URI uri) {
    return uri.getHost() == null ? null : uri.getHost().toLowerCase(Locale.ROOT);
  }

  private static int port(URI uri) {
    return uri.getPort() >= 0 ? uri.getPort() : "http".equals(uri.getScheme()) ? 80 : 443;
  }

  /** Says what goes into the Authorization header for a server; null for nothing. */
  @FunctionalInterface
  interface Authorization {
    @Nullable String header(URI uri);
  }

  /**
   * Gets something, also from where that server refers to.
   *
   * @param endpoint whose certificates are trusted on the way
   * @param authorization asked anew for each server on the way
   * @throws TransientException when this may go better another time
   * @throws ImageException when it will not
   */
  HttpReply get(
      Endpoint endpoint, URI first, Map<String, String> headers, Authorization authorization)
      throws IOException {
    URI uri = first;
    for (int redirects = 0; ; redirects++) {
      HttpRequest.Builder request = request(uri).GET();
      headers.forEach(request::setHeader);
      String secret = authorization.header(uri);
      if (secret != null) {
        request.setHeader("Authorization", secret);
      }
      HttpReply reply = exchange(endpoint, request.build());
      if (!isRedirect(reply.status())) {
        return reply;
      }
      reply.close();
      if (redirects == MAX_REDIRECTS) {
        throw new ImageException(
            ImageException.Reason.REGISTRY_FAULT,
            show(first) + " redirects more than " + MAX_REDIRECTS + " times",
            null,
            null);
      }
      uri = target(uri, reply.header("Location").orElse(""));
    }
  }

  /** Posts a form; nobody's redirect gets it. */
  HttpReply post(Endpoint endpoint, URI uri, String form) throws IOException {
    return exchange(
        endpoint,
        request(uri)
            .setHeader("Content-Type", "application/x-www-form-urlencoded")
            .POST(HttpRequest.BodyPublishers.ofString(form))
            .build());
  }

  private HttpRequest.Builder request(URI uri) {
    requireAllowed(uri);
    try {
      // Digests are of what is stored: no server is to compress it on the way.
      return HttpRequest.newBuilder(uri)
          .setHeader("User-Agent", "nacelle")
          .setHeader("Accept-Encoding", "identity");
    } catch (IllegalArgumentException e) {
      throw new ImageException(
          ImageException.Reason.REGISTRY_FAULT,
          show(uri) + " is no address of a server",
          null,
          null);
    }
  }

  private void requireAllowed(URI uri) {
    if (uri.getHost() == null) {
      throw new ImageException(
          ImageException.Reason.UNSUPPORTED,
          show(uri) + " cannot be asked: Java takes no such name for a host",
          null,
          null);
    }
    if ("https".equals(uri.getScheme())) {
      return;
    }
    if (!"http".equals(uri.getScheme())) {
      throw new ImageException(
          ImageException.Reason.REGISTRY_FAULT,
          "A registry refers to '" + show(uri) + "', which is no HTTPS address",
          null,
          null);
    }
    String host = uri.getHost();
    if (!options.isPlainHttp(uri.getPort() < 0 ? host : host + ":" + uri.getPort())) {
      throw new ImageException(
          ImageException.Reason.UNTRUSTED,
          show(uri) + " is without TLS, and that was not allowed",
          "If nobody can listen in on the way there, allow it with RegistryOptions plainHttp.",
          null);
    }
  }

  private static boolean isRedirect(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
  }

  private static URI target(URI from, String location) {
    if (location.isEmpty()) {
      throw new ImageException(
          ImageException.Reason.REGISTRY_FAULT,
          show(from) + " redirects without saying where to",
          null,
          null);
    }
    try {
      return Reference.resolve(from, location);
    } catch (IllegalArgumentException e) {
      throw new ImageException(
          ImageException.Reason.REGISTRY_FAULT,
          show(from) + " redirects to " + e.getMessage(),
          null,
          null);
    }
  }

  /** Without the path and the query, which may hold a signature that grants access. */
  static String show(URI uri) {
    String authority = String.valueOf(uri.getRawAuthority());
    return uri.getScheme() + "://" + authority.substring(authority.lastIndexOf('@') + 1);
  }

  private HttpReply exchange(Endpoint endpoint, HttpRequest request) throws IOException {
    deadline.check();
    String server = show(request.uri());
    BodyStream body = new BodyStream(options.stallTimeout(), deadline);
    HttpClient client = client(endpoint, request.uri());
    // Not the request's own timeout, because from some Java on that bounds the body, too; and not
    // sendAsync, which completes in the common pool, where everybody may be waiting for us.
    Future<HttpResponse<BodyStream>> answer =
        executor.submit(() -> client.send(request, info -> body));
    try {
      HttpResponse<BodyStream> response =
          answer.get(deadline.atMost(options.stallTimeout()).toMillis(), TimeUnit.MILLISECONDS);
      return new HttpReply(request.uri(), response.statusCode(), response.headers(), body);
    } catch (InterruptedException e) {
      abandon(answer, body);
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while asking " + server);
    } catch (TimeoutException e) {
      abandon(answer, body);
      deadline.check();
      throw new TransientException(server + ": no answer for " + options.stallTimeout(), null);
    } catch (ExecutionException e) {
      throw failure(request.uri(), Objects.requireNonNullElse(e.getCause(), e));
    }
  }

  /** Interrupts the thread that asks, which ends the request; its answer may come even so. */
  private static void abandon(Future<?> answer, BodyStream body) {
    answer.cancel(true);
    body.close();
  }

  private static IOException failure(URI uri, Throwable cause) {
    if (cause instanceof SSLException tls) {
      return tlsFailure(uri, tls);
    }
    if (isUnknownHost(cause)) {
      throw new ImageException(
          ImageException.Reason.NETWORK,
          "No host '" + uri.getHost() + "' is known",
          "Check the name of the registry, and this machine's DNS.",
          cause);
    }
    return new TransientException(show(uri) + ": " + reason(cause), cause);
  }

  private static String reason(Throwable e) {
    if (e instanceof ConnectException && e.getMessage() == null) {
      return "the connection was refused";
    }
    return e.getMessage() == null ? e.toString() : e.getMessage();
  }

  private static boolean isUnknownHost(Throwable e) {
    return caused(e, UnresolvedAddressException.class) || caused(e, UnknownHostException.class);
  }

  private static boolean caused(Throwable e, Class<? extends Throwable> type) {
    for (Throwable cause = e; cause != null; cause = cause.getCause()) {
      if (type.isInstance(cause)) {
        return true;
      }
    }
    return false;
  }

  private static IOException tlsFailure(URI uri, SSLException e) {
    String message = String.valueOf(e.getMessage());
    // The words of the JDK's SSLSocketInputRecord and SSLEngineInputRecord.
    if (message.matches("(Unsupported or u|U)nrecognized SSL message.*")) {
      throw new ImageException(
          ImageException.Reason.UNTRUSTED,
          show(uri) + " does not speak TLS",
          "If it is a registry without TLS, and nobody can listen in on the way there, allow that"
              + " with RegistryOptions plainHttp.",
          e);
    }
    if (caused(e, GeneralSecurityException.class)) {
      throw new ImageException(
          ImageException.Reason.UNTRUSTED,
          "The certificate of " + show(uri) + " is not trusted: " + message,
          "Give the certificate of its CA with RegistryOptions certificates; if it names another"
              + " host, use that name.",
          e);
    }
    return new TransientException(show(uri) + ": " + reason(e), e);
  }

  /** The context of the host, or of the registry that referred to it. */
  private HttpClient client(Endpoint endpoint, URI uri) {
    String host = uri.getPort() < 0 ? uri.getHost() : uri.getHost() + ":" + uri.getPort();
    String trusted =
        options.sslContext(host).isPresent() || !options.certificates(host).isEmpty()
            ? host
            : endpoint.host();
    SSLContext context = options.sslContext(trusted).orElse(null);
    List<Path> certificates = options.certificates(trusted);
    Object key = context != null ? context : certificates;
    synchronized (clients) {
      HttpClient client = clients.get(key);
      if (client == null) {
        HttpClient.Builder builder =
            HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1)
                .followRedirects(HttpClient.Redirect.NEVER)
                .connectTimeout(options.connectTimeout())
                .executor(executor);
        if (context != null) {
          builder.sslContext(context);
        } else if (!certificates.isEmpty()) {
          builder.sslContext(TrustedCertificates.context(certificates));
        }
        client = make(builder);
        clients.put(key, client);
      }
      return client;
    }
  }

  private HttpClient make(HttpClient.Builder builder) {
    synchronized (HttpTransport.class) {
      Set<Thread> others = madeThreads();
      try {
        return LibraryThread.make(MAKERS, builder::build);
      } finally {
        selectors.addAll(Sets.difference(madeThreads(), others));
      }
    }
  }

  private static Set<Thread> madeThreads() {
    Thread[] threads = new Thread[MAKERS.activeCount() + 1];
    while (MAKERS.enumerate(threads) == threads.length) {
      threads = new Thread[2 * threads.length];
    }
    return Arrays.stream(threads).filter(Objects::nonNull).collect(Collectors.toSet());
  }

  @Override
  public void close() throws IOException {
    synchronized (clients) {
      for (Object client : clients.values()) {
        if (client instanceof AutoCloseable closeable) {
          try {
            closeable.close();
          } catch (Exception e) {
            throw new IOException("cannot close the HTTP client", e);
          }
        }
      }
      clients.clear();
      selectors.forEach(Thread::interrupt);
    }
    executor.shutdownNow();
  }
}
