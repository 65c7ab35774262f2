// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;

/**
 * Where a layer stands on its way from a registry.
 *
 * @param image that is pulled
 * @param layer digest of the layer's blob
 * @param number of the layer, from 1 at the bottom
 * @param layers how many the image has
 * @param done bytes that are on the disk
 * @param total bytes of the blob
 */
public record LayerProgress(
    ImageRef image, Digest layer, int number, int layers, State state, long done, long total)
    implements FetchProgress {}
