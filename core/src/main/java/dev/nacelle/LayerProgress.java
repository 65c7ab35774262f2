// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Where a layer stands on its way from a registry. Immutable. */
public final class LayerProgress implements FetchProgress {
  private final ImageRef image;
  private final Digest layer;
  private final int number;
  private final int layers;
  private final State state;
  private final DataSize done;
  private final DataSize total;

  private LayerProgress(
      ImageRef image,
      Digest layer,
      int number,
      int layers,
      State state,
      DataSize done,
      DataSize total) {
    this.image = Objects.requireNonNull(image);
    this.layer = Objects.requireNonNull(layer);
    this.number = number;
    this.layers = layers;
    this.state = Objects.requireNonNull(state);
    this.done = Objects.requireNonNull(done);
    this.total = Objects.requireNonNull(total);
  }

  /** With what the getters of the same names tell. */
  public static LayerProgress of(
      ImageRef image,
      Digest layer,
      int number,
      int layers,
      State state,
      DataSize done,
      DataSize total) {
    return new LayerProgress(image, layer, number, layers, state, done, total);
  }

  /** The image that is pulled. */
  public ImageRef image() {
    return image;
  }

  /** The digest of the layer's blob. */
  public Digest layer() {
    return layer;
  }

  /** Which layer of the image it is, from 1 at the bottom. */
  public int number() {
    return number;
  }

  /** How many layers the image has. */
  public int layers() {
    return layers;
  }

  @Override
  public State state() {
    return state;
  }

  @Override
  public DataSize done() {
    return done;
  }

  /** What there is of it, which is known of layers. */
  @Override
  public Optional<DataSize> total() {
    return Optional.of(total);
  }

  private List<Object> told() {
    return List.of(image, layer, number, layers, state, done, total);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof LayerProgress that && told().equals(that.told());
  }

  @Override
  public int hashCode() {
    return told().hashCode();
  }

  @Override
  public String toString() {
    return "layer " + number + " of " + layers + " of " + image + ": " + state + ", " + done
        + " of " + total;
  }
}
