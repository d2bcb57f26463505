//! The yardstick: a server on the same kind of socket, with the same runtime and as many threads, that
//! answers every AUTH with a line as long as ours and decides nothing. In a process of its own.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

/// The first argument of this program when it is to be the echo.
pub const ARGUMENT: &str = "echo";

/// The echo in its process; it ends with our end of its standard input.
pub struct Echo {
    process: Child,
    pub socket: PathBuf,
}

impl Echo {
    /// `fields` are those of each OK.
    pub fn start(directory: &Path, threads: usize, fields: &str) -> Self {
        let socket = directory.join("echo");
        let mut process = Command::new(std::env::current_exe().expect("our own program"))
            .arg(ARGUMENT)
            .arg(&socket)
            .args([&threads.to_string(), fields])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("our own program");
        let mut ready = String::new();
        BufReader::new(process.stdout.take().expect("piped"))
            .read_line(&mut ready)
            .expect("our own program");
        Self { process, socket }
    }

    pub fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _status = self.process.wait();
    }
}

/// Is the echo.
pub fn serve(socket: &str, threads: &str, fields: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.parse().expect("a number"))
        .enable_all()
        .build()
        .expect("threads");
    let fields: &'static [u8] = fields.to_owned().into_bytes().leak();
    let listener = {
        let _inside = runtime.enter();
        UnixListener::bind(socket).expect("a socket")
    };
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream, fields));
        }
    });
    println!("ready");
    // Until it is closed.
    let _bytes = io::copy(&mut io::stdin(), &mut io::sink());
    ExitCode::SUCCESS
}

async fn talk(mut stream: UnixStream, fields: &[u8]) -> io::Result<()> {
    stream
        .write_all(b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nDONE\n")
        .await?;
    let (mut rest, mut answers) = (Vec::new(), Vec::new());
    loop {
        if stream.read_buf(&mut rest).await? == 0 {
            return Ok(());
        }
        let mut begin = 0;
        while let Some(length) = rest[begin..].iter().position(|byte| *byte == b'\n') {
            let mut words = rest[begin..begin + length].split(|byte| *byte == b'\t');
            if words.next() == Some(b"AUTH") {
                answers.extend_from_slice(b"OK\t");
                answers.extend_from_slice(words.next().unwrap_or_default());
                answers.push(b'\t');
                answers.extend_from_slice(fields);
                answers.push(b'\n');
            }
            begin += length + 1;
        }
        rest.drain(..begin);
        stream.write_all(&answers).await?;
        answers.clear();
    }
}
