// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelPipeline;
import io.netty.handler.codec.http2.Http2ConnectionHandler;
import io.netty.handler.codec.http2.Http2Settings;

/**
 * Tells the guest, once it has spoken, that its frames may be larger than the 16 KiB that HTTP/2
 * begins with (RFC 9113 section 6.5.2), for which gRPC has no option: each frame of output costs
 * both sides about the same, however much is in it. Netty takes such frames when the guest has
 * acknowledged that.
 */
final class FrameSize extends ChannelInboundHandlerAdapter {
  /**
   * Content of a frame that is taken at most, in bytes. A guest sends each as one packet, which has
   * at most 64 KiB (VIRTIO_VSOCK_MAX_PKT_BUF_SIZE of Linux). Its kernel may want memory for that in
   * one piece: with all that is around it, of 64 KiB.
   */
  static final int MAXIMUM = 62 * 1024;

  @Override
  public void channelRead(ChannelHandlerContext context, Object message) {
    ChannelPipeline pipeline = context.pipeline();
    Http2ConnectionHandler http2 = pipeline.get(Http2ConnectionHandler.class);
    if (http2 != null) {
      pipeline.remove(this);
      ChannelHandlerContext at = pipeline.context(http2);
      // Leaves with what answers this message.
      var unused =
          http2
              .encoder()
              .writeSettings(at, new Http2Settings().maxFrameSize(MAXIMUM), at.newPromise());
    }
    context.fireChannelRead(message);
  }
}
