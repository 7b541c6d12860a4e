//! A TCP proxy before the database, that cuts a connection where a test says so, or lets it hang.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Where a connection is cut, once.
#[derive(Debug, Clone)]
pub struct Cut {
    /// When the client sends these bytes.
    pub at: Vec<u8>,
    /// The server hears them, and its answer is lost; otherwise it does not hear them.
    pub heard: bool,
}

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: String,
    cut: Mutex<Option<Cut>>,
    hangs: AtomicBool,
    refuses: AtomicBool,
}

impl Proxy {
    /// Before the server at `target` (host:port).
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for the proxy");
        let port = listener.local_addr().expect("a bound port").port();
        let shared = Arc::new(Shared { target, cut: Mutex::default(), hangs: false.into(), refuses: false.into() });
        let accepting = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !accepting.refuses.load(Ordering::SeqCst) {
                    tokio::spawn(accepting.clone().relay(client));
                }
            }
        });
        Self { port, shared }
    }

    /// Cuts the next connection that comes to that point.
    pub fn cut(&self, cut: Cut) {
        *self.shared.cut.lock().unwrap() = Some(cut);
    }

    /// Whether the cut was made.
    pub fn has_cut(&self) -> bool {
        self.shared.cut.lock().unwrap().is_none()
    }

    /// Answers nothing any more, or again.
    pub fn hang(&self, hangs: bool) {
        self.shared.hangs.store(hangs, Ordering::SeqCst);
    }

    /// Closes new connections at once, or no longer.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
    }
}

impl Shared {
    /// The cut, if these bytes hold its place.
    fn cut_in(&self, bytes: &[u8]) -> Option<Cut> {
        let mut cut = self.cut.lock().unwrap();
        let here = cut.as_ref().is_some_and(|cut| bytes.windows(cut.at.len()).any(|window| window == cut.at));
        if here { cut.take() } else { None }
    }

    /// Ends when either side does, or at a cut.
    async fn relay(self: Arc<Self>, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(&self.target).await else { return };
        let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            let sent = tokio::select! {
                n = client.read(&mut up) => (true, n),
                n = server.read(&mut down) => (false, n),
            };
            let done = match sent {
                (_, Ok(n)) if n > 0 && self.hangs.load(Ordering::SeqCst) => continue, // swallowed
                (true, Ok(n)) if n > 0 => {
                    if let Some(cut) = self.cut_in(&up[..n]) {
                        if cut.heard && server.write_all(&up[..n]).await.is_ok() {
                            // done, once it answers
                            let _ = server.read(&mut down).await;
                        }
                        return;
                    }
                    server.write_all(&up[..n]).await
                }
                (false, Ok(n)) if n > 0 => client.write_all(&down[..n]).await,
                _ => return,
            };
            if done.is_err() {
                return;
            }
        }
    }
}
