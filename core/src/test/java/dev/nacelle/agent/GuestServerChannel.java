// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.spi.GuestConnection;
import io.netty.channel.AbstractServerChannel;
import io.netty.channel.ChannelConfig;
import io.netty.channel.DefaultChannelConfig;
import io.netty.channel.EventLoop;
import java.net.SocketAddress;
import org.jspecify.annotations.Nullable;

/** The guest's side in Java: a server channel that is handed its connections. */
final class GuestServerChannel extends AbstractServerChannel {
  private final ChannelConfig config = new DefaultChannelConfig(this);
  private volatile @Nullable SocketAddress bound;
  private volatile boolean open = true;

  void accept(GuestConnection connection, SocketAddress from) {
    eventLoop()
        .execute(
            () -> {
              pipeline().fireChannelRead(new GuestChannel(this, connection, from));
              pipeline().fireChannelReadComplete();
            });
  }

  @Override
  protected boolean isCompatible(EventLoop loop) {
    return true;
  }

  @Override
  protected @Nullable SocketAddress localAddress0() {
    return bound;
  }

  @Override
  protected void doBind(SocketAddress localAddress) {
    bound = localAddress;
  }

  @Override
  protected void doClose() {
    open = false;
  }

  @Override
  protected void doBeginRead() {}

  @Override
  public ChannelConfig config() {
    return config;
  }

  @Override
  public boolean isOpen() {
    return open;
  }

  @Override
  public boolean isActive() {
    return open && bound != null;
  }
}
