// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

/** Is told how one download goes, by the thread that downloads. */
public interface DownloadProgress {
  /** What is not looked at. */
  DownloadProgress NONE =
      new DownloadProgress() {
        @Override
        public void resumed(long done) {}

        @Override
        public void advanced(long done) {}

        @Override
        public void failed(long done) {}
      };

  /** It goes on behind that many bytes. */
  void resumed(long done);

  /** That many bytes are there. */
  void advanced(long done);

  /** An attempt failed, with that many bytes there; another follows. */
  void failed(long done);
}
