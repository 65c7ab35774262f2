// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import javax.net.ServerSocketFactory;

/**
 * An HTTP server between a client and a registry, that breaks what it is told to break and notes
 * every request. Each response ends its connection.
 */
public final class FaultProxy implements AutoCloseable {
  private final String upstream;
  private final ServerSocket server;
  private final List<Rule> rules = new ArrayList<>();
  private final List<Request> requests = new CopyOnWriteArrayList<>();
  private final List<Socket> sockets = new CopyOnWriteArrayList<>();
  private final List<Thread> threads = new CopyOnWriteArrayList<>();

  /**
   * @param headers by name in lower case
   */
  public record Request(String method, String path, Map<String, String> headers, String body) {
    public String header(String name) {
      return headers.getOrDefault(name, "");
    }
  }

  /** A response: what the registry said, or what is to be said instead of it. */
  public record Reply(int status, Map<String, String> headers, byte[] body) {
    /** Status line and headers. */
    public void writeHead(OutputStream out) throws IOException {
      StringBuilder head = new StringBuilder("HTTP/1.1 " + status + " X\r\n");
      headers.forEach((name, value) -> head.append(name).append(": ").append(value).append("\r\n"));
      out.write(
          head.append("connection: close\r\n\r\n").toString().getBytes(StandardCharsets.UTF_8));
    }

    Reply with(String name, String value) {
      Map<String, String> changed = new TreeMap<>(headers);
      changed.put(name, value);
      return new Reply(status, changed, body);
    }

    Reply without(String name) {
      Map<String, String> changed = new TreeMap<>(headers);
      changed.remove(name);
      return new Reply(status, changed, body);
    }
  }

  /** What goes wrong with a response. */
  @FunctionalInterface
  public interface Fault {
    void answer(Request request, Upstream upstream, Socket client, OutputStream out)
        throws IOException;
  }

  /** Asks the registry. */
  @FunctionalInterface
  public interface Upstream {
    Reply ask() throws IOException;
  }

  private static final class Rule {
    final String part;
    final Fault fault;
    int times;

    Rule(String part, Fault fault, int times) {
      this.part = part;
      this.fault = fault;
      this.times = times;
    }
  }

  /** A proxy for that server, such as "http://localhost:5000". */
  public FaultProxy(String upstream) throws IOException {
    this(upstream, ServerSocketFactory.getDefault());
  }

  /** The same, that speaks TLS itself. */
  public FaultProxy(String upstream, PrivateCa ca) throws IOException {
    this(upstream, ca.server().getServerSocketFactory());
  }

  private FaultProxy(String upstream, ServerSocketFactory sockets) throws IOException {
    this.upstream = upstream;
    this.server = sockets.createServerSocket(0, 50, InetAddress.getLoopbackAddress());
    start(this::accept);
  }

  private void start(Runnable task) {
    Thread thread = new Thread(task, "fault-proxy");
    thread.setDaemon(true);
    threads.add(thread);
    thread.start();
  }

  /** As in references. */
  public String host() {
    return "localhost:" + server.getLocalPort();
  }

  public List<Request> requests() {
    return requests;
  }

  /** Those whose path has this part. */
  public List<Request> requests(String part) {
    return requests.stream().filter(request -> request.path.contains(part)).toList();
  }

  /** Lets the next so many responses for such a path go wrong. */
  public synchronized FaultProxy fail(String pathPart, int times, Fault fault) {
    rules.add(new Rule(pathPart, fault, times));
    return this;
  }

  /** Lets all responses for such a path go wrong. */
  public FaultProxy fail(String pathPart, Fault fault) {
    return fail(pathPart, Integer.MAX_VALUE, fault);
  }

  private synchronized Fault fault(Request request) {
    for (Rule rule : rules) {
      if (rule.times > 0 && request.path.contains(rule.part)) {
        rule.times--;
        return rule.fault;
      }
    }
    return pass();
  }

  /** Nothing: the response as it is. */
  public static Fault pass() {
    return (request, registry, client, out) -> write(registry.ask(), out);
  }

  private static void write(Reply reply, OutputStream out) throws IOException {
    reply.writeHead(out);
    out.write(reply.body);
  }

  /** The connection ends after so many bytes of the body. */
  public static Fault cutAfter(int bytes) {
    return (request, registry, client, out) -> {
      Reply reply = registry.ask();
      reply.writeHead(out);
      out.write(reply.body, 0, Math.min(bytes, reply.body.length));
    };
  }

  /** After so many bytes of the body nothing comes any more. */
  public static Fault stallAfter(int bytes) {
    return (request, registry, client, out) -> {
      Reply reply = registry.ask();
      reply.writeHead(out);
      out.write(reply.body, 0, Math.min(bytes, reply.body.length));
      out.flush();
      awaitEnd(client);
    };
  }

  /** Nothing comes at all. */
  public static Fault silence() {
    return (request, registry, client, out) -> awaitEnd(client);
  }

