//! A connection: TLS over TCP, and its bytes moved with as few copies and calls as may be.

use super::SILENCE;
use bytes::{BufMut, Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// Bytes that are read from the kernel at a time. TLS by itself asks for 4 KiB.
const READ: usize = 128 << 10;
/// Bytes that are encrypted before they are handed to the kernel.
pub(super) const WRITE: usize = 256 << 10;
/// Buffers that are handed to TLS together.
const TOGETHER: usize = 16;
/// How long the kernel tries to bring bytes across before it gives up a connection: whoever waits for
/// an answer has given up before.
const UNDELIVERED: Duration = Duration::from_secs(10);

/// TCP, read in large pieces.
pub(super) type Tcp = BufReader<TcpStream>;

/// A connection.
#[derive(Debug)]
pub struct Stream {
    tls: TlsStream<Tcp>,
}

/// Buffers on their way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    buffers: Vec<Bytes>,
    /// The first that has not left in full, and how much of it has.
    next: usize,
    written: usize,
    flushed: bool,
}

/// Makes a connection notice that its peer is gone, and send what it is given at once.
pub(super) fn prepare(tcp: TcpStream) -> io::Result<Tcp> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(&tcp);
    let probes = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 3).with_retries(3);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNDELIVERED))?;
    Ok(BufReader::with_capacity(READ, tcp))
}

impl Stream {
    /// A connection whose handshake is over. Whoever offers no protocol, or takes none, means another.
    pub(super) fn new(tls: TlsStream<Tcp>) -> io::Result<Self> {
        if tls.get_ref().1.alpn_protocol().is_none() {
            return Err(io::Error::other("no protocol was agreed on"));
        }
        Ok(Self { tls })
    }

    /// Reads so many bytes.
    ///
    /// # Errors
    /// When the connection ends or breaks before, or nothing comes for a while.
    pub async fn read(&mut self, len: u32) -> io::Result<Bytes> {
        let len = len as usize;
        let mut bytes = BytesMut::with_capacity(len);
        while bytes.len() < len {
            // The rest of the capacity must not be filled with what comes after these.
            let left = len - bytes.len();
            let mut rest = (&mut bytes).limit(left);
            let read = tokio::time::timeout(SILENCE, self.tls.read_buf(&mut rest));
            if read.await.map_err(|_| silent())?? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(bytes.freeze())
    }

    /// Reads what is there, at most as much as fits; 0 bytes at the end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.tls).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes buffers, one after the other.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn write(&mut self, buffers: Vec<Bytes>) -> io::Result<()> {
        let mut outgoing = Outgoing::new(buffers);
        std::future::poll_fn(|cx| {
            while !ready!(self.poll_write(cx, &mut outgoing))? {}
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Writes some; says whether all has left.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut Outgoing,
    ) -> Poll<io::Result<bool>> {
        let mut slices = [IoSlice::new(&[]); TOGETHER];
        let filled = outgoing.slices(&mut slices);
        if filled > 0 {
            let tls = Pin::new(&mut self.tls);
            let written = ready!(tls.poll_write_vectored(cx, &slices[..filled]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            outgoing.advance(written);
        } else if !outgoing.flushed {
            ready!(Pin::new(&mut self.tls).poll_flush(cx))?;
            outgoing.flushed = true;
        }
        Poll::Ready(Ok(outgoing.flushed))
    }

    /// Whether nothing has come that nobody has asked for, as the end of the connection.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.poll_read(&mut cx, &mut [0]).is_pending()
    }
}

impl Outgoing {
    pub(super) fn new(buffers: Vec<Bytes>) -> Self {
        let buffers = buffers.into_iter().filter(|b| !b.is_empty()).collect();
        Self { buffers, next: 0, written: 0, flushed: false }
    }

    /// Whether all has been handed to the kernel.
    pub(super) fn has_left(&self) -> bool {
        self.flushed
    }

    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; TOGETHER]) -> usize {
        let rest = self.buffers.get(self.next..).unwrap_or_default();
        let mut filled = 0;
        for (slice, buffer) in slices.iter_mut().zip(rest) {
            let from = if filled == 0 { self.written } else { 0 };
            *slice = IoSlice::new(buffer.get(from..).unwrap_or_default());
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut by: usize) {
        while let Some(buffer) = self.buffers.get(self.next) {
            let left = buffer.len() - self.written;
            if by < left {
                self.written += by;
                return;
            }
            by -= left;
            self.next += 1;
            self.written = 0;
        }
    }
}

pub(super) fn silent() -> io::Error {
    let message = format!("nothing came for {} ms", SILENCE.as_millis());
    io::Error::new(io::ErrorKind::TimedOut, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_bytes_leave_in_order_whatever_is_taken_at_a_time(
            lens in prop::collection::vec(0usize..40, 0..40), steps in prop::collection::vec(1usize..100, 1..20),
        ) {
            let mut n = 0u8;
            let mut buffer = |len| Bytes::from_iter((0..len).map(|_| { n = n.wrapping_add(1); n }));
            let buffers: Vec<Bytes> = lens.into_iter().map(&mut buffer).collect();
            let (all, mut sent) = (buffers.concat(), Vec::new());
            let mut outgoing = Outgoing::new(buffers);
            for step in steps.into_iter().cycle() {
                let mut slices = [IoSlice::new(&[]); TOGETHER];
                let filled = outgoing.slices(&mut slices);
                if filled == 0 {
                    break;
                }
                let there: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
                let taken = step.min(there.len());
                sent.extend_from_slice(&there[..taken]);
                outgoing.advance(taken);
            }
            prop_assert_eq!(sent, all);
        }
    }
}
