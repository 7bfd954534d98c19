//! Where connections come in: an address of the network, or a socket in the file system.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
#[cfg(unix)]
pub(crate) use unix::UnixEntrance;

/// A listener of some kind.
pub(crate) trait Entrance: Send + Sync + 'static {
    /// A connection.
    type Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and who is at its other end, where that can be told.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Socket, Option<SocketAddr>)>> + Send;

    /// Whether it can be reached from this machine only.
    fn is_local(&self) -> bool;
}

/// Listens at `address`, with room for a burst of connections that are not accepted yet.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

impl Entrance for TcpListener {
    type Socket = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (socket, peer) = Self::accept(self).await?;
        // Answers are small and wanted at once; a refusal costs latency only.
        let _ = socket.set_nodelay(true);
        Ok((socket, Some(peer)))
    }

    fn is_local(&self) -> bool {
        self.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback())
    }
}

#[cfg(unix)]
mod unix {
    use super::Entrance;
    use statmux_core::files::PassingFile;
    use std::fs;
    use std::io;
    use std::net::SocketAddr;
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::UnixStream as Probe;
    use std::path::Path;
    use tokio::net::{UnixListener, UnixStream};

    /// A socket in the file system. Its file goes when it is dropped, unless another server has put its own there.
    #[derive(Debug)]
    pub(crate) struct UnixEntrance {
        listener: UnixListener,
        _file: PassingFile,
    }

    impl UnixEntrance {
        /// Listens at `path`. What a server that is gone left there is replaced; the socket of a server that lives, and
        /// any other file, is not.
        ///
        /// # Errors
        /// If somebody listens there, or something else is there, or no socket can be made there.
        pub(crate) fn bind(path: &Path) -> io::Result<Self> {
            match fs::symlink_metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(found) if !found.file_type().is_socket() => {
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
                }
                Ok(_) => match Probe::connect(path) {
                    Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens on it")),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
                    Err(error) => return Err(error),
                },
            }
            let (file, listener) = PassingFile::make(path.to_owned(), |path| UnixListener::bind(path))?;
            Ok(Self { listener, _file: file })
        }
    }

    impl Entrance for UnixEntrance {
        type Socket = UnixStream;

        async fn accept(&self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
            let (socket, _) = self.listener.accept().await?;
            Ok((socket, None))
        }

        fn is_local(&self) -> bool {
            true
        }
    }
}
