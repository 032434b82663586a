//! The app's end of the line to one warden.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use crate::spawn;
use crate::warden::WARDEN_ENTRY;
use crate::warden::protocol::{Order, PROTOCOL_LINE_BYTES_MAX, Said};

/// Most messages read ahead of the session. Beyond this the warden waits, and bounds its own queue.
const HEARD_MAX: usize = 1024;

/// How long a warden may take to read an order, or to end after its last word. It does nothing else than wait for these.
const WARDEN_MAX: Duration = Duration::from_secs(5);

/// A running warden. Dropping this closes its input, on which it stops the engine's whole tree and ends.
#[derive(Debug)]
pub(crate) struct Link {
    child: Child,
    stdin: ChildStdin,
    /// What it says, in order; closed once its output is.
    pub(crate) heard: mpsc::Receiver<Said>,
}

impl Link {
    /// Starts a warden and gives it its first order. Needs a tokio runtime.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(crate) async fn start(program: &Path, first: &Order) -> io::Result<Self> {
        let mut command = spawn::command(program.as_os_str(), &[WARDEN_ENTRY])?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Command::from(command).spawn()?;
        let stdin = child.stdin.take().expect("it was asked for as a pipe");
        let stdout = child.stdout.take().expect("it was asked for as a pipe");
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        tokio::spawn(listen(stdout, tell));
        let mut link = Self { child, stdin, heard };
        link.order(first).await?;
        Ok(link)
    }

    /// Gives an order.
    ///
    /// # Errors
    /// The warden is gone, or does not read.
    pub(crate) async fn order(&mut self, order: &Order) -> io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        tokio::time::timeout(WARDEN_MAX, self.stdin.write_all(&line)).await?
    }

    /// Closes the line and waits until the warden has ended, which it does by itself after its last word. Absent where it
    /// does not.
    pub(crate) async fn close(mut self) -> Option<ExitStatus> {
        drop(self.stdin);
        tokio::time::timeout(WARDEN_MAX, self.child.wait()).await.ok()?.ok()
    }

    /// Kills the warden itself, with which the kernel kills the engine.
    pub(crate) async fn kill(mut self) {
        let _ = self.child.kill().await;
    }
}

/// Passes on what the warden says until its output ends. A line that is not ours ends it too.
async fn listen(stdout: ChildStdout, tell: mpsc::Sender<Said>) {
    let mut lines = BufReader::with_capacity(64 * 1024, stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut lines).take(PROTOCOL_LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(count) if count > 0) {
            return;
        }
        match serde_json::from_slice(&line) {
            Ok(said) => {
                if tell.send(said).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(%error, "the warden said something that is not in the protocol");
                return;
            }
        }
    }
}
