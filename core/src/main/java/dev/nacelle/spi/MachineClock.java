// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

/**
 * A clock that stands still while a machine is paused: what a guest is waited for counts by it, on
 * the host's side. Begins running. Safe for use from several threads; reading it takes no lock.
 */
public final class MachineClock {
  /**
   * @param still whether it stands
   * @param nanos while it stands, its time; else how far it is behind {@link System#nanoTime}
   */
  private record State(boolean still, long nanos) {}

  private volatile State state = new State(false, 0);

  /** A clock that runs. */
  public MachineClock() {}

  /** In nanoseconds; as with {@link System#nanoTime}, only differences mean something. */
  public long nanoTime() {
    State now = state;
    return now.still ? now.nanos : System.nanoTime() - now.nanos;
  }

  /** Whether it stands. */
  public boolean isPaused() {
    return state.still;
  }

  /** Has it stand. Of no effect where it does. */
  public synchronized void pause() {
    if (!state.still) {
      state = new State(true, nanoTime());
    }
  }

  /** Has it go on from where it stands. Of no effect where it runs. */
  public synchronized void resume() {
    if (state.still) {
      state = new State(false, System.nanoTime() - state.nanos);
    }
  }
}