  private static void awaitEnd(Socket client) throws IOException {
    client.getInputStream().read();
  }

  /** Another status; pairs of headers; no body. */
  public static Fault status(int status, String... headers) {
    return says(status, "", headers);
  }

  public static Fault says(int status, String body, String... headers) {
    Map<String, String> map = new TreeMap<>();
    for (int i = 0; i < headers.length; i += 2) {
      map.put(headers[i], headers[i + 1]);
    }
    byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
    map.put("content-length", Integer.toString(bytes.length));
    return (request, registry, client, out) -> write(new Reply(status, map, bytes), out);
  }

  /** One byte is another. */
  public static Fault wrongByte() {
    return (request, registry, client, out) -> {
      Reply reply = registry.ask();
      reply.body[reply.body.length / 2] ^= 1;
      write(reply, out);
    };
  }

  /** One byte more than there should be, and a header that says so. */
  public static Fault longer() {
    return (request, registry, client, out) -> {
      Reply reply = registry.ask();
      reply.with("content-length", Integer.toString(reply.body.length + 1)).writeHead(out);
      out.write(reply.body);
      out.write(0);
    };
  }

  /** The body, and then zeros for as long as anybody reads them, without a length. */
  public static Fault endless() {
    return (request, registry, client, out) -> {
      Reply reply = registry.ask();
      reply.without("content-length").with("transfer-encoding", "chunked").writeHead(out);
      for (byte[] chunk = reply.body; ; chunk = new byte[8 << 10]) {
        out.write((Integer.toHexString(chunk.length) + "\r\n").getBytes(StandardCharsets.US_ASCII));
        out.write(chunk);
        out.write("\r\n".getBytes(StandardCharsets.US_ASCII));
        out.flush();
      }
    };
  }

  /** Chunks whose lengths are no numbers. */
  public static Fault garbageChunks() {
    return (request, registry, client, out) -> {
      registry.ask().without("content-length").with("transfer-encoding", "chunked").writeHead(out);
      out.write("zzzz\r\ngarbage\r\n-1\r\n".getBytes(StandardCharsets.US_ASCII));
    };
  }

  /** The same path at another server. */
  public static Fault redirect(String base) {
    return (request, registry, client, out) ->
        status(307, "location", base + request.path).answer(request, registry, client, out);
  }

  private void accept() {
    while (true) {
      try {
        Socket socket = server.accept();
        sockets.add(socket);
        start(() -> serve(socket));
      } catch (IOException closed) {
        return;
      }
    }
  }

  private void serve(Socket socket) {
    try (socket;
        OutputStream out = new BufferedOutputStream(socket.getOutputStream())) {
      Request request = read(socket.getInputStream());
      requests.add(request);
      fault(request).answer(request, () -> ask(request), socket, out);
    } catch (IOException e) {
      // the client has gone, as some faults want it
    } finally {
      sockets.remove(socket);
    }
  }

  private static Request read(InputStream in) throws IOException {
    String[] first = line(in).split(" ");
    if (first.length < 2) {
      throw new IOException("no request");
    }
    Map<String, String> headers = new TreeMap<>();
    for (String line; !(line = line(in)).isEmpty(); ) {
      int colon = line.indexOf(':');
      if (colon < 0) {
        throw new IOException("no header");
      }
      headers.put(
          line.substring(0, colon).toLowerCase(Locale.ROOT), line.substring(colon + 1).strip());
    }
    int length = Integer.parseInt(headers.getOrDefault("content-length", "0"));
    return new Request(
        first[0], first[1], headers, new String(in.readNBytes(length), StandardCharsets.UTF_8));
  }

  private static String line(InputStream in) throws IOException {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    for (int b; (b = in.read()) >= 0 && b != '\n'; ) {
      line.write(b);
    }
    return line.toString(StandardCharsets.UTF_8).strip();
  }

  private Reply ask(Request request) throws IOException {
    HttpURLConnection connection =
        (HttpURLConnection) URI.create(upstream + request.path).toURL().openConnection();
    connection.setInstanceFollowRedirects(false);
    for (String name : List.of("accept", "range")) {
      if (request.headers.containsKey(name)) {
        connection.setRequestProperty(name, request.header(name));
      }
    }
    int status = connection.getResponseCode();
    Map<String, String> headers = new TreeMap<>();
    connection
        .getHeaderFields()
        .forEach(
            (name, values) -> {
              if (name != null) {
                headers.put(name.toLowerCase(Locale.ROOT), values.get(0));
              }
            });
    headers.remove("connection");
    headers.remove("transfer-encoding");
    InputStream body = status < 400 ? connection.getInputStream() : connection.getErrorStream();
    byte[] bytes = body == null ? new byte[0] : body.readAllBytes();
    headers.put("content-length", Integer.toString(bytes.length));
    return new Reply(status, headers, bytes);
  }

  @Override
  public void close() throws IOException {
    server.close();
    for (Socket socket : sockets) {
      socket.close();
    }
    for (Thread thread : threads) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }
}
