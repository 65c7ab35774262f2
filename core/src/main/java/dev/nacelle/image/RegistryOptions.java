// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import javax.net.ssl.SSLContext;
import org.jspecify.annotations.Nullable;

/**
 * How to talk to registries. Immutable; {@link #toString} shows no secret.
 *
 * <p>A registry is named as in references: {@code HOST} or {@code HOST:PORT}, and {@code docker.io}
 * for Docker's own. Proxies are those of Java's {@link java.net.ProxySelector#getDefault()}, such
 * as the system property {@code https.proxyHost} names.
 */
public final class RegistryOptions {
  private static final RegistryOptions DEFAULTS = builder().build();

  private final Map<String, RegistryCredentials> credentials;
  private final @Nullable List<Path> credentialFiles;
  private final Map<String, List<String>> mirrors;
  private final Set<String> plainHttp;
  private final Map<String, List<Path>> certificates;
  private final Map<String, SSLContext> sslContexts;
  private final int parallelDownloads;
  private final int maxAttempts;
  private final Duration connectTimeout;
  private final Duration stallTimeout;
  private final Duration pullTimeout;

  private RegistryOptions(Builder builder) {
    credentials = Map.copyOf(builder.credentials);
    credentialFiles = builder.credentialFiles;
    mirrors = Map.copyOf(builder.mirrors);
    plainHttp = Set.copyOf(builder.plainHttp);
    certificates = Map.copyOf(builder.certificates);
    sslContexts = Map.copyOf(builder.sslContexts);
    parallelDownloads = builder.parallelDownloads;
    maxAttempts = builder.maxAttempts;
    connectTimeout = builder.connectTimeout;
    stallTimeout = builder.stallTimeout;
    pullTimeout = builder.pullTimeout;
  }

  /** The default of everything. */
  public static RegistryOptions defaults() {
    return DEFAULTS;
  }

  /** To make other ones. */
  public static Builder builder() {
    return new Builder();
  }

  /** To make other ones that differ from these. */
  public Builder toBuilder() {
    return new Builder(this);
  }

  /** What {@link Builder#credentials} was told, by registry or registry and path. */
  public Map<String, RegistryCredentials> credentials() {
    return credentials;
  }

  /** The files to look for credentials in; empty for Docker's and Podman's. */
  public Optional<List<Path>> credentialFiles() {
    return Optional.ofNullable(credentialFiles);
  }

  /** Where to look before the registry itself, in this order. */
  public List<String> mirrors(String registry) {
    return mirrors.getOrDefault(registry, List.of());
  }

  /** Whether a host is spoken to without TLS. */
  public boolean isPlainHttp(String registry) {
    return plainHttp.contains(registry);
  }

  /** Files of certificates to trust, beside those that Java trusts. */
  public List<Path> certificates(String registry) {
    return certificates.getOrDefault(registry, List.of());
  }

  /** What decides about TLS with that host, if {@link Builder#sslContext} was told so. */
  public Optional<SSLContext> sslContext(String registry) {
    return Optional.ofNullable(sslContexts.get(registry));
  }

  /** How many layers of one image are downloaded at once. */
  public int parallelDownloads() {
    return parallelDownloads;
  }

  /** How often something is tried before it fails. */
  public int maxAttempts() {
    return maxAttempts;
  }

  /** How long a connection may take to come about. */
  public Duration connectTimeout() {
    return connectTimeout;
  }

  /** How long nothing may arrive before an attempt counts as failed. */
  public Duration stallTimeout() {
    return stallTimeout;
  }

  /** How long one pull may take, with all its attempts. */
  public Duration pullTimeout() {
    return pullTimeout;
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(
        credentials,
        credentialFiles,
        mirrors,
        plainHttp,
        certificates,
        sslContexts,
        parallelDownloads,
        maxAttempts,
        connectTimeout,
        stallTimeout,
        pullTimeout);
  }

