// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.image.Digest;
import dev.nacelle.kernel.KernelRef;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Where the package of a kernel stands on its way from a mirror. A package that is in the cache is
 * not told of. Immutable.
 */
public final class PackageProgress implements FetchProgress {
  private final KernelRef kernel;
  private final String name;
  private final Digest digest;
  private final State state;
  private final DataSize done;
  private final @Nullable DataSize total;

  private PackageProgress(
      KernelRef kernel,
      String name,
      Digest digest,
      State state,
      DataSize done,
      @Nullable DataSize total) {
    this.kernel = Objects.requireNonNull(kernel);
    this.name = Objects.requireNonNull(name);
    this.digest = Objects.requireNonNull(digest);
    this.state = Objects.requireNonNull(state);
    this.done = Objects.requireNonNull(done);
    this.total = total;
  }

  /** With what the getters of the same names tell, while its size is not known. */
  public static PackageProgress of(
      KernelRef kernel, String name, Digest digest, State state, DataSize done) {
    return new PackageProgress(kernel, name, digest, state, done, null);
  }

  /** With what the getters of the same names tell. */
  public static PackageProgress of(
      KernelRef kernel, String name, Digest digest, State state, DataSize done, DataSize total) {
    return new PackageProgress(kernel, name, digest, state, done, Objects.requireNonNull(total));
  }

  /** The kernel that is fetched. */
  public KernelRef kernel() {
    return kernel;
  }

  /** The name of the package. */
  public String name() {
    return name;
  }

  /** The digest of the package file. */
  public Digest digest() {
    return digest;
  }

  @Override
  public State state() {
    return state;
  }

  @Override
  public DataSize done() {
    return done;
  }

  @Override
  public Optional<DataSize> total() {
    return Optional.ofNullable(total);
  }

  private List<@Nullable Object> told() {
    return Arrays.asList(kernel, name, digest, state, done, total);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof PackageProgress that && told().equals(that.told());
  }

  @Override
  public int hashCode() {
    return told().hashCode();
  }

  @Override
  public String toString() {
    return name + ": " + state + ", " + done + (total == null ? "" : " of " + total);
  }
}