  /** Whether both say the same, with the same objects for SSL contexts. */
  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof RegistryOptions options && state().equals(options.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  /** Without the secrets. */
  @Override
  public String toString() {
    return "RegistryOptions[credentials=" + credentials + ", mirrors=" + mirrors + "]";
  }

  /**
   * Makes {@link RegistryOptions}. Not safe for use from several threads. What is optional, so that
   * its getter is an Optional, is taken back to its default by {@code removeX()}; what is said of a
   * registry, by {@code removeX(registry)}.
   */
  public static final class Builder {
    /** More is the same, and nanoseconds stay within a long. */
    private static final Duration LONGEST = Duration.ofDays(365);

    private final Map<String, RegistryCredentials> credentials = new HashMap<>();
    private @Nullable List<Path> credentialFiles;
    private final Map<String, List<String>> mirrors = new HashMap<>();
    private final Set<String> plainHttp = new HashSet<>();
    private final Map<String, List<Path>> certificates = new HashMap<>();
    private final Map<String, SSLContext> sslContexts = new HashMap<>();
    private int parallelDownloads = 3;
    private int maxAttempts = 5;
    private Duration connectTimeout = Duration.ofSeconds(10);
    private Duration stallTimeout = Duration.ofSeconds(30);
    private Duration pullTimeout = Duration.ofHours(1);

    private Builder() {}

    private Builder(RegistryOptions options) {
      credentials.putAll(options.credentials);
      credentialFiles = options.credentialFiles;
      mirrors.putAll(options.mirrors);
      plainHttp.addAll(options.plainHttp);
      certificates.putAll(options.certificates);
      sslContexts.putAll(options.sslContexts);
      parallelDownloads = options.parallelDownloads;
      maxAttempts = options.maxAttempts;
      connectTimeout = options.connectTimeout;
      stallTimeout = options.stallTimeout;
      pullTimeout = options.pullTimeout;
    }

    /**
     * Logs in to a registry with these. They come before any file, and are sent to that registry
     * and the token service it names, nowhere else.
     *
     * @param registry {@code HOST[:PORT]}, or {@code HOST[:PORT]/PATH} for the repositories below a
     *     path; the longest that fits counts
     * @throws IllegalArgumentException when it is no such name, saying which character is wrong
     */
    public Builder credentials(String registry, RegistryCredentials credentials) {
      this.credentials.put(RegistryName.hostAndPath(registry), Objects.requireNonNull(credentials));
      return this;
    }

    /** Takes back what {@link #credentials} was told for that name. */
    public Builder removeCredentials(String registry) {
      credentials.remove(registry);
      return this;
    }

    /**
     * Looks for credentials in these files, in the format of Docker's config.json and Podman's
     * auth.json, and nowhere else; without any file, only {@link #credentials} count. The default
     * is {@code $REGISTRY_AUTH_FILE}, or {@code containers/auth.json} below {@code
     * $XDG_RUNTIME_DIR}, or without one {@code /run/containers/UID/auth.json}; then {@code
     * containers/auth.json} below {@code $XDG_CONFIG_HOME} or {@code ~/.config}, then {@code
     * config.json} below {@code $DOCKER_CONFIG} or {@code ~/.docker}. Credential helpers that a
     * file names are run, each for 30 seconds at most.
     */
    public Builder credentialFiles(Path... files) {
      return credentialFiles(List.of(files));
    }

    /** As {@link #credentialFiles(Path...)}. */
    public Builder credentialFiles(List<Path> files) {
      this.credentialFiles = List.copyOf(files);
      return this;
    }

    /** Takes {@link #credentialFiles(Path...)} back: Docker's and Podman's files count. */
    public Builder removeCredentialFiles() {
      credentialFiles = null;
      return this;
    }

    /**
     * Looks in mirrors before the registry itself, in this order; what one does not have, or does
     * not give, is got from the next. One that fails is asked last from then on, in that pull.
     *
     * @param mirrors {@code HOST[:PORT][/PATH]}; the path comes before the name of the repository
     * @throws IllegalArgumentException when the registry is none, or a mirror cannot be part of a
     *     reference, or does not begin with a host
     */
    public Builder mirrors(String registry, String... mirrors) {
      return mirrors(registry, List.of(mirrors));
    }

    /** As {@link #mirrors(String, String...)}. */
    public Builder mirrors(String registry, List<String> mirrors) {
      for (String mirror : mirrors) {
        ImageRef any = ImageRef.parse(mirror + "/any");
        if (!any.registry().orElse("").equals(mirror.split("/", 2)[0])) {
          throw new IllegalArgumentException("no HOST[:PORT][/PATH]: " + mirror);
        }
      }
      this.mirrors.put(RegistryName.host(registry), List.copyOf(mirrors));
      return this;
    }

    /** Looks in no mirror of that registry. */
    public Builder removeMirrors(String registry) {
      mirrors.remove(registry);
      return this;
    }

    /**
     * Speaks to a host over HTTP without TLS: nobody knows who answers, and all can read along,
     * passwords included. For registries on the own machine.
     *
     * @param registry {@code HOST[:PORT]}
     * @throws IllegalArgumentException when it is no such name, saying which character is wrong
     */
    public Builder plainHttp(String registry) {
      plainHttp.add(RegistryName.host(registry));
      return this;
    }

    /** Speaks to that host over TLS again. */
    public Builder removePlainHttp(String registry) {
      plainHttp.remove(registry);
      return this;
    }

    /**
     * Trusts certificates beside those that Java trusts: those of a private CA, or of the registry
     * itself.
     *
     * @param registry {@code HOST[:PORT]}
     * @param files one or more certificates in PEM each; read when the registry is first spoken to
     * @throws IllegalArgumentException when it is no such name, saying which character is wrong
     */
    public Builder certificates(String registry, Path... files) {
      return certificates(registry, List.of(files));
    }

    /** As {@link #certificates(String, Path...)}. */
    public Builder certificates(String registry, List<Path> files) {
      certificates.put(RegistryName.host(registry), List.copyOf(files));
      return this;
    }

    /** Trusts no more than Java does of that registry. */
    public Builder removeCertificates(String registry) {
      certificates.remove(registry);
      return this;
    }

    /**
     * Leaves TLS with a host to this, such as for client certificates.
     *
     * @param registry {@code HOST[:PORT]}
     * @throws IllegalArgumentException when it is no such name, saying which character is wrong
     */
    public Builder sslContext(String registry, SSLContext context) {
      sslContexts.put(RegistryName.host(registry), Objects.requireNonNull(context));
      return this;
    }

    /** Leaves TLS with that host to Nacelle again. */
    public Builder removeSslContext(String registry) {
      sslContexts.remove(registry);
      return this;
    }

    /**
     * How many layers of one image are downloaded at once; 3 by default, as Docker has it.
     *
     * @throws IllegalArgumentException when it is not between 1 and 32
     */
    public Builder parallelDownloads(int number) {
      if (number < 1 || number > 32) {
        throw new IllegalArgumentException("1 to 32 parallel downloads, not " + number);
      }
      parallelDownloads = number;
      return this;
    }

    /**
     * How often something is tried, when it fails in a way that may pass (a broken connection, 429,
     * 5xx), before the pull fails; 5 by default. Between attempts there is a pause, of about half a
     * second at first and twice as long each time, or as long as the registry asks for, up to two
     * minutes. A download that got a MiB further begins to count anew.
     *
     * @throws IllegalArgumentException when it is not between 1 and 100
     */
    public Builder maxAttempts(int number) {
      if (number < 1 || number > 100) {
        throw new IllegalArgumentException("1 to 100 attempts, not " + number);
      }
      maxAttempts = number;
      return this;
    }

    /**
     * How long a connection may take to come about; 10 seconds by default.
     *
     * @throws IllegalArgumentException when it is not positive
     */
    public Builder connectTimeout(Duration timeout) {
      connectTimeout = positive(timeout);
      return this;
    }

    /**
     * How long nothing may arrive before an attempt counts as failed; 30 seconds by default.
     *
     * @throws IllegalArgumentException when it is not positive
     */
    public Builder stallTimeout(Duration timeout) {
      stallTimeout = positive(timeout);
      return this;
    }

    /**
     * How long one pull may take, with all its attempts and with what it waits for other processes
     * that pull the same; an hour by default. What was downloaded by then is kept, and the next
     * pull goes on from there.
     *
     * @throws IllegalArgumentException when it is not positive
     */
    public Builder pullTimeout(Duration timeout) {
      pullTimeout = positive(timeout);
      return this;
    }

    private static Duration positive(Duration duration) {
      if (duration.isNegative() || duration.isZero()) {
        throw new IllegalArgumentException("a timeout is positive, unlike " + duration);
      }
      return duration.compareTo(LONGEST) > 0 ? LONGEST : duration;
    }

    /** The options. */
    public RegistryOptions build() {
      return new RegistryOptions(this);
    }
  }
}
